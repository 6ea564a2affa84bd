/**
 * Decodes bytes by the number of a Windows code page, as TNEF and RTF name their character sets.
 *
 * The number is believed, since a piece of RTF is too short to tell anything itself. Unknown numbers are read as
 * windows-1252: letters of ASCII are right in all of them. It never fails; bytes that mean nothing become U+FFFD.
 */

import { isUtf8 } from 'node:buffer';
import { lazyRequire } from '../lazy-require.ts';

const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

const fallbackLabel = 'windows-1252';

/** Code pages whose label in the Encoding Standard does not follow from the number. */
const labels: ReadonlyMap<number, string> = new Map([
  [866, 'ibm866'],
  [874, 'windows-874'],
  [932, 'shift_jis'],
  [936, 'gbk'],
  [949, 'euc-kr'],
  [950, 'big5'],
  [1200, 'utf-16le'],
  [1201, 'utf-16be'],
  [1361, 'euc-kr'],
  [10000, 'macintosh'],
  [10007, 'x-mac-cyrillic'],
  // US-ASCII
  [20127, fallbackLabel],
  [20866, 'koi8-r'],
  [20932, 'euc-jp'],
  [20936, 'gbk'],
  [20949, 'euc-kr'],
  [21866, 'koi8-u'],
  // ISO-8859-1 and -9 are read as their supersets of Windows, as browsers do
  [28591, fallbackLabel],
  [28599, 'windows-1254'],
  [38598, 'iso-8859-8'],
  [50220, 'iso-2022-jp'],
  [50221, 'iso-2022-jp'],
  [50222, 'iso-2022-jp'],
  [50225, 'euc-kr'],
  [51932, 'euc-jp'],
  [51936, 'gbk'],
  [51949, 'euc-kr'],
  [51950, 'big5'],
  [52936, 'gbk'],
  [54936, 'gb18030'],
  [65001, 'utf-8'],
]);

/** The code pages of DOS are no part of the Encoding Standard. */
const dosCodePages: ReadonlySet<number> = new Set([
  437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 869,
]);

/** Text of `bytes` in that code page. */
export function decodeCodePage(bytes: Uint8Array, codePage: number): string {
  const label = labelOf(codePage);
  if (dosCodePages.has(codePage)) return iconv().decode(bytes, `cp${codePage}`);
  return decoderOf(label ?? fallbackLabel).decode(bytes);
}

/** Those of two bytes a character, in which valid UTF-8 may mean something else. */
const twoByteCodePages: ReadonlySet<number> = new Set([932, 936, 949, 950, 1361, 54936]);

/** The same for a whole text, which some programs write in UTF-8 under any number. */
export function decodeWhole(bytes: Uint8Array, codePage: number): string {
  const isWrongNumber = codePage !== utf16 && !twoByteCodePages.has(codePage) && isUtf8(bytes);
  return decodeCodePage(bytes, isWrongNumber && bytes.some((byte) => byte > 0x7f) ? 65_001 : codePage);
}

const utf16 = 1200;
const decoders = new Map<string, TextDecoder>();

function decoderOf(label: string): TextDecoder {
  const known = decoders.get(label);
  if (known !== undefined) return known;
  const decoder = new TextDecoder(label);
  decoders.set(label, decoder);
  return decoder;
}

function labelOf(codePage: number): string | null {
  const label = labels.get(codePage);
  if (label !== undefined) return label;
  if (codePage >= 1250 && codePage <= 1258) return `windows-${codePage}`;
  const part = codePage - 28590;
  return part >= 2 && part <= 16 && part !== 11 && part !== 12 ? `iso-8859-${part}` : null;
}

/**
 * Which charset is meant by the name that a mail gives: the Encoding Standard's labels, those of older mailers, and
 * names with rubbish around them. Null means that the name says nothing, as `x-unknown` or one nobody knows.
 *
 * Charsets are replaced by their supersets, in which mailers really write: GBK under the name GB2312, windows-1252
 * under that of ISO-8859-1.
 */

/** One row for each name that the Encoding Standard does not have, by its letters and digits alone. */
const aliases: ReadonlyMap<string, string | null> = new Map<string, string | null>([
  // Names that say nothing: RFC 1428 section 3, and defaults of libraries
  ['unknown8bit', null],
  ['xunknown', null],
  ['unknown', null],
  ['8bit', null],
  ['binary', null],
  ['default', null],
  ['auto', null],
  ['autodetect', null],
  ['none', null],
  ['null', null],
  ['userdefined', null],
  ['xuserdefined', null],
  // 7-bit by name, and often enough not: the bytes tell
  ['usascii', null],
  ['ascii', null],
  ['ansix341968', null],
  ['ansix3.41968', null],
  ['iso646us', null],
  ['us', null],
  // UTF
  ['utf', 'utf-8'],
  ['utf8mb4', 'utf-8'],
  ['xutf8', 'utf-8'],
  ['cp65001', 'utf-8'],
  ['unicode11utf8', 'utf-8'],
  ['unicode11utf7', 'utf-7'],
  ['utf7', 'utf-7'],
  ['xutf7', 'utf-7'],
  ['cp65000', 'utf-7'],
  ['utf16', 'utf-16'],
  ['ucs2', 'utf-16'],
  ['iso10646ucs2', 'utf-16'],
  ['unicode', 'utf-16'],
  // Latin
  ['latin', 'windows-1252'],
  ['iso8859', 'windows-1252'],
  ['88591', 'windows-1252'],
  ['iso885911', 'windows-874'],
  ['ansi', 'windows-1252'],
  ['ansi1252', 'windows-1252'],
  ['latin9', 'iso-8859-15'],
  ['mac', 'macintosh'],
  ['macroman', 'macintosh'],
  ['xmacroman', 'macintosh'],
  ['roman', 'macintosh'],
  // Japanese
  ['cp932', 'shift_jis'],
  ['ms932', 'shift_jis'],
  ['windows932', 'shift_jis'],
  ['xmscp932', 'shift_jis'],
  ['sjiswin', 'shift_jis'],
  ['iso2022jp1', 'iso-2022-jp'],
  ['iso2022jp2', 'iso-2022-jp'],
  ['iso2022jp3', 'iso-2022-jp'],
  ['iso2022jp2004', 'iso-2022-jp'],
  ['iso2022jpms', 'iso-2022-jp'],
  ['cp50220', 'iso-2022-jp'],
  ['cp50221', 'iso-2022-jp'],
  ['jis', 'iso-2022-jp'],
  ['eucjpms', 'euc-jp'],
  ['eucjpwin', 'euc-jp'],
  ['ujis', 'euc-jp'],
  // Chinese
  ['gb2312', 'gb18030'],
  ['gb231280', 'gb18030'],
  ['gbk', 'gb18030'],
  ['xgbk', 'gb18030'],
  ['cp936', 'gb18030'],
  ['ms936', 'gb18030'],
  ['windows936', 'gb18030'],
  ['euccn', 'gb18030'],
  ['hzgb2312', 'hz-gb-2312'],
  ['hz', 'hz-gb-2312'],
  ['cp950', 'big5'],
  ['ms950', 'big5'],
  ['big5eten', 'big5'],
  ['euctw', 'big5'],
  // Korean
  ['iso2022kr', 'iso-2022-kr'],
  ['csiso2022kr', 'iso-2022-kr'],
  ['cp949', 'euc-kr'],
  ['ms949', 'euc-kr'],
  ['uhc', 'euc-kr'],
  ['johab', 'euc-kr'],
  // Cyrillic
  ['win1251', 'windows-1251'],
  ['koi8', 'koi8-r'],
  ['koi8ru', 'koi8-u'],
]);

const known = new Map<string, string | null>();
const knownMax = 1000;

/** A name for `decodeText`, or null. The label may have quotes, blanks, a language (RFC 2231 section 5) or more. */
export function charsetOfLabel(label: string): string | null {
  const found = known.get(label);
  if (found !== undefined) return found;
  const charset = lookUp(label.slice(0, 100).toLowerCase());
  // Labels come from strangers: what is remembered has an end.
  if (known.size < knownMax) known.set(label.slice(0, 100), charset);
  return charset;
}

function lookUp(label: string): string | null {
  const name = /[a-z0-9][\w.:+-]*/u.exec(label)?.[0] ?? '';
  const letters = name.replace(/^charset/u, '').replace(/[^a-z0-9.]/gu, '');
  const alias = aliases.get(letters);
  if (alias !== undefined) return alias;
  return standardName(name) ?? standardName(rebuilt(letters)) ?? libraryName(name);
}

/** `iso8859_15`, `ISO 8859-15`, `cp-1252`, `win-1250` in the standard's way of writing. */
function rebuilt(letters: string): string {
  const iso = /^(?:iso)?8859(\d{1,2})/u.exec(letters);
  if (iso !== null) return `iso-8859-${iso[1]}`;
  const windows = /^(?:cp|win|windows|ms|ibm)(125\d|874)/u.exec(letters);
  return windows === null ? letters : `windows-${windows[1]}`;
}

function standardName(name: string): string | null {
  try {
    const { encoding } = new TextDecoder(name);
    return encoding === 'gbk' ? 'gb18030' : encoding;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/**
 * Code pages of DOS, Macintosh and the like, by their letters and digits. The library also knows names that are no
 * charset (`base64`, `hex`, its own parts), under which a mail could have its text turned into something else.
 */
const libraryNames =
  /^(?:(?:cs)?(?:cp|ibm|win|windows|ms)\d{3,5}|\d{3,5}|mac[a-z]{4,9}|iso[a-z0-9]{4,18}|(?:cs)?koi8[a-z]{1,2}|latin\d{1,2}|l\d{1,2}|utf32(?:le|be)?|ucs4(?:le|be)?|cesu8|viscii|tcvn\d{0,5}|tis\d{3,11}|armscii8|rk1048|strk10482002|pt154|georgian(?:ps|academy)|(?:cs)?(?:hp|x)?roman8|big5hkscs|cnbig5|cspc[a-z0-9]{5,20})$/u;

function libraryName(name: string): string | null {
  const isCharset = libraryNames.test(name.replace(/[^a-z0-9]/gu, ''));
  return isCharset && iconv().encodingExists(name) ? name : null;
}
