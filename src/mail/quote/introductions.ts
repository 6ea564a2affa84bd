/**
 * Introductions of quoted history: attribution lines ("On … wrote:") and header blocks (From, Sent, To, Subject), in
 * the languages of `words.ts`.
 *
 * Each line is read once and alone, so that an attribution wrapped over several lines costs no more, however many
 * blocks a line could belong to. Bounded: 20,000 lines of attributions, five lines each; 5,000 header blocks. Never
 * fails.
 */
import {
  endsWithColon,
  firstCharacter,
  lengthOf,
  lineAt,
  lineKinds,
  lowered,
  startOf,
  type TextLines,
} from './lines.ts';
import {
  anyOf,
  type HeaderRole,
  headerLabels,
  openingWords,
  speakingWords,
  writingParts,
  writingWords,
} from './words.ts';

// Attributions, recognised by their components: a word for writing, a date, an address, a first word

const lineLengthMax = 400;
/** Gmail wraps at 78 columns, and a long name with its address takes four lines of that at the most. */
const attributionLinesMax = 5;
/** No real conversation has so many attributions. */
const readLinesMax = 20_000;
/** A line without date and address, as "John wrote:", is an attribution only if it is short. */
const bareLengthMax = 80;

/** Components of an attribution, one bit each. */
const components = { verb: 1, date: 2, address: 4, opening: 8, prose: 16, addressAtEnd: 32, speech: 64 } as const;

/** Gmail in English ends with `<a@b.example>wrote:`, so that no blank is required before the word. */
const verbPattern = new RegExp(
  `(?<![\\p{L}\\p{N}])(?:${anyOf(writingWords)})(?![\\p{L}\\p{N}])|${anyOf(writingParts)}`,
  'iu',
);
const speechPattern = new RegExp(`(?<!\\p{L})(?:${anyOf(speakingWords)})[\\s\\p{Cf}*_]*[:：]`, 'iu');
/** A year, a time, or a date of figures. */
const datePattern = /\b(?:19|20)\d\d\b|\d[:.h]\d\d(?!\d)|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d[年년]/u;
const addressPattern = /[^\s<>@]@[^\s<>@]/u;
/** Gmail in Russian or Japanese has no word for writing: date, name, `<address>:`. */
const addressAtEndPattern = /@[^\s<>@]{1,250}[>)\]]\p{Cf}?\s?[>]?\p{Cf}?[:：][\s\p{Cf}]*$/u;
/** Dashes and marks of direction may precede the first word (Yahoo: `--- On …`). */
const openingPattern = new RegExp(
  `^[\\s\\p{Cf}*_-]{0,12}(?:(?:${anyOf(openingWords)})[\\s,.:]|\\d|\\p{L}{1,5}\\.?,? \\d|(?:在|於|于|ב|في)\\S)`,
  'iu',
);
const digit = /\d/u;
/** A sentence that ends within the line. */
const prosePattern = /[\p{L}]{3}[.!?] \p{Lu}/u;

/** Finds the first line of an attribution that ends with the line `last`, not before `floor`; -1 for none. */
export function attributionFinder(lines: TextLines) {
  const cache = new Map<number, number>();
  const componentsAt = (index: number) => {
    const before = cache.get(index);
    if (before !== undefined) return before;
    if (cache.size >= readLinesMax) return 0;
    const result = componentsOf(lines, index);
    cache.set(index, result);
    return result;
  };
  return (last: number, floor: number, isQuoteBelow: boolean): number => {
    const lowest = firstOfWrapped(lines, last, floor);
    let found = 0;
    let sufficient = -1;
    for (let index = last; index >= lowest; index -= 1) {
      const ofLine = componentsAt(index);
      found |= ofLine;
      if (isComplete(found, ofLine)) return index === last ? withName(lines, index, floor) : index;
      if (isQuoteBelow && sufficient === -1 && isSufficient(lines, index, found, index === last)) sufficient = index;
    }
    return isQuoteBelow ? sufficient : -1;
  };
}

/** The highest line that may belong to an attribution which ends with the line `last`. */
function firstOfWrapped(lines: TextLines, last: number, floor: number): number {
  let index = last;
  while (index >= floor && index > last - attributionLinesMax) {
    if (lines.kinds[index] !== lineKinds.text || lengthOf(lines, index) > lineLengthMax) break;
    // Another line that ends with a colon is the end of something else.
    if (index < last && endsWithColon(lines, index)) break;
    index -= 1;
  }
  return index + 1;
}

function componentsOf(lines: TextLines, index: number): number {
  const line = lineAt(lines, index);
  let result = 0;
  if (verbPattern.test(line)) result |= components.verb;
  if (speechPattern.test(line)) result |= components.speech;
  if (datePattern.test(line)) result |= components.date;
  if (addressPattern.test(line)) result |= components.address;
  if (digit.test(line) && openingPattern.test(line)) result |= components.opening;
  if (prosePattern.test(line)) result |= components.prose;
  if (has(result, components.address) && addressAtEndPattern.test(line)) result |= components.addressAtEnd;
  return result;
}

function has(found: number, wanted: number): boolean {
  return (found & wanted) === wanted;
}

/** Complete: the line begins as an attribution does, or all components were found. */
function isComplete(found: number, ofLine: number): boolean {
  if (!has(found, components.date)) return false;
  if (has(ofLine, components.opening)) return has(found, components.verb) || has(found, components.addressAtEnd);
  return has(found, components.verb | components.address);
}

/** Less is required where quoted lines follow. */
function isSufficient(lines: TextLines, index: number, found: number, isOneLine: boolean): boolean {
  if (has(found, components.address) && (has(found, components.verb) || has(found, components.date))) return true;
  if (!isOneLine || !(has(found, components.verb) || has(found, components.speech))) return false;
  return has(found, components.date) || (lengthOf(lines, index) <= bareLengthMax && !has(found, components.prose));
}

/** `<a@b.example> wrote on …:` may have the name on the line above. */
function withName(lines: TextLines, index: number, floor: number): number {
  if (lines.text.charAt(firstCharacter(lines, index)) !== '<' || index <= floor) return index;
  const isName = lines.kinds[index - 1] === lineKinds.text && lengthOf(lines, index - 1) <= bareLengthMax;
  return isName ? index - 1 : index;
}

/** True for a line that may end an attribution: with a colon, or between dashes as Zoho writes it. */
export function mayEndAttribution(lines: TextLines, index: number): boolean {
  if (endsWithColon(lines, index)) return true;
  if (!lines.text.startsWith('--', firstCharacter(lines, index)) || lengthOf(lines, index) > 400) return false;
  return lineAt(lines, index).endsWith(' ----');
}

// Header blocks, which Outlook and others put above the message replied to: the sender and two more fields of different
// meaning, close together. One such line alone, or the fields of a contact form, are no block.

const labelLengthMax = 24;
const blockLinesMax = 24;
/** Lines between two fields: a long list of recipients is wrapped. */
const wrappedLinesMax = 6;
/** A text with more labels is data; the rest of it is not searched. */
const triesMax = 5_000;

/** One bit for each role; a label may have several. `read` marks a line that was read. */
const roleBits: Readonly<Record<HeaderRole, number>> = { from: 1, sent: 2, to: 4, subject: 8, other: 16 };
const read = 32;
const rolesByLabel = new Map<string, number>();
for (const [role, row] of headerLabels) {
  for (const label of row.split('|')) rolesByLabel.set(label, (rolesByLabel.get(label) ?? 0) | roleBits[role]);
}

const formatting = /[*_\p{Cf}]/gu;

/** Finds the line after a header block that begins with the line `index`; -1 for none. */
export function headerBlockFinder(lines: TextLines) {
  let rolesOfLines: Uint8Array | null = null;
  let tries = 0;
  const rolesAt: RolesAt = (index) => {
    if (lines.kinds[index] !== lineKinds.text) return 0;
    rolesOfLines ??= new Uint8Array(lines.count);
    const before = rolesOfLines[index] ?? 0;
    if (before !== 0) return before - read;
    const found = readRoles(lines, index);
    rolesOfLines[index] = found + read;
    return found;
  };
  return (index: number): number => {
    // Nearly all lines have no label, and are not remembered.
    const first = rolesOfLines === null ? readRoles(lines, index) : rolesAt(index);
    if (first === 0 || tries >= triesMax) return -1;
    tries += 1;
    return blockEnd(lines, index, rolesAt);
  };
}

type RolesAt = (index: number) => number;

/** Roles of the label with which a line begins; 0 for none. */
function readRoles(lines: TextLines, index: number): number {
  const start = firstCharacter(lines, index);
  const limit = Math.min(start + labelLengthMax, startOf(lines, index + 1));
  for (let at = start; at < limit; at += 1) {
    const code = lines.text.charCodeAt(at);
    if (code !== 58 && code !== 0xff1a) continue;
    const label = lines.text.slice(start, at).replace(formatting, '').replaceAll('\u00a0', ' ').trim();
    return rolesByLabel.get(lowered(label).replace(/\s{2,}/gu, ' ')) ?? 0;
  }
  return 0;
}

function blockEnd(lines: TextLines, index: number, rolesAt: RolesAt): number {
  let found = 0;
  let count = 0;
  let end = index;
  let wrappedLines = 0;
  for (let at = index; at < lines.count && at < index + blockLinesMax; at += 1) {
    const roles = rolesAt(at);
    if (roles === 0) {
      if (wrappedLines >= wrappedLinesMax || !continuesBlock(lines, at, rolesAt)) break;
      wrappedLines += 1;
      continue;
    }
    found |= roles;
    count += 1;
    end = at + 1;
    wrappedLines = 0;
  }
  const others = [roleBits.sent, roleBits.to, roleBits.subject].filter((bit) => (found & bit) !== 0);
  return count >= 3 && (found & roleBits.from) !== 0 && others.length >= 2 ? withWrapped(lines, end) : -1;
}

/** True for a blank line between two fields (text made of HTML), and for the rest of a wrapped field. */
function continuesBlock(lines: TextLines, index: number, rolesAt: RolesAt): boolean {
  const kind = lines.kinds[index];
  return kind === lineKinds.blank ? rolesAt(index + 1) !== 0 : kind !== lineKinds.quote;
}

/** Includes the second line of a wrapped last field, which a blank line must follow. */
function withWrapped(lines: TextLines, end: number): number {
  const isWrapped = lines.kinds[end] === lineKinds.text && lines.kinds[end + 1] === lineKinds.blank;
  return isWrapped && lengthOf(lines, end - 1) > 60 ? end + 1 : end;
}

/** The line after all lines with a label, from the line `index` on: below a title there may be a single field. */
export function labelledEnd(lines: TextLines, index: number): number {
  let end = index;
  while (end < lines.count && end < index + blockLinesMax && lines.kinds[end] === lineKinds.text) {
    if (readRoles(lines, end) === 0) break;
    end += 1;
  }
  return end;
}
