/**
 * An attacker who has a message before the helpdesk fetches it sends a copy with one header field more, so that the
 * genuine one counts as its duplicate and is never seen: it is no duplicate where the field changes how it is handled.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const genuine: Letter = { from: 'ada@customer.test', id: 'order@customer.test', text: 'Where is my order?' };
const copyWith = (...fields: readonly string[]): Letter => ({ ...genuine, fields });
const received = Array.from({ length: 51 }, (_, n) => `Received: by ${n}.evil.test`);

test.each<readonly [string, Letter, string]>([
  ['an automatic reply', copyWith('Auto-Submitted: auto-replied'), 'recorded'],
  ['a message of a list', copyWith('Precedence: bulk', 'X-Autoreply: yes'), 'recorded'],
  ['a loop', copyWith(...received), 'quarantined'],
])('a copy that is handled as %s does not silence the genuine message', async (_, copy, outcome) => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first, second, again] = await scene.arrive(copy, genuine, genuine);
  expect([first?.outcome, second?.outcome, again?.outcome]).toEqual([outcome, 'ticket_opened', 'duplicate']);
  expect(again?.ticketId).toBe(second?.ticketId);
});

test('a copy that a delivery field leads into the ticket of the attacker does not take the genuine message along', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [mallory] = await scene.arrive({ from: 'mallory@evil.test' });
  const copy = copyWith(`Delivered-To: ${scene.replyAddress(mallory?.ref ?? null)}`);
  const [first, second] = await scene.arrive(copy, genuine);
  expect(first?.ticketId).toBe(mallory?.ticketId);
  expect([second?.outcome, second?.ticketId === mallory?.ticketId]).toEqual(['ticket_opened', false]);
});

test.each([
  ['an attachment', 'Content-Disposition: attachment; filename=readme.exe'],
  ['a part of another', 'Content-ID: <a@evil.test>'],
])('a copy that is read as %s does not take the place of the genuine message', async (_, field) => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [ticket] = await scene.arrive({ from: genuine.from });
  const answer = { ...genuine, text: `Please cancel it [#${ticket?.ref}]` };
  const [copy, second, again] = await scene.arrive({ ...answer, fields: [field] }, answer, answer);
  expect(copy?.outcome).not.toBe('duplicate');
  expect(second).toMatchObject({ outcome: 'reply_added', ticketId: ticket?.ticketId });
  expect(again).toMatchObject({ outcome: 'duplicate', ticketId: ticket?.ticketId });
});

test('honest: a message that two servers delivered, with other trace fields, is stored once', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first, second] = await scene.arrive(
    copyWith('Received: by one.example', 'Delivered-To: support@desk.test'),
    copyWith('Received: by two.example', 'Received: by one.example', 'Return-Path: <ada@customer.test>'),
  );
  expect([first?.outcome, second?.outcome]).toEqual(['ticket_opened', 'duplicate']);
});
