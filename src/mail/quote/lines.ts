/**
 * Line index of a text: offsets and kinds of its lines; a line is copied only when it is requested.
 *
 * The first characters of a line decide whether it is blank, quoted, or text. Offsets are UTF-16 code units; only LF
 * ends a line.
 */

/** Kinds of lines. `weak` is a prefix that is a quote only beside other evidence. */
export const lineKinds = { blank: 0, text: 1, quote: 2, weak: 3 } as const;

/** Lines from `start` until before `end`. */
export type LineRange = { readonly start: number; readonly end: number };

export type TextLines = {
  readonly text: string;
  readonly count: number;
  /** Offset of the first character of each line, then the offset after the text. */
  readonly starts: Uint32Array;
  /** One of `lineKinds` for each line. */
  readonly kinds: Uint8Array;
};

/** Capacity for the lines of a usual message; it doubles as needed, since a text may have millions. */
const firstRoom = 128;

export function splitLines(text: string): TextLines {
  let starts = new Uint32Array(firstRoom);
  let kinds = new Uint8Array(firstRoom);
  let count = 0;
  let start = 0;
  while (start < text.length) {
    if (count + 1 === kinds.length) {
      starts = grown(starts, new Uint32Array(2 * count + 2));
      kinds = grown(kinds, new Uint8Array(2 * count + 2));
    }
    const isEmpty = text.charCodeAt(start) === 10;
    const next = isEmpty ? start : text.indexOf('\n', start);
    const end = next === -1 ? text.length : next + 1;
    starts[count] = start;
    kinds[count] = isEmpty ? lineKinds.blank : kindOf(text, start, end);
    count += 1;
    start = end;
  }
  starts[count] = text.length;
  return { text, count, starts, kinds: kinds.subarray(0, count) };
}

function grown<Room extends Uint32Array | Uint8Array>(from: Room, to: Room): Room {
  to.set(from);
  return to;
}

/** The line without its line end. */
export function lineAt(lines: TextLines, index: number): string {
  return lines.text.slice(startOf(lines, index), startOf(lines, index + 1)).trimEnd();
}

/** Offset of the first character of a line; the length of the text for lines after the last. */
export function startOf(lines: TextLines, index: number): number {
  return index < lines.count ? (lines.starts[index] ?? 0) : lines.text.length;
}

export function lengthOf(lines: TextLines, index: number): number {
  return startOf(lines, index + 1) - startOf(lines, index);
}

/** The first non-blank line from `index` on, at most `end`. */
export function skipBlank(lines: TextLines, index: number, end: number): number {
  let at = index;
  while (at < end && lines.kinds[at] === lineKinds.blank) at += 1;
  return at;
}

/** The line after the last non-blank one before `index`, at least `start`. */
export function skipBlankBack(lines: TextLines, index: number, start: number): number {
  let at = index;
  while (at > start && lines.kinds[at - 1] === lineKinds.blank) at -= 1;
  return at;
}

/** Blanks, and the invisible marks that right-to-left text has before a line. */
export function isBlankCode(code: number): boolean {
  return (
    code === 32 ||
    (code >= 9 && code <= 13) ||
    (code >= 160 && (code === 160 || code === 0x3000 || code === 0xfeff || (code >= 0x2000 && code <= 0x200f))) ||
    (code >= 0x202a && code <= 0x202f)
  );
}

function kindOf(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && isBlankCode(text.charCodeAt(at))) at += 1;
  if (at === end) return lineKinds.blank;
  const first = text.charCodeAt(at);
  // `>`, and its fullwidth form
  if (first === 62 || first === 0xff1e) return lineKinds.quote;
  return isWeak(text, at, end) ? lineKinds.weak : lineKinds.text;
}

/** `| ` of some readers, and up to three initials before a `>` (`JD> `). */
function isWeak(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start);
  if (first === 124) return text.indexOf('|', start + 1) === -1 || text.lastIndexOf('|', end - 1) === start;
  let at = start;
  while (at < start + 3 && isLatin(text.charCodeAt(at))) at += 1;
  return at > start && at < end && text.charCodeAt(at) === 62;
}

function isLatin(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
}

// Parts of a line

/** Offset of the first character of a line that is no blank. */
export function firstCharacter(lines: TextLines, index: number): number {
  let at = startOf(lines, index);
  const end = startOf(lines, index + 1);
  while (at < end && isBlankCode(lines.text.charCodeAt(at))) at += 1;
  return at;
}

/** True where the last character of the line is a colon; blanks, `*`, `_` and `-` after it are formatting. */
export function endsWithColon(lines: TextLines, index: number): boolean {
  let at = startOf(lines, index + 1) - 1;
  const start = startOf(lines, index);
  while (at > start && isFormatting(lines.text.charCodeAt(at))) at -= 1;
  const code = lines.text.charCodeAt(at);
  return code === 58 || code === 0xff1a;
}

function isFormatting(code: number): boolean {
  return code === 42 || code === 95 || code === 45 || isBlankCode(code);
}

/** Dashes of all kinds, and other signs around a title or in a drawn line. */
export const decoration = new Set('-‐‑‒–—―─━═_=*~#+');

const ruleLengthMax = 200;

/** True for a drawn line: at least three signs of decoration, and nothing else but blanks. */
export function isRule(line: string): boolean {
  if (line.length > ruleLengthMax) return false;
  let signs = 0;
  for (const sign of line) {
    if (decoration.has(sign)) signs += 1;
    else if (!isBlankCode(sign.charCodeAt(0))) return false;
  }
  return signs >= 3;
}

/** Lower case as in the tables; the dotted capital of Turkish would become two characters. */
export function lowered(words: string): string {
  const low = words.toLowerCase();
  return low.includes('\u0307') ? low.replaceAll('i\u0307', 'i') : low;
}
