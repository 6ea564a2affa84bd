/** Base64 longer than one decoded piece: the end of a piece makes no difference. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { decodeTransfer } from '../../../src/mail/mime/transfer-encoding.ts';

const content = randomBytes(200_000);
const lines = (bytes: Buffer, length: number, lineBreak: string) =>
  bytes.toString('base64').replace(new RegExp(`.{${length}}`, 'gu'), `$&${lineBreak}`);
const decoded = (text: string) => decodeTransfer(Buffer.from(text, 'latin1'), 'base64');

test.each<[title: string, text: string]>([
  ['lines of 76', lines(content, 76, '\r\n')],
  ['lines of 76 that end with LF, and more of them', `${lines(content, 76, '\n')}\n\n\n`],
  [
    'lines of different lengths',
    lines(content.subarray(0, 99_999), 76, '\r\n') + lines(content.subarray(99_999), 61, '\n'),
  ],
  ['one line', content.toString('base64')],
  ['one line without its padding', content.toString('base64').replace(/=+$/u, '')],
  ['a break in every fourth place', lines(content, 3, '\r\n')],
  [
    'leading blanks, and a whole piece of trailing ones',
    `${' '.repeat(70_000)}${lines(content, 76, '\r\n')}${'\r\n'.repeat(70_000)}`,
  ],
])('%s', (_title, text) => {
  const bytes = decoded(text);
  expect(content.equals(bytes)).toBe(true);
  expect(bytes.buffer.byteLength).toBe(content.length);
});

/** The padding, or what comes after it, is the last of a piece or the first of the next. */
test.each(Array.from({ length: 9 }, (_, index) => 65_532 + index))('two files joined, the first ends at %i', (end) => {
  const first = content.subarray(0, 49_148);
  const blanks = '\n'.repeat(Math.max(0, end - 65_532));
  const bytes = decoded(`${blanks}${first.toString('base64')}\r\n${lines(content.subarray(first.length), 76, '\r\n')}`);
  expect(content.equals(bytes)).toBe(true);
});

test.each(Array.from({ length: 9 }, (_, index) => index))(
  'a footer after padding and %i more, without invalid characters',
  (more) => {
    const first = content.subarray(0, 49_148);
    const bytes = decoded(`${'\n'.repeat(more)}${first.toString('base64')}\r\nSent by list`);
    expect(first.equals(bytes)).toBe(true);
  },
);

test('invalid characters far from the start are skipped, and a footer is left out', () => {
  const text = lines(content, 76, '\r\n');
  const strange = `${text.slice(0, 150_000)}*!${text.slice(150_000)}`;
  expect(content.equals(decoded(strange))).toBe(true);
  expect(content.equals(decoded(`${text}\r\n\r\nSent by list, unsubscribe\r\n`))).toBe(true);
});
