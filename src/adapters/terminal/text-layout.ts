/**
 * Text layout for terminals: tables with aligned columns, styled lines, wrapping and truncation by display width.
 *
 * Only columns marked `shrinks` are narrowed to fit, the widest first, and the one marked `main` after the others; then
 * columns marked `drops` are left out. Wide East Asian characters count two columns.
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
  /** True for the one that gets what is left, such as the subject. */
  readonly main?: boolean;
  /** Left out where the table does not fit, the highest number first; other commands show it. */
  readonly drops?: number;
};

const gap = '  ';
const shrunkWidthMin = 8;
/** Below this, another column is dropped rather than cut further. */
const comfortableWidth = 14;
const mainWidth = 20;
const segments = new Intl.Segmenter();

/** Lines of a table, title line first; `width` null: unlimited. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | null,
): readonly string[] {
  const all = [columns.map((column) => column.title), ...rows].map((row) => row.map(printableLine));
  const needed = columns.map((_, index) => all.reduce((max, row) => Math.max(max, stringWidth(row[index] ?? '')), 0));
  const shown = width === null ? columns.map((_, index) => index) : fittingColumns(columns, needed, width);
  const kept = shown.flatMap((index) => columns[index] ?? []);
  const keptNeeded = shown.map((index) => needed[index] ?? 0);
  const widths = width === null ? keptNeeded : fitted(kept, keptNeeded, width);
  return all.map((row) => {
    const cells = kept.map((column, at) => cell(row[shown[at] ?? 0] ?? '', widths[at] ?? 0, column.align ?? 'left'));
    return cells.join(gap).trimEnd();
  });
}

/** Indexes of the columns that fit at comfortable widths, or of those that are never dropped. */
function fittingColumns(columns: readonly Column[], needed: readonly number[], width: number): readonly number[] {
  let shown = columns.map((_, index) => index);
  for (;;) {
    const least = shown.reduce((sum, index) => sum + comfortable(columns[index], needed[index] ?? 0), 0);
    const droppable = shown.filter((index) => columns[index]?.drops !== undefined);
    if (least + gap.length * (shown.length - 1) <= width || droppable.length === 0) return shown;
    const next = droppable.reduce((a, b) => ((columns[b]?.drops ?? 0) > (columns[a]?.drops ?? 0) ? b : a));
    shown = shown.filter((index) => index !== next);
  }
}

function comfortable(column: Column | undefined, needed: number): number {
  if (column?.shrinks !== true) return needed;
  return Math.min(needed, column.main === true ? mainWidth : comfortableWidth);
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
  for (const [isMain, least] of [
    [false, comfortableWidth],
    [true, mainWidth],
    [null, shrunkWidthMin],
  ] as const)
    for (; excess > 0; excess--) {
      const index = widestShrinking(columns, widths, isMain, least);
      if (index === null) break;
      widths[index] = (widths[index] ?? 0) - 1;
    }
  return widths;
}

/** The widest column above `least` that may be cut; `isMain` null: any. */
function widestShrinking(
  columns: readonly Column[],
  widths: readonly number[],
  isMain: boolean | null,
  least: number,
): number | null {
  let widest: number | null = null;
  for (const [index, column] of columns.entries()) {
    const width = widths[index] ?? 0;
    if (column.shrinks !== true || width <= least) continue;
    if (isMain !== null && (column.main === true) !== isMain) continue;
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

/** A command within a sentence, up to its punctuation: it is copied as a whole. Any other word. */
const unbroken = /\S*ticketmaild(?= )(?: (?![^ ]*[.,;:)](?: |$))\S+)*(?: \S+)?|\S+/g;

/**
 * Prose in lines of at most `width` columns, broken between words, never within a word or a command to copy. Further
 * lines are indented as the text behind the label of the first one.
 */
export function wrappedProse(text: string, width: number): readonly string[] {
  const line = printableLine(text);
  if (stringWidth(line) <= width) return [line];
  const [label = ''] = /^ *(?:[a-z][a-z ]*? {2,}|hint: )?/.exec(line) ?? [];
  const lines = [label];
  for (const [word] of line.slice(label.length).matchAll(unbroken)) {
    const last = lines.at(-1) ?? '';
    const isEmpty = last.trim() === '' || lines.length + last.length === 1 + label.length;
    if (!isEmpty && stringWidth(last) + 1 + stringWidth(word) > width) lines.push(' '.repeat(label.length) + word);
    else lines[lines.length - 1] = isEmpty ? last + word : `${last} ${word}`;
  }
  return lines;
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
