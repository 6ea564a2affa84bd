/**
 * An attacker who is in Cc of a message sends a part of it first, with its Message-ID and Date, so that the genuine one
 * counts as a copy and is stored in a ticket of his, which the helpdesk may have closed: only whole lines with the same
 * subject are a copy, which adds what a list adds, and only an open ticket gets one.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const date = 'Date: Tue, 24 Nov 2026 10:00:00 +0000';
const lines = [
  'Hello,',
  'please tell me where my order is.',
  'It was to be here last week, and nobody answers.',
  'Ada',
];
const genuine: Letter = {
  ...{ from: 'ada@customer.test', cc: 'mallory@evil.test', id: 'order@customer.test', subject: 'Where is my order?' },
  ...{ fields: [date], text: lines.join('\r\n') },
};
const inHisName: Partial<Letter> = { from: 'mallory@evil.test', replyTo: genuine.from, cc: genuine.from };
const filler = 'Best regards. '.repeat(6_000);
const manyPeople = Array.from({ length: 500 }, (_, n) => `p${n}@customer.test`).join(', ');

test.each<readonly [string, Partial<Letter>, Partial<Letter>]>([
  ['one letter, and a subject of a tag alone', { subject: '[x]', text: 'e' }, {}],
  ['one letter', { text: 'e' }, {}],
  ['the greeting', { text: 'Hello,' }, {}],
  ['a word that is part of another', { text: 'ok' }, { text: 'I booked the wrong hotel.' }],
  ['the end of the last line', { text: `${lines.slice(1).join('\r\n').slice(8)}` }, {}],
  ['the lines, but those between', { text: [...lines.slice(0, 2), ...lines.slice(3)].join('\r\n') }, {}],
  ['the same text under no subject', { subject: '' }, {}],
  ['the same text under another subject', { subject: 'Re:' }, { subject: 'Where is my order? Re:' }],
  [
    'the first lines of a long one',
    { text: genuine.text ?? '' },
    { text: `${genuine.text}\r\n${'word\r\n'.repeat(600)}` },
  ],
  ['the first 65,536 characters', { text: `${filler}order A` }, { text: `${filler}cancel B` }],
  ['the same to other people behind 500', { to: `${manyPeople}, a@a.test` }, { to: `${manyPeople}, b@b.test` }],
])('who sends %s gets a ticket of his own, open or closed, linked', async (_, evil, given) => {
  for (const name of [{}, inHisName])
    for (const isClosed of [true, false]) {
      await using stack = new AsyncDisposableStack();
      const scene = await threadScene(stack);
      const [first] = await scene.arrive({ ...genuine, ...given, ...evil, ...name });
      if (isClosed) scene.ticket(first?.ticketId ?? null, 'close');
      const [second] = await scene.arrive({ ...genuine, ...given });
      expect(second).toMatchObject({ outcome: 'ticket_opened' });
      expect(second?.ticketId).not.toBe(first?.ticketId);
      expect(scene.links(second?.ticketId ?? null, first?.ticketId ?? null)).toEqual(['same_thread']);
    }
});

test('who sends all of it first, and has it closed, does not take the genuine message along', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first] = await scene.arrive({ ...genuine, ...inHisName });
  scene.ticket(first?.ticketId ?? null, 'close');
  const [second] = await scene.arrive(genuine);
  expect(second).toMatchObject({ outcome: 'ticket_opened' });
  expect(scene.links(second?.ticketId ?? null, first?.ticketId ?? null)).toEqual(['same_thread']);
});

const list = [date, 'List-Id: <team.lists.test>', 'List-Post: <mailto:team@lists.test>', 'Precedence: list'];

test.each<readonly [string, Partial<Letter>]>([
  ['EXTERNAL: and a note above', { subject: `EXTERNAL: ${genuine.subject}`, text: `Beware.\r\n\r\n${genuine.text}` }],
  ['the number of a bug', { subject: `Bug#691896: ${genuine.subject}` }],
  ['the mark of a spam filter', { subject: `***SPAM*** ${genuine.subject}` }],
  ['other white space', { text: `\r\n${lines.map((line) => `${line.replaceAll(' ', '  ')} \r\n`).join('\r\n')}` }],
  [
    'a note above and a footer below, of a list',
    { fields: list, subject: `[team] ${genuine.subject}`, text: `Note\r\n${genuine.text}\r\n__\r\nteam` },
  ],
])('honest: a copy with %s is stored in the ticket of the other', async (_, more) => {
  for (const pair of [
    [genuine, { ...genuine, ...more }],
    [{ ...genuine, ...more }, genuine],
  ]) {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack);
    const [first] = await scene.arrive(...pair.slice(0, 1));
    const [second] = await scene.arrive(...pair.slice(1));
    expect(second).toMatchObject({ outcome: 'reply_added', ticketId: first?.ticketId });
  }
});
