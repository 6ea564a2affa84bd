/**
 * Finds the lines that introduce what is quoted: "On … wrote:" in any of the languages of the tables.
 *
 * An attribution is told by what it is made of: a word for writing, a date, an address, a first word. Each line is
 * read once and by itself, so that one that is wrapped over several lines costs no more. It never fails.
 */

import { endsWithColon, firstCharacter, lowered } from './forward.ts';
import { lengthOf, lineAt, lineKinds, startOf, type TextLines } from './lines.ts';
import { type HeaderRole, headerLabels, openingWords, speakingWords, writingParts, writingWords } from './words.ts';

const lineLengthMax = 400;
/** Gmail wraps at 78 columns, and a long name with its address takes four lines of that at the most. */
const wrappedLinesMax = 5;
/** No conversation has so many attributions; what goes on like that was made to take long. */
const readLinesMax = 20_000;
/** A line without date and address, as "John wrote:", is an attribution only if it is short. */
const bareLengthMax = 80;

const signs = { verb: 1, date: 2, address: 4, opening: 8, prose: 16, addressAtEnd: 32, speech: 64 } as const;

const alternatives = (table: readonly string[]) =>
  table
    .flatMap((row) => row.split('|'))
    .map((words) => words.replace(/[()]/gu, String.raw`\$&`))
    .join('|');

/** Gmail in English ends with `<a@b.example>wrote:`, so that no blank is asked for before the word. */
const verb = new RegExp(
  `(?<![\\p{L}\\p{N}])(?:${alternatives(writingWords)})(?![\\p{L}\\p{N}])|${alternatives(writingParts)}`,
  'iu',
);
const speech = new RegExp(`(?<!\\p{L})(?:${alternatives(speakingWords)})[\\s\\p{Cf}*_]*[:：]`, 'iu');
/** A year, a time, or a date of figures. */
const date = /\b(?:19|20)\d\d\b|\d[:.h]\d\d(?!\d)|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d[年년]/u;
const address = /[^\s<>@]@[^\s<>@]/u;
/** Gmail in Russian or Japanese has no word for writing: date, name, `<address>:`. */
const addressAtEnd = /@[^\s<>@]{1,250}[>)\]]\p{Cf}?\s?[>]?\p{Cf}?[:：][\s\p{Cf}]*$/u;
/** Dashes and marks of direction may stand before the first word (Yahoo: `--- On …`). */
const opening = new RegExp(
  `^[\\s\\p{Cf}*_-]{0,12}(?:(?:${alternatives(openingWords)})[\\s,.:]|\\d|\\p{L}{1,5}\\.?,? \\d|(?:在|於|于|ב|في)\\S)`,
  'iu',
);
const figure = /\d/u;
/** A sentence that ends within the line. */
const prose = /[\p{L}]{3}[.!?] \p{Lu}/u;

/** First line of an attribution that ends with the line `last`, not before `floor`; -1 if it is none. */
export type AttributionFinder = (last: number, floor: number, isQuoteBelow: boolean) => number;

export function attributionFinder(lines: TextLines): AttributionFinder {
  const known = new Map<number, number>();
  const signsAt = (index: number) => {
    const before = known.get(index);
    if (before !== undefined) return before;
    if (known.size >= readLinesMax) return 0;
    const found = readSigns(lines, index);
    known.set(index, found);
    return found;
  };
  return (last, floor, isQuoteBelow) => {
    const lowest = firstOfWrapped(lines, last, floor);
    let sum = 0;
    let enough = -1;
    for (let index = last; index >= lowest; index -= 1) {
      const own = signsAt(index);
      sum |= own;
      if (isWhole(sum, own)) return index === last ? withName(lines, index, floor) : index;
      if (isQuoteBelow && enough === -1 && isEnough(lines, index, sum, index === last)) enough = index;
    }
    return isQuoteBelow ? enough : -1;
  };
}

/** The highest line that may belong to an attribution which ends with the line `last`. */
function firstOfWrapped(lines: TextLines, last: number, floor: number): number {
  let index = last;
  while (index >= floor && index > last - wrappedLinesMax) {
    if (lines.kinds[index] !== lineKinds.text || lengthOf(lines, index) > lineLengthMax) break;
    // Another line that ends with a colon is the end of something else.
    if (index < last && endsWithColon(lines, index)) break;
    index -= 1;
  }
  return index + 1;
}

function readSigns(lines: TextLines, index: number): number {
  const line = lineAt(lines, index);
  let found = 0;
  if (verb.test(line)) found |= signs.verb;
  if (speech.test(line)) found |= signs.speech;
  if (date.test(line)) found |= signs.date;
  if (address.test(line)) found |= signs.address;
  if (figure.test(line) && opening.test(line)) found |= signs.opening;
  if (prose.test(line)) found |= signs.prose;
  if (has(found, signs.address) && addressAtEnd.test(line)) found |= signs.addressAtEnd;
  return found;
}

function has(sum: number, wanted: number): boolean {
  return (sum & wanted) === wanted;
}

/** Nothing further up is needed: the line begins as an attribution does, or all of it is there. */
function isWhole(sum: number, own: number): boolean {
  if (!has(sum, signs.date)) return false;
  if (has(own, signs.opening)) return has(sum, signs.verb) || has(sum, signs.addressAtEnd);
  return has(sum, signs.verb | signs.address);
}

/** Less is asked for where quoted lines follow. */
function isEnough(lines: TextLines, index: number, sum: number, isOneLine: boolean): boolean {
  if (has(sum, signs.address) && (has(sum, signs.verb) || has(sum, signs.date))) return true;
  if (!isOneLine || !(has(sum, signs.verb) || has(sum, signs.speech))) return false;
  return has(sum, signs.date) || (lengthOf(lines, index) <= bareLengthMax && !has(sum, signs.prose));
}

/** `<a@b.example> wrote on …:` has the name on the line above. */
function withName(lines: TextLines, index: number, floor: number): number {
  if (lines.text.charAt(firstCharacter(lines, index)) !== '<' || index <= floor) return index;
  const isName = lines.kinds[index - 1] === lineKinds.text && lengthOf(lines, index - 1) <= bareLengthMax;
  return isName ? index - 1 : index;
}

/**
 * Finds the block of fields (From, Sent, To, Subject) that Outlook and others put above the mail they answer.
 *
 * A block has the sender and two more fields of different meaning, close together. One such line alone, or the
 * fields of a contact form, are no block. It never fails; the number of lines that are looked at is bounded.
 */

const labelLengthMax = 24;
const blockLinesMax = 24;
/** A long list of recipients is wrapped. */
const wrappedHeaderLinesMax = 6;
/** A text with more labels than that is data, and no block is looked for in the rest of it. */
const triesMax = 5_000;

/** A bit for each meaning; a word may mean several things, and `read` says that the line was looked at. */
const bits: Readonly<Record<HeaderRole, number>> = { from: 1, sent: 2, to: 4, subject: 8, other: 16 };
const read = 32;
const labels = new Map<string, number>();
for (const [role, row] of headerLabels) {
  for (const label of row.split('|')) labels.set(label, (labels.get(label) ?? 0) | bits[role]);
}

const formatting = /[*_\p{Cf}]/gu;

/** The line after a block of fields that begins with the line `index`; -1 where none does. */
export type HeaderBlockFinder = (index: number) => number;

/** The line after all that begin with a label, from the line `index` on: what stands below a title may be one field. */
export function labelledEnd(lines: TextLines, index: number): number {
  let end = index;
  while (end < lines.count && end < index + blockLinesMax && lines.kinds[end] === lineKinds.text) {
    if (readRoles(lines, end) === 0) break;
    end += 1;
  }
  return end;
}

/** Each line is read once, however many blocks it could belong to. */
export function headerBlockFinder(lines: TextLines): HeaderBlockFinder {
  let known: Uint8Array | null = null;
  let tries = 0;
  const rolesAt: RolesAt = (index) => {
    if (lines.kinds[index] !== lineKinds.text) return 0;
    known ??= new Uint8Array(lines.count);
    const before = known[index] ?? 0;
    if (before !== 0) return before - read;
    const found = readRoles(lines, index);
    known[index] = found + read;
    return found;
  };
  return (index) => {
    // Nearly all lines have no label, and need no note of it.
    const first = known === null ? readRoles(lines, index) : rolesAt(index);
    if (first === 0 || tries >= triesMax) return -1;
    tries += 1;
    return blockEnd(lines, index, rolesAt);
  };
}

type RolesAt = (index: number) => number;

/** Meanings of the label with which a line begins, 0 where it has none. */
function readRoles(lines: TextLines, index: number): number {
  const start = firstCharacter(lines, index);
  const limit = Math.min(start + labelLengthMax, startOf(lines, index + 1));
  for (let at = start; at < limit; at += 1) {
    const code = lines.text.charCodeAt(at);
    if (code !== 58 && code !== 0xff1a) continue;
    const label = lines.text.slice(start, at).replace(formatting, '').replaceAll('\u00a0', ' ').trim();
    return labels.get(lowered(label).replace(/\s{2,}/gu, ' ')) ?? 0;
  }
  return 0;
}

function blockEnd(lines: TextLines, index: number, rolesAt: RolesAt): number {
  let found = 0;
  let count = 0;
  let end = index;
  let wrapped = 0;
  for (let at = index; at < lines.count && at < index + blockLinesMax; at += 1) {
    const meanings = rolesAt(at);
    if (meanings === 0) {
      if (wrapped >= wrappedHeaderLinesMax || !mayFollow(lines, at, rolesAt)) break;
      wrapped += 1;
      continue;
    }
    found |= meanings;
    count += 1;
    end = at + 1;
    wrapped = 0;
  }
  const others =
    Number((found & bits.sent) !== 0) + Number((found & bits.to) !== 0) + Number((found & bits.subject) !== 0);
  return count >= 3 && (found & bits.from) !== 0 && others >= 2 ? withWrapped(lines, end) : -1;
}

/** A blank line between two fields (made of HTML), or the rest of a wrapped one. */
function mayFollow(lines: TextLines, index: number, rolesAt: RolesAt): boolean {
  const kind = lines.kinds[index];
  return kind === lineKinds.blank ? rolesAt(index + 1) !== 0 : kind !== lineKinds.quote;
}

/** The last field may be wrapped as well: what follows it without a blank line, if a blank line then comes. */
function withWrapped(lines: TextLines, end: number): number {
  const isWrapped = lines.kinds[end] === lineKinds.text && lines.kinds[end + 1] === lineKinds.blank;
  return isWrapped && lengthOf(lines, end - 1) > 60 ? end + 1 : end;
}
