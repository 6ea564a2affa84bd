/**
 * Tables that are read at a glance: aligned columns, cut to the width of the terminal.
 *
 * Only columns that are marked `shrinks` give way, the widest first, down to a few characters; the others keep their
 * width. Widths are those that a terminal shows: wide East Asian characters count two.
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

/** Lines of a table, title line first; `width` null: as wide as it needs to be. Cells are made printable here. */
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

/** `text` cut to `width` columns, with an ellipsis where something was cut. */
export function cutToWidth(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of segments.segment(text)) {
    const more = stringWidth(segment);
    if (used + more > width - 1) break;
    kept += segment;
    used += more;
  }
  return `${kept}…`;
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

/**
 * Lines of which parts have a style: what `status` and `logs` are made of.
 *
 * Texts are made printable here, so that nothing from outside reaches a terminal as a command to it; styles are put around
 * them afterwards, and only where colours are shown.
 */

/** Text as it is, or in a style. */
export type Piece = string | readonly [text: string, style: Style];

export type StyledLine = readonly Piece[];

/** One line without its end; `width` in columns, null for as wide as it is. */
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

/** `text` in lines of at most `width` columns, broken at spaces; a word that is longer is cut in pieces. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printableLine(text)
    .split(' ')
    .flatMap((one) => broken(one, width))) {
    if (line === '') line = word;
    else if (stringWidth(line) + 1 + stringWidth(word) <= width) line += ` ${word}`;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}

/** Pieces of `word` that fit. */
function broken(word: string, width: number): readonly string[] {
  if (stringWidth(word) <= width) return [word];
  const pieces = [''];
  for (const { segment } of segments.segment(word)) {
    const last = pieces.length - 1;
    if (stringWidth(`${pieces[last]}${segment}`) > width && pieces[last] !== '') pieces.push(segment);
    else pieces[last] += segment;
  }
  return pieces;
}

/** Colours and weight of text on a terminal, by name. */

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

/** `text` in a style, as a terminal understands it. */
export function inStyle(text: string, style: Style): string {
  return styleText([...formats[style]], text, { validateStream: false });
}
