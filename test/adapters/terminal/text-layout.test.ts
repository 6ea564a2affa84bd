import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { cutToWidth, tableLines } from '../../../src/adapters/terminal/text-layout.ts';

const columns = [{ title: 'REF' }, { title: 'N', align: 'right' as const }, { title: 'SUBJECT', shrinks: true }];

test('columns are aligned, numbers to the right', () => {
  const rows = [
    ['A-1', '7', 'short'],
    ['A-100', '12', 'x'],
  ];
  expect(tableLines(columns, rows, null)).toEqual(['REF     N  SUBJECT', 'A-1     7  short', 'A-100  12  x']);
});

test('columns that shrink are cut to the width of the terminal, by display width', () => {
  const lines = tableLines(columns, [['A-1', '1', '日本語の件名はとても長いことがあります']], 24);
  expect(lines.map((line) => stringWidth(line)).every((width) => width <= 24)).toBe(true);
  expect(lines[1]).toBe('A-1  1  日本語の件名は…');
});

test('a cell cannot break out of its line', () => {
  expect(tableLines(columns, [['A-1', '1', 'a\nB-2  \u001b[2J']], null)).toHaveLength(2);
});

test('a character is never cut in two', () => {
  expect(cutToWidth('ab👩‍👩‍👧cd', 4)).toBe('ab…');
  expect(cutToWidth('abc', 3)).toBe('abc');
});
