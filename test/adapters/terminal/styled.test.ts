import fc from 'fast-check';
import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { styledText, wrapped } from '../../../src/adapters/terminal/text-layout.ts';

test('control sequences are made printable, whatever the style', () => {
  const evil = '\x1b[2J\x9b\u202e\n';
  expect(styledText([evil, [evil, 'red']], false)).toBe('\\x1b[2J\\x9b\\u202e \\x1b[2J\\x9b\\u202e ');
  expect(styledText([[evil, 'red']], true)).toBe('\x1b[31m\\x1b[2J\\x9b\\u202e \x1b[39m');
});

test('text is wrapped at spaces, and a long word is split', () => {
  expect(wrapped('to be or not to be', 8)).toEqual(['to be or', 'not to', 'be']);
  expect(wrapped('a abcdefghij b', 4)).toEqual(['a', 'abcd', 'efgh', 'ij b']);
  expect(wrapped('日本語の件名', 5)).toEqual(['日本', '語の', '件名']);
  expect(wrapped('', 5)).toEqual(['']);
});

test('no line exceeds the width, and no character is lost', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 4, max: 30 }), (text, width) => {
      const lines = wrapped(text, width);
      // What is made printable may make a character longer than a line.
      for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(Math.max(width, 6));
      const kept = styledText([text], false).replaceAll(' ', '');
      expect(lines.join('').replaceAll(' ', '')).toBe(kept);
    }),
  );
});
