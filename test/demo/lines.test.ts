/** One line a message, its columns aligned as a terminal shows them. */
import { expect, test } from 'vitest';
import { type ListedMessage, messageLine } from './lines.ts';

const stored: ListedMessage = {
  ...{ uid: 1, outcome: 'ticket_opened', reason: null, ticket: 'T-1', kind: 'human', subject: 'Hello' },
  ...{ from: { name: 'Anna', address: 'anna@example.test' }, attachments: [] },
};
const widthOfColumns = 'T-1  '.length + 40 + 2 + 22 + 2;

test('reference, subject, sender and what happened stand in columns', () => {
  const line = messageLine(stored);
  expect(line).toMatch(/^T-1 {2}Hello +Anna +new ticket$/);
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
  expect(messageLine({ ...stored, from: { name: '', address: 'anna@example.test' } })).toContain('anna@example.test');
  expect(messageLine({ ...stored, from: null })).toContain('(no sender)');
});

test('attachments, bounces and what is quarantined say what they are', () => {
  expect(messageLine({ ...stored, attachments: [{ name: 'a.pdf' }, { name: 'b.csv' }] })).toMatch(
    /, with a.pdf, b.csv$/,
  );
  expect(messageLine({ ...stored, outcome: 'reply_added' })).toMatch(/reply added to its ticket$/);
  const report = { outcome: 'reply_added', kind: 'bounce', attachments: [{ name: 'report.txt' }] };
  expect(messageLine({ ...stored, ...report })).toMatch(/bounce added to its ticket$/);
  const aside = { uid: 2, outcome: 'quarantined', reason: 'too_large', ticket: null };
  expect(messageLine(aside)).toMatch(/^\(none\) .*quarantined: too_large$/);
});
