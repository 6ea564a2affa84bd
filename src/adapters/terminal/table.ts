/**
 * Tables that are read at a glance: aligned columns, cut to the width of the terminal.
 *
 * Only columns that are marked `shrinks` give way, the widest first, down to a few characters; the others keep their
 * width. Widths are those that a terminal shows: wide East Asian characters count two.
 */
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
