/**
 * Title lines in text: "Forwarded message", "Original message", "Reply above this line", in the languages of
 * `words.ts`; and lines that only draw.
 *
 * The two ends of a line are read before its words, so that nearly all lines cost a few characters. Never fails.
 */
import { isBlankCode, lengthOf, lineAt, startOf, type TextLines } from './lines.ts';
import { forwardTitleBeginnings, forwardTitles, originalTitles, replyAboveParts } from './words.ts';

/** A title announces a forwarded message, the message replied to, or that the reply goes above it. */
type TitleKind = 'forward' | 'original' | 'reply_above';

const titleLengthMax = 200;

const rows = (table: readonly string[]) => table.flatMap((row) => row.split('|'));
const titles: ReadonlyMap<string, TitleKind> = new Map<string, TitleKind>([
  ...rows(originalTitles).map((title) => [title, 'original'] as const),
  ...rows(forwardTitles).map((title) => [title, 'forward'] as const),
]);
const beginnings = rows(forwardTitleBeginnings);
const above = new RegExp(rows(replyAboveParts).join('|'), 'u');
/** Some helpdesks write their line without decoration; it is searched for in the whole text. */
const plainAbove = ['above this line', 'Above this line', 'ABOVE THIS LINE', 'Above This Line'];

/** Dashes of all kinds, and other signs around a title or in a drawn line. */
const decoration = new Set('-‐‑‒–—―─━═_=*~#+');

/** True for a drawn line: at least three signs of decoration, and nothing else but blanks. */
export function isRule(line: string): boolean {
  if (line.length > titleLengthMax) return false;
  let signs = 0;
  for (const sign of line) {
    if (decoration.has(sign)) signs += 1;
    else if (!isBlankCode(sign.charCodeAt(0))) return false;
  }
  return signs >= 3;
}

/** The title at `index`; null for nearly all lines. */
export function titleAt(lines: TextLines, index: number): TitleKind | null {
  if (lengthOf(lines, index) > titleLengthMax) return null;
  const start = firstCharacter(lines, index);
  const isDecorated = decoration.has(lines.text.charAt(start)) || lines.text.charAt(start) === '[';
  if (!(isDecorated || endsWithColon(lines, index))) return null;
  return titleOf(lineAt(lines, index), isDecorated);
}

function titleOf(line: string, isDecorated: boolean): TitleKind | null {
  const words = lowered(withoutDecoration(line));
  if (words === '') return null;
  const found = titles.get(words) ?? (beginnings.some((beginning) => words.startsWith(beginning)) ? 'forward' : null);
  // Apple Mail has no dashes but a colon; "Original message" without dashes may be a sentence of a person.
  if (found === 'forward' || (found === 'original' && isDecorated)) return found;
  return isDecorated && above.test(words) ? 'reply_above' : null;
}

/** The first undecorated line that asks for the reply above it; -1 for none. */
export function plainReplyAbove(lines: TextLines): number {
  for (const words of plainAbove) {
    const at = lines.text.indexOf(words);
    if (at === -1) continue;
    const index = lineOfOffset(lines, at);
    if (lengthOf(lines, index) <= titleLengthMax && above.test(lowered(lineAt(lines, index)))) return index;
  }
  return -1;
}

function lineOfOffset(lines: TextLines, offset: number): number {
  let low = 0;
  let high = lines.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (startOf(lines, middle) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function withoutDecoration(line: string): string {
  const around = (sign: string) =>
    decoration.has(sign) || '[]<>|:：()'.includes(sign) || isBlankCode(sign.charCodeAt(0));
  let start = 0;
  let end = line.length;
  while (start < end && around(line.charAt(start))) start += 1;
  while (end > start && around(line.charAt(end - 1))) end -= 1;
  return line.slice(start, end).replaceAll('\u00a0', ' ');
}

/** Lower case as in the tables; the dotted capital of Turkish would become two characters. */
export function lowered(words: string): string {
  const low = words.toLowerCase();
  return low.includes('\u0307') ? low.replaceAll('i\u0307', 'i') : low;
}

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

/** True for a line that may end an attribution: with a colon, or between dashes as Zoho writes it. */
export function mayEndAttribution(lines: TextLines, index: number): boolean {
  if (endsWithColon(lines, index)) return true;
  if (!lines.text.startsWith('--', firstCharacter(lines, index)) || lengthOf(lines, index) > 400) return false;
  return lineAt(lines, index).endsWith(' ----');
}

function isFormatting(code: number): boolean {
  return code === 42 || code === 95 || code === 45 || isBlankCode(code);
}
