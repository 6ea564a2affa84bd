import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonLine, printableLine, printableText } from '../../src/text/printable.ts';

test('escape sequences and bidirectional overrides become visible', () => {
  expect(printableLine('\u001b]0;owned\u0007 \u001b[31mred')).toBe('\\x1b]0;owned\\x07 \\x1b[31mred');
  expect(printableLine('gpj.\u202eexe')).toBe('gpj.\\u202eexe');
  expect(printableLine('\u009b31m')).toBe('\\x9b31m');
});

test('one line stays one line, and a text retains its lines', () => {
  expect(printableLine('a\r\nb\tc')).toBe('a b c');
  expect(printableText('a\r\nb\tc\rd')).toBe('a\nb\tc\\x0dd');
});

test('names in any script, emoji and combining characters are unchanged', () => {
  const text = '日本語 Ünïcödé 👩‍👩‍👧 नमस्ते';
  expect(printableLine(text)).toBe(text);
});

test('in any text no terminal control is left, and JSON parses to the same value', () => {
  const harmful = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
  const anyText = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(anyText, (text) => {
      expect(printableLine(text)).not.toMatch(harmful);
      const json = jsonLine({ text });
      expect(json).not.toMatch(harmful);
      expect(JSON.parse(json)).toEqual({ text });
    }),
  );
});
