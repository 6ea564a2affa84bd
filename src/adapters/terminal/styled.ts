/**
 * Lines of which parts have a style: what `status` and `logs` are made of.
 *
 * Texts are made printable here, so that nothing from outside reaches a terminal as a command to it; styles are put around
 * them afterwards, and only where colours are shown.
 */
import stringWidth from 'string-width';
import { printableLine } from '../../text/printable.ts';
import { inStyle, type Style } from './style.ts';
import { cutToWidth } from './table.ts';

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

const segments = new Intl.Segmenter();

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
