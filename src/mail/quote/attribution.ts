/**
 * Attribution lines of quoted history: "On … wrote:" in the languages of `words.ts`.
 *
 * An attribution is recognised by its components: a word for writing, a date, an address, a first word. Each line is read
 * once and by itself, so that an attribution wrapped over several lines costs no more. Bounded: 20,000 lines, five lines
 * each. Never fails.
 */
import { lengthOf, lineAt, lineKinds, type TextLines } from './lines.ts';
import { endsWithColon, firstCharacter } from './titles.ts';
import { openingWords, speakingWords, writingParts, writingWords } from './words.ts';

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
