/** One line a message, its columns aligned as a terminal shows them. */
import { expect, test } from 'vitest';
import { type ListedMessage, messageLines } from './lines.ts';

const messageLine = (message: ListedMessage, columns?: number) => messageLines(message, columns).join('\n');

const stored: ListedMessage = {
  ...{ uid: 1, outcome: 'ticket_opened', reason: null, ticket: 'T-1', kind: 'human', subject: 'Hello' },
  ...{ from: { name: 'Anna', address: 'anna@example.test' }, attachments: [] },
};
const widthOfColumns = 13 + 2 + 40 + 2 + 16 + 2;

test('reference, subject, sender and what happened stand in columns', () => {
  const line = messageLine(stored);
  expect(line).toMatch(/^T-1 {12}Hello +Anna +new ticket$/);
  expect(line.indexOf('new ticket')).toBe(widthOfColumns);
});

test('East Asian letters count twice, and what is too long is cut', () => {
  const wide = messageLine({ ...stored, subject: 'プリンター' });
  expect(wide.indexOf('new ticket')).toBe(widthOfColumns - 5);
  const long = messageLine({ ...stored, subject: 'x'.repeat(80) });
  expect(long).toContain(`${'x'.repeat(39)}…  Anna`);
  expect(long.indexOf('new ticket')).toBe(widthOfColumns);
  expect(messageLine({ ...stored, subject: '字'.repeat(40) }).indexOf('new ticket')).toBe(widthOfColumns - 19);
});

test('a sender without a name is shown by address, and none at all says so', () => {
  expect(messageLine({ ...stored, from: { name: '', address: 'a@example.test' } })).toContain('a@example.test');
  expect(messageLine({ ...stored, from: null })).toContain('(no sender)');
});

test('attachments, bounces and what is quarantined say what they are', () => {
  expect(messageLine({ ...stored, attachments: [{ name: 'a.pdf' }, { name: 'b.csv' }] })).toMatch(
    /new ticket\n {15}with a.pdf, b.csv$/,
  );
  expect(messageLine({ ...stored, outcome: 'reply_added' })).toMatch(/ reply$/);
  const report = { outcome: 'reply_added', kind: 'bounce', attachments: [{ name: 'report.txt' }] };
  expect(messageLine({ ...stored, ...report })).toMatch(/ bounce$/);
  const aside = { uid: 2, outcome: 'quarantined', reason: 'too_large', ticket: null };
  expect(messageLine(aside)).toMatch(/^\(none\) .*quarantined: too_large$/);
});

test('a line fits a narrow terminal: the subject gets what the other columns leave', () => {
  const long = { ...stored, subject: 'x'.repeat(80), from: { name: 'y'.repeat(80), address: 'y@example.test' } };
  for (const columns of [60, 70, 80]) expect(messageLine(long, columns)).toHaveLength(columns);
});
