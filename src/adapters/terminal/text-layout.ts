/**
 * Text layout for terminals: tables with aligned columns, styled lines, wrapping and truncation by display width.
 *
 * Only columns marked `shrinks` are narrowed to fit, the widest first. Wide East Asian characters count two columns.
 * Texts are made printable here, so that no control sequence from outside reaches the terminal; styles are added
 * afterwards.
 */

import { styleText } from 'node:util';
import stringWidth from 'string-width';
import { printableLine } from '../../text/printable.ts';

export type Column = {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** True when the cells may be cut to make the table fit. */
  readonly shrinks?: boolean;
};

const gap = '  ';
const shrunkWidthMin = 8;
const segments = new Intl.Segmenter();

/** Lines of a table, title line first; `width` null: unlimited. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | null,
): readonly string[] {
  const all = [columns.map((column) => column.title), ...rows].map((row) => row.map(printableLine));
  const needed = columns.map((_, index) => all.reduce((max, row) => Math.max(max, stringWidth(row[index] ?? '')), 0));
  const widths = width === null ? needed : fitted(columns, needed, width);
  return all.map((row) => {
    const cells = columns.map((column, index) => cell(row[index] ?? '', widths[index] ?? 0, column.align ?? 'left'));
    return cells.join(gap).trimEnd();
  });
}

/** `text` cut to `width` columns; an ellipsis marks the cut. */
export function cutToWidth(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let start = '';
  let used = 0;
  for (const { segment } of segments.segment(text)) {
    const more = stringWidth(segment);
    if (used + more > width - 1) break;
    start += segment;
    used += more;
  }
  return `${start}…`;
}

function fitted(columns: readonly Column[], needed: readonly number[], width: number): readonly number[] {
  const widths = [...needed];
  let excess = widths.reduce((sum, each) => sum + each, 0) + gap.length * (columns.length - 1) - width;
  while (excess > 0) {
    const index = widestShrinking(columns, widths);
    if (index === null) break;
    widths[index] = (widths[index] ?? 0) - 1;
    excess--;
  }
  return widths;
}

function widestShrinking(columns: readonly Column[], widths: readonly number[]): number | null {
  let widest: number | null = null;
  for (const [index, column] of columns.entries()) {
    const width = widths[index] ?? 0;
    if (column.shrinks !== true || width <= shrunkWidthMin) continue;
    if (widest === null || width > (widths[widest] ?? 0)) widest = index;
  }
  return widest;
}

function cell(text: string, width: number, align: 'left' | 'right'): string {
  const cut = cutToWidth(text, width);
  const space = ' '.repeat(Math.max(0, width - stringWidth(cut)));
  return align === 'right' ? space + cut : cut + space;
}

/** Plain text, or text with a style. */
export type Piece = string | readonly [text: string, style: Style];

export type StyledLine = readonly Piece[];

/** One line without its end, cut to `width` columns; null: unlimited. */
export function styledText(line: StyledLine, colours: boolean, width: number | null = null): string {
  let left = width ?? Number.POSITIVE_INFINITY;
  let text = '';
  for (const [words, style] of line.map(partsOf)) {
    const shown = left === Number.POSITIVE_INFINITY ? words : cutToWidth(words, left);
    text += colours && style !== null ? inStyle(shown, style) : shown;
    left -= stringWidth(shown);
    if (shown !== words || left <= 0) break;
  }
  return text;
}

function partsOf(piece: Piece): readonly [text: string, style: Style | null] {
  return typeof piece === 'string' ? [printableLine(piece), null] : [printableLine(piece[0]), piece[1]];
}

/** `text` in lines of at most `width` columns, wrapped at spaces; a longer word is split. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printableLine(text)
    .split(' ')
    .flatMap((one) => splitWord(one, width))) {
    if (line === '') line = word;
    else if (stringWidth(line) + 1 + stringWidth(word) <= width) line += ` ${word}`;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}

/** Parts of `word` that fit. */
function splitWord(word: string, width: number): readonly string[] {
  if (stringWidth(word) <= width) return [word];
  const pieces = [''];
  for (const { segment } of segments.segment(word)) {
    const last = pieces.length - 1;
    if (stringWidth(`${pieces[last]}${segment}`) > width && pieces[last] !== '') pieces.push(segment);
    else pieces[last] += segment;
  }
  return pieces;
}

const formats = {
  bold: ['bold'],
  green: ['green'],
  red: ['red'],
  yellow: ['yellow'],
  dim: ['dim'],
  'bold green': ['bold', 'green'],
  'bold red': ['bold', 'red'],
  'bold yellow': ['bold', 'yellow'],
} as const;

export type Style = keyof typeof formats;

/** `text` with the escape sequences of a style. */
export function inStyle(text: string, style: Style): string {
  return styleText([...formats[style]], text, { validateStream: false });
}
