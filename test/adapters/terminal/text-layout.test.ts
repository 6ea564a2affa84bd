import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { cutToWidth, tableLines, wrappedProse } from '../../../src/adapters/terminal/text-layout.ts';

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

test('a column is left out before others become too narrow; the main one gets what is left', () => {
  const wide = [
    { title: 'REF' },
    { title: 'MAILBOX', shrinks: true, drops: 1 },
    { title: 'SUBJECT', shrinks: true, main: true },
  ];
  const rows = [['A-1', 'm'.repeat(30), 's'.repeat(60)]];
  expect(tableLines(wide, rows, 30)[0]).toBe('REF  SUBJECT');
  expect(tableLines(wide, rows, 60)[1]).toBe(`A-1  ${'m'.repeat(13)}…  ${'s'.repeat(38)}…`);
  expect(tableLines(wide, rows, null)[1]).toBe(`A-1  ${'m'.repeat(30)}  ${'s'.repeat(60)}`);
});

test('prose breaks between words, under its label, and never within a command', () => {
  expect(wrappedProse('hint: Nothing was stored: check the password, then add it again.', 30)).toEqual([
    'hint: Nothing was stored:',
    '      check the password, then',
    '      add it again.',
  ]);
  expect(wrappedProse('Seal them: ticketmaild encryption enable. Then look.', 24)).toEqual([
    'Seal them:',
    'ticketmaild encryption enable.',
    'Then look.',
  ]);
});
