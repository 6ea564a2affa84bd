/**
 * Byte budget of a server.
 */
import { expect, test } from 'vitest';
import { InboundLimit } from '../../../src/adapters/imap/limits.ts';

/** How often the bound of `allowed` bytes was exceeded by `text`, in chunks of `chunkBytes`. */
function exceeded(text: string, chunkBytes: number, allowed: number, expected: number): boolean {
  let isExceeded = false;
  const limit = new InboundLimit(() => {
    isExceeded = true;
  });
  limit.allow(allowed);
  limit.expectLiterals(expected);
  for (let at = 0; at < text.length; at += chunkBytes) limit.count(Buffer.from(text.slice(at, at + chunkBytes)));
  return isExceeded;
}

const answer = (literal: string): string => `* 1 FETCH (UID 1 BODY[] {${literal.length}}\r\n${literal})\r\n`;
const framing = answer('').length + 1;

test.each([1, 2, 7, 1000])('in chunks of %i bytes, lines and literals count each to its own bound', (chunkBytes) => {
  const one = 'a {9}\r\nb\r\n';
  const text = answer(one) + answer('') + answer(one);
  const lines = text.length - 2 * one.length;
  expect(exceeded(text, chunkBytes, lines, 2 * one.length)).toBe(false);
  expect(exceeded(text, chunkBytes, lines - 1, 2 * one.length)).toBe(true);
  expect(exceeded(text, chunkBytes, lines, 2 * one.length - 1)).toBe(true);
  expect(exceeded(text, chunkBytes, text.length, 0)).toBe(false);
  expect(exceeded(text, chunkBytes, text.length - 1, 0)).toBe(true);
});

test.each([
  ['a marker with dozens of zeros', `* OK {${'0'.repeat(30)}9}\r\n`],
  ['the same with a bare line feed', `* OK {${'0'.repeat(30)}9}\n`],
])('%s is no way around the bound', (_what, line) => {
  for (const chunkBytes of [1, 5, 1000]) expect(exceeded(line, chunkBytes, 10_000, 10_000)).toBe(true);
});

test.each(['* OK 12}\r\n', '* OK {}\r\n', '* OK {12} \r\n', '* OK {a12}\r\n', '* OK {12}x\r\n'])(
  'the line %j announces no literal',
  (line) => {
    const text = line + 'x'.repeat(framing);
    expect(exceeded(text, 3, text.length - 1, 1000)).toBe(true);
    expect(exceeded(text, 3, text.length, 1000)).toBe(false);
  },
);
