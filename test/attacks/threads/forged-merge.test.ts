/**
 * An attacker forges the From of a victim in a message that connects both tickets, to have the ticket of the victim
 * merged into his: the tickets are linked instead. Only tickets of the same people are merged.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const victim = 'victim@customer.test';
const mallory = 'mallory@evil.test';
/** A message that the attacker received too, and that the helpdesk has not seen. */
const known = 'known@partner.test';

test.each<readonly [string, Partial<Letter>, Letter]>([
  ['in his own ticket', { from: mallory }, { from: victim, to: mallory, cc: 'support@desk.test' }],
  ['who is named in his ticket', { from: mallory, cc: victim }, { from: victim, to: mallory, cc: 'support@desk.test' }],
  ['of both messages, with himself in Cc', { from: victim, cc: mallory }, { from: victim, cc: mallory }],
  ['of both messages, with himself in Reply-To', { from: victim, replyTo: mallory }, { from: victim }],
])('an attacker forges the From of the victim %s: nothing is merged', async (_, opening, connecting) => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [trap] = await scene.arrive({ from: mallory, id: 'trap@evil.test', ...opening });
  const [secret] = await scene.arrive({ from: victim, inReplyTo: known, subject: 'Re: Our contract' });
  const [forged] = await scene.arrive({ ...connecting, references: `${known} trap@evil.test` });
  const now = [1, 2].map((number) => scene.placeOf(number).ticketId);
  expect(now).toEqual([trap?.ticketId, secret?.ticketId]);
  expect(new Set(now).size).toBe(2);
  const tickets = [trap, secret].map((place) => place?.ticketId ?? null);
  const related = tickets.flatMap((one) =>
    [...tickets, forged?.ticketId ?? null].flatMap((other) => [...scene.links(one, other), ...scene.links(other, one)]),
  );
  expect(related).toContain('same_thread');
  expect(related).not.toContain('merged');
});

test('honest: tickets of the same people that arrived out of order are merged', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [ada, bob] = ['ada@customer.test', 'bob@partner.test'];
  await scene.arrive({ from: ada, cc: bob, id: 'one@customer.test' });
  await scene.arrive({
    from: ada,
    to: bob,
    cc: 'support@desk.test',
    id: 'three@customer.test',
    inReplyTo: 'two@partner.test',
  });
  await scene.arrive({
    from: bob,
    to: ada,
    cc: 'support@desk.test',
    id: 'two@partner.test',
    inReplyTo: 'one@customer.test',
  });
  expect(new Set([1, 2, 3].map((number) => scene.placeOf(number).ticketId)).size).toBe(1);
});
