/**
 * Detection of single-byte charsets of Cyrillic, Greek and Hebrew by letter frequency, for texts of few words.
 *
 * Statistics over pairs of letters (chardet) need a paragraph; a subject has some words. Here a candidate is decoded
 * and must have only letters of its script outside ASCII, mostly the frequent ones, and capitals only where words have
 * them: KOI8-R and windows-1251 hold small and capital letters in opposite places. Bounded; never fails.
 */

type Candidate = { readonly charset: string; readonly letters: RegExp; readonly frequent: RegExp };

/** The letters that make up about three quarters of a text, most frequent first. */
const cyrillic = { letters: /^\p{Script=Cyrillic}+$/u, frequent: /[оеаинтсрвлкмі]/giu };
const greek = { letters: /^\p{Script=Greek}+$/u, frequent: /[αοιετσνηρςά]/giu };
const hebrew = { letters: /^\p{Script=Hebrew}+$/u, frequent: /[יוהלאמרת]/gu };

const candidates: readonly Candidate[] = [
  { charset: 'koi8-u', ...cyrillic },
  { charset: 'windows-1251', ...cyrillic },
  { charset: 'iso-8859-5', ...cyrillic },
  { charset: 'windows-1253', ...greek },
  { charset: 'windows-1255', ...hebrew },
];

const bytesMax = 4096;
/** Letters outside ASCII: of fewer nothing is known. */
const lettersMin = 4;
const scoreMin = 0.5;

/**
 * The charset in which the words of `bytes` are most likely written; null where none is likely. Words that mix ASCII
 * letters with others are Latin, and decide for null where they have a quarter of the letters.
 */
export function charsetOfWords(bytes: Uint8Array): string | null {
  const text = Buffer.from(bytes.subarray(0, bytesMax)).toString('latin1');
  const words = (text.match(/[A-Za-z\x80-\xff]+/gu) ?? []).filter((word) => /[\x80-\xff]/u.test(word));
  const foreign = words.filter((word) => !/[A-Za-z]/u.test(word));
  const length = lengthOf(foreign);
  if (length < lettersMin || length < 0.75 * lengthOf(words)) return null;
  const scores = candidates.map((candidate) => scoreOf(foreign, candidate));
  const best = Math.max(...scores);
  return best < scoreMin ? null : (candidates[scores.indexOf(best)]?.charset ?? null);
}

function lengthOf(words: readonly string[]): number {
  return words.reduce((sum, word) => sum + word.length, 0);
}

/** Share of frequent letters, less that of capitals after small ones. 0: some character is no letter of the script. */
function scoreOf(words: readonly string[], { charset, letters, frequent }: Candidate): number {
  const decoded = new TextDecoder(charset).decode(Buffer.from(words.join(' '), 'latin1'));
  const found = decoded.split(/[^\p{L}\p{M}\p{So}\p{Sk}\p{Cc}\p{Co}\ufffd]+/u).filter((word) => word !== '');
  const length = lengthOf(found);
  if (length < lettersMin || !found.every((word) => letters.test(word))) return 0;
  const misplaced = lengthOf(found.flatMap((word) => word.match(/(?<=\p{Ll})\p{Lu}/gu) ?? []));
  return ((decoded.match(frequent)?.length ?? 0) - 2 * misplaced) / length;
}
