/**
 * Charset labels: maps the name that a message declares to a charset, by the Encoding Standard, a table of the names
 * that old mail programs write, and iconv-lite's names.
 *
 * Charsets are replaced by the supersets that mail programs really write: GB2312 by GB18030, ISO-8859-1 by
 * windows-1252. null for a label without a meaning, as `x-unknown`, or that is unknown. Never fails.
 */
import { lazyRequire } from '../lazy-require.ts';

const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

/** Names that the Encoding Standard does not have, by their letters and digits alone. */
const aliases: ReadonlyMap<string, string | null> = new Map<string, string | null>([
  // No charset: RFC 1428 section 3, and defaults of libraries
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
  // 7-bit by name, but often not in fact: the bytes decide
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

const cache = new Map<string, string | null>();
const cachedMax = 1000;

/** A charset for `decodeText`, or null. The label may have quotes, blanks, a language (RFC 2231 section 5) or more. */
export function charsetOfLabel(label: string): string | null {
  const found = cache.get(label);
  if (found !== undefined) return found;
  const charset = resolveLabel(label.slice(0, 100).toLowerCase());
  // Labels are untrusted: the cache is bounded.
  if (cache.size < cachedMax) cache.set(label.slice(0, 100), charset);
  return charset;
}

function resolveLabel(label: string): string | null {
  const name = /[a-z0-9][\w.:+-]*/u.exec(label)?.[0] ?? '';
  const letters = name.replace(/^charset/u, '').replace(/[^a-z0-9.]/gu, '');
  const alias = aliases.get(letters);
  if (alias !== undefined) return alias;
  return standardName(name) ?? standardName(normalised(letters)) ?? libraryName(name);
}

/** Rewrites `iso8859_15`, `ISO 8859-15`, `cp-1252`, `win-1250` to the names of the Encoding Standard. */
function normalised(letters: string): string {
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
 * Names that iconv-lite may be asked for: code pages of DOS, Macintosh and the like. It also knows names that are no
 * charset (`base64`, `hex`, its own parts), under which a message could have its text turned into something else.
 */
const libraryNames =
  /^(?:(?:cs)?(?:cp|ibm|win|windows|ms)\d{3,5}|\d{3,5}|mac[a-z]{4,9}|iso[a-z0-9]{4,18}|(?:cs)?koi8[a-z]{1,2}|latin\d{1,2}|l\d{1,2}|utf32(?:le|be)?|ucs4(?:le|be)?|cesu8|viscii|tcvn\d{0,5}|tis\d{3,11}|armscii8|rk1048|strk10482002|pt154|georgian(?:ps|academy)|(?:cs)?(?:hp|x)?roman8|big5hkscs|cnbig5|cspc[a-z0-9]{5,20})$/u;

function libraryName(name: string): string | null {
  const isCharset = libraryNames.test(name.replace(/[^a-z0-9]/gu, ''));
  return isCharset && iconv().encodingExists(name) ? name : null;
}
