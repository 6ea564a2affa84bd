/**
 * The copy of a message through a mailing list is stored in the ticket of the direct one, whichever is first; what only
 * claims its Message-ID, From and Date is stored apart and linked, and comes into no ticket of other people.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const date = 'Date: Thu, 03 Dec 2026 09:00:00 +0000';
const direct: Letter = {
  ...{ from: 'ada@customer.test', id: 'order@customer.test', subject: 'Where is my order?' },
  ...{ to: 'team@lists.test', cc: 'support@desk.test', fields: [date], text: 'It is late.\r\n\r\nAda' },
};
const list = [date, 'List-Id: <team.lists.test>', 'List-Post: <mailto:team@lists.test>', 'Precedence: list'];
const footer = '\r\n\r\n____\r\nteam mailing list\r\nhttps://lists.test/team';
const throughList: Letter = {
  ...{ ...direct, subject: '[team] Where is my  order?', fields: list, text: `${direct.text}${footer}` },
};

const variants: readonly (readonly [string, Letter])[] = [
  ['with a tag and a footer', throughList],
  ['that sends in its own name', { ...throughList, from: '"Ada via team" <team@lists.test>', replyTo: direct.from }],
  ['with Reply-To of the list', { ...throughList, replyTo: 'team@lists.test' }],
];

test.each(variants)('the copy of a list %s is stored in the ticket of the direct one', async (_, copy) => {
  for (const pair of [
    [direct, copy],
    [copy, direct],
  ] as const) {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack);
    const [first] = await scene.arrive(pair[0]);
    const [second] = await scene.arrive(pair[1]);
    const [again, other] = await scene.arrive(pair[1], { ...direct, id: 'other@customer.test', subject: 'Another' });
    expect([first?.outcome, second?.outcome, again?.outcome]).toEqual(['ticket_opened', 'reply_added', 'duplicate']);
    expect([second?.ticketId, again?.ticketId]).toEqual([first?.ticketId, first?.ticketId]);
    expect(other?.outcome).toBe('ticket_opened');
  }
});

test('both copies in one batch share a ticket; after it is closed, a copy opens one of its own, linked', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first, second] = await scene.arrive(direct, throughList);
  expect(second?.ticketId).toBe(first?.ticketId);
  expect(scene.ticket(first?.ticketId ?? null, 'close')).toMatchObject({ status: 'closed' });
  const [late] = await scene.arrive({ ...throughList, text: `${direct.text}\r\n-- \r\nanother list` });
  expect(late).toMatchObject({ outcome: 'ticket_opened' });
  expect(scene.links(late?.ticketId ?? null, first?.ticketId ?? null)).toEqual(['same_thread']);
  expect(scene.ticket(first?.ticketId ?? null)).toMatchObject({ status: 'closed' });
  const [later] = await scene.arrive({ ...throughList, text: `${direct.text}\r\n-- \r\nanother list\r\nof ours` });
  expect(later).toMatchObject({ outcome: 'reply_added', ticketId: late?.ticketId });
});

test.each<readonly [string, Partial<Letter>]>([
  ['names himself in Cc', { cc: 'support@desk.test, mallory@evil.test' }],
  ['wants the answers', { replyTo: 'mallory@evil.test' }],
  ['writes in his own name', { from: 'mallory@evil.test' }],
  ['says something else', { text: 'Send it to another address.' }],
])('an attacker who knows the message and %s gets a ticket of his own, linked, before or after it', async (_, more) => {
  for (const isFirst of [true, false]) {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack);
    const forged = { ...throughList, ...more };
    const [first] = await scene.arrive(isFirst ? forged : direct);
    const [second] = await scene.arrive(isFirst ? direct : forged);
    expect([first?.outcome, second?.outcome]).toEqual(['ticket_opened', 'ticket_opened']);
    expect(scene.links(second?.ticketId ?? null, first?.ticketId ?? null)).toEqual(['same_thread']);
  }
});

test('a message with the same Message-ID and another Date, as of a device that has one for all, is another one', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first, second] = await scene.arrive(direct, { ...direct, fields: [date.replace('09:00', '09:01')] });
  const [third] = await scene.arrive({ ...direct, fields: [date.replace('09:00', '09:02')], text: 'Other words.' });
  expect([second?.outcome, third?.outcome]).toEqual(['ticket_opened', 'ticket_opened']);
  expect(scene.links(second?.ticketId ?? null, first?.ticketId ?? null)).toEqual([]);
  expect(scene.links(third?.ticketId ?? null, first?.ticketId ?? null)).toEqual([]);
});

test('a copy that a token leads into the ticket of the attacker does not take the genuine message along', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [mallory] = await scene.arrive({ from: 'mallory@evil.test' });
  const token = `Delivered-To: ${scene.replyAddress(mallory?.ref ?? null)}`;
  const [copy] = await scene.arrive({ ...throughList, fields: [...list, token] });
  const [genuine] = await scene.arrive(direct);
  expect(copy?.ticketId).toBe(mallory?.ticketId);
  expect([genuine?.outcome, genuine?.ticketId === mallory?.ticketId]).toEqual(['ticket_opened', false]);
});
