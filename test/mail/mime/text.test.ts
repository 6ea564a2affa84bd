/** Line ends of texts of any length. */
import { expect, test } from 'vitest';
import { textOfHtml } from '../../../src/mail/mime/html.ts';
import { storable } from '../../../src/mail/mime/text.ts';
import { markText } from '../../../src/mail/quote/quote.ts';

test.each([
  ['Latin', 'line é\r\n'],
  ['other', 'строка 日本\r\n'],
  ['CR alone', 'line\r'],
  ['two line ends', '\r\r\n'],
])('every line end of a long text is LF: %s', (_title, line) => {
  for (const length of [10, 99_999, 100_000, 100_001, 350_000]) {
    const text = `${'x'.repeat(length)}${line.repeat(60_000)}`;
    // A piece could end anywhere within a line.
    expect(storable(text)).toBe(text.replaceAll('\r\n', '\n').replaceAll('\r', '\n'));
  }
});

test('a surrogate pair is not split in a long text', () => {
  const text = `${'x'.repeat(99_999)}😀\r\n`.repeat(4);
  expect(storable(text)).toBe(text.replaceAll('\r', ''));
});

test('in a very long text history is marked to its end, quoted lines to the search limit', () => {
  const filler = 'words of the mail before\n'.repeat(40_000);
  const history = `Thanks!\n\n-----Original Message-----\nFrom: a@example.test\nSent: today\nTo: b\nSubject: c\n\n${filler}`;
  expect(markText(history, 'Re: c').at(-1)).toEqual({ kind: 'quote', start: 9, end: history.length });
  const quoted = `Thanks!\n\n${filler.replaceAll('words', '> words')}\nMy answer.\n`;
  const [mark] = markText(quoted, 'Re: c');
  expect(mark?.start).toBe(9);
  expect(mark?.end).toBeLessThan(quoted.length - 12);
  const signed = `Hello.\n${'x'.repeat(399_980)}\n-- \nA\n\n${filler}`;
  expect(markText(signed, 'c')).toEqual([]);
});

test.each([
  [
    'cells and rows of a table stay apart',
    '<table><tr><th>Item</th><th>Count</th></tr><tr><td>Mouse</td><td>3</td></tr></table>',
    'Item\tCount\nMouse\t3',
  ],
  ['paragraphs in cells too', '<table><tr><td><p>9,99</p></td></tr><tr><td><p>2</p></td></tr></table>', '9,99\n\n2'],
  [
    'a layout table leaves no mark',
    '<table><tr><td> </td><td><table><tr><td><div>Hello</div><div>World</div></td></tr></table></td><td></td></tr></table>',
    'Hello\nWorld',
  ],
])('%s', (_title, html, text) => {
  expect(textOfHtml(html)).toBe(text);
});
