/**
 * Attribution lines of quoted history: "On … wrote:" in the languages of `words.ts`.
 *
 * An attribution is recognised by its components: a word for writing, a date, an address, a first word. Each line is
 * read once and alone, so that an attribution wrapped over several lines costs no more. Bounded: 20,000 lines, five
 * lines each. Never fails.
 */
import { lengthOf, lineAt, lineKinds, type TextLines } from './lines.ts';
import { endsWithColon, firstCharacter } from './titles.ts';
import { openingWords, speakingWords, writingParts, writingWords } from './words.ts';

const lineLengthMax = 400;
/** Gmail wraps at 78 columns, and a long name with its address takes four lines of that at the most. */
const wrappedLinesMax = 5;
/** No real conversation has so many attributions. */
const readLinesMax = 20_000;
/** A line without date and address, as "John wrote:", is an attribution only if it is short. */
const bareLengthMax = 80;

/** Components of an attribution, one bit each. */
const components = { verb: 1, date: 2, address: 4, opening: 8, prose: 16, addressAtEnd: 32, speech: 64 } as const;

const alternatives = (table: readonly string[]) =>
  table
    .flatMap((row) => row.split('|'))
    .map((words) => words.replace(/[()]/gu, String.raw`\$&`))
    .join('|');

/** Gmail in English ends with `<a@b.example>wrote:`, so that no blank is required before the word. */
const verbPattern = new RegExp(
  `(?<![\\p{L}\\p{N}])(?:${alternatives(writingWords)})(?![\\p{L}\\p{N}])|${alternatives(writingParts)}`,
  'iu',
);
const speechPattern = new RegExp(`(?<!\\p{L})(?:${alternatives(speakingWords)})[\\s\\p{Cf}*_]*[:：]`, 'iu');
/** A year, a time, or a date of figures. */
const datePattern = /\b(?:19|20)\d\d\b|\d[:.h]\d\d(?!\d)|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d[年년]/u;
const addressPattern = /[^\s<>@]@[^\s<>@]/u;
/** Gmail in Russian or Japanese has no word for writing: date, name, `<address>:`. */
const addressAtEndPattern = /@[^\s<>@]{1,250}[>)\]]\p{Cf}?\s?[>]?\p{Cf}?[:：][\s\p{Cf}]*$/u;
/** Dashes and marks of direction may precede the first word (Yahoo: `--- On …`). */
const openingPattern = new RegExp(
  `^[\\s\\p{Cf}*_-]{0,12}(?:(?:${alternatives(openingWords)})[\\s,.:]|\\d|\\p{L}{1,5}\\.?,? \\d|(?:在|於|于|ב|في)\\S)`,
  'iu',
);
const digit = /\d/u;
/** A sentence that ends within the line. */
const prosePattern = /[\p{L}]{3}[.!?] \p{Lu}/u;

/** The first line of an attribution that ends with the line `last`, not before `floor`; -1 for none. */
export type AttributionFinder = (last: number, floor: number, isQuoteBelow: boolean) => number;

export function attributionFinder(lines: TextLines): AttributionFinder {
  const cache = new Map<number, number>();
  const componentsAt = (index: number) => {
    const before = cache.get(index);
    if (before !== undefined) return before;
    if (cache.size >= readLinesMax) return 0;
    const result = componentsOf(lines, index);
    cache.set(index, result);
    return result;
  };
  return (last, floor, isQuoteBelow) => {
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
  while (index >= floor && index > last - wrappedLinesMax) {
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
