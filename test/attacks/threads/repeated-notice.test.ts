/**
 * Equal notices of a machine within an hour are stored in the open ticket of one before; a message that differs in a
 * word or a recipient is another one.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const unmarked: Letter = { from: 'pump@plant.test', subject: 'Alarm', text: 'The pressure is low.' };
const notice: Letter = { ...unmarked, fields: ['Auto-Submitted: auto-generated'] };
const limits = { senderPerHourMax: 100, senderExempt: [], reopenMs: null };

test.each([
  ['marked as automatic', notice, 1],
  ['not marked', unmarked, 5],
] as const)(
  'of 150 equal notices %s few open a ticket; those beyond the limit of their sender are quarantined',
  async (_, letter, tickets) => {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack, limits);
    const first = await scene.arrive(...Array.from({ length: 3 }, () => letter));
    const then = await scene.arrive(...Array.from({ length: 147 }, () => letter));
    const counts = Map.groupBy([...first, ...then], ({ outcome }) => outcome);
    expect(counts.get('ticket_opened')).toHaveLength(tickets);
    expect(counts.get('reply_added')).toHaveLength(100 - tickets);
    expect(counts.get('quarantined')).toHaveLength(50);
    expect(new Set(counts.get('reply_added')?.map(({ ticketId }) => ticketId)).size).toBe(1);
  },
);

test.each<readonly [string, Letter]>([
  ['another text', { ...notice, text: 'The pressure is low!' }],
  ['another number in the subject', { ...notice, subject: 'Alarm 2' }],
  ['another customer in Reply-To, as a web form writes it', { ...notice, replyTo: 'ada@customer.test' }],
  ['another recipient', { ...notice, cc: 'mallory@evil.test' }],
  ['another sender', { ...notice, from: 'valve@plant.test' }],
  ['a reference, as an answer has', { ...notice, inReplyTo: 'gone@plant.test' }],
])('a message with %s opens a ticket of its own', async (_, other) => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack, limits);
  const [first, second, third] = await scene.arrive(notice, other, { ...notice, text: 'The  pressure\r\nis low.' });
  expect(second).toMatchObject({ outcome: 'ticket_opened' });
  expect(third).toMatchObject({ outcome: 'reply_added', ticketId: first?.ticketId });
});

test('a message to more people than are counted is no repeat: those behind may be others', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack, limits);
  const people = Array.from({ length: 500 }, (_, n) => `p${n}@plant.test`).join(', ');
  const [first, second] = await scene.arrive(
    { ...notice, cc: `${people}, ada@customer.test` },
    { ...notice, cc: `${people}, mallory@evil.test` },
  );
  expect([first?.outcome, second?.outcome]).toEqual(['ticket_opened', 'ticket_opened']);
  const long = Array.from({ length: 60 }, (_, n) => `${'x'.repeat(270)}${n}@plant.test`).join(', ');
  const [third, fourth] = await scene.arrive(
    { ...notice, cc: `${long}, a@a.test` },
    { ...notice, cc: `${long}, b@b.test` },
  );
  expect([third?.outcome, fourth?.outcome]).toEqual(['ticket_opened', 'ticket_opened']);
});

test('once the ticket is closed, a notice opens a ticket again', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack, limits);
  const [first] = await scene.arrive(notice);
  scene.ticket(first?.ticketId ?? null, 'close');
  const [second] = await scene.arrive(notice);
  expect(second?.outcome).toBe('ticket_opened');
  const [third] = await scene.arrive(notice);
  expect(third?.ticketId).toBe(second?.ticketId);
});

test('a notice that a token leads into the ticket of the attacker does not take the next one along', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack, limits);
  const [mallory] = await scene.arrive({ from: 'mallory@evil.test' });
  const token = `Delivered-To: ${scene.replyAddress(mallory?.ref ?? null)}`;
  const [copy] = await scene.arrive({ ...notice, fields: [...(notice.fields ?? []), token] });
  const [genuine] = await scene.arrive(notice);
  expect(copy?.ticketId).toBe(mallory?.ticketId);
  expect([genuine?.outcome, genuine?.ticketId === mallory?.ticketId]).toEqual(['ticket_opened', false]);
});
