/**
 * Charset labels and Windows code pages: maps the name that a message declares, or the number in TNEF and RTF, to a
 * charset, by the Encoding Standard, tables, and iconv-lite's names.
 *
 * Charsets are replaced by the supersets that mail programs really write: GB2312 by GB18030, ISO-8859-1 by
 * windows-1252. null for a label without a meaning, as `x-unknown`, or that is unknown. Never fails.
 */
import { lazyRequire } from '../lazy-require.ts';

const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

/** Names that the Encoding Standard does not have, by their letters and digits alone. */
const aliasRows: readonly (readonly [charset: string | null, names: string])[] = [
  // No charset: RFC 1428 section 3, and defaults of libraries
  [null, 'unknown8bit xunknown unknown 8bit binary default auto autodetect none null userdefined xuserdefined'],
  // 7-bit by name, but often not in fact: the bytes decide
  [null, 'usascii ascii ansix341968 ansix3.41968 iso646us us'],
  ['utf-8', 'utf utf8mb4 xutf8 cp65001 unicode11utf8'],
  ['utf-7', 'unicode11utf7 utf7 xutf7 cp65000'],
  ['utf-16', 'utf16 ucs2 iso10646ucs2 unicode'],
  ['windows-1252', 'latin iso8859 88591 ansi ansi1252'],
  ['windows-874', 'iso885911'],
  ['iso-8859-15', 'latin9'],
  ['macintosh', 'mac macroman xmacroman roman'],
  ['shift_jis', 'cp932 ms932 windows932 xmscp932 sjiswin'],
  ['iso-2022-jp', 'iso2022jp1 iso2022jp2 iso2022jp3 iso2022jp2004 iso2022jpms cp50220 cp50221 jis'],
  ['euc-jp', 'eucjpms eucjpwin ujis'],
  ['gb18030', 'gb2312 gb231280 gbk xgbk cp936 ms936 windows936 euccn'],
  ['hz-gb-2312', 'hzgb2312 hz'],
  ['big5', 'cp950 ms950 big5eten euctw'],
  ['iso-2022-kr', 'iso2022kr csiso2022kr'],
  ['euc-kr', 'cp949 ms949 uhc johab'],
  ['windows-1251', 'win1251'],
  ['koi8-r', 'koi8'],
  ['koi8-u', 'koi8ru'],
];
const aliases: ReadonlyMap<string, string | null> = new Map(
  aliasRows.flatMap(([charset, names]) => names.split(' ').map((name) => [name, charset] as const)),
);

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
  const encoding = standardDecoder(name)?.encoding ?? null;
  return encoding === 'gbk' ? 'gb18030' : encoding;
}

/** A decoder for a name of the Encoding Standard; null for any other name. */
export function standardDecoder(name: string): TextDecoder | null {
  try {
    return new TextDecoder(name, { ignoreBOM: true });
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

// Windows code pages, by whose numbers TNEF and RTF declare a charset

/** Code pages whose charset does not follow from the number. */
const codePageRows: readonly (readonly [charset: string, ...codePages: number[]])[] = [
  ['ibm866', 866],
  ['windows-874', 874],
  ['shift_jis', 932],
  ['gbk', 936, 20936, 51936, 52936],
  ['gb18030', 54936],
  ['euc-kr', 949, 1361, 20949, 50225, 51949],
  ['big5', 950, 51950],
  ['euc-jp', 20932, 51932],
  ['iso-2022-jp', 50220, 50221, 50222],
  ['utf-8', 65001],
  ['utf-16le', 1200],
  ['utf-16be', 1201],
  ['macintosh', 10000],
  ['x-mac-cyrillic', 10007],
  ['koi8-r', 20866],
  ['koi8-u', 21866],
  // US-ASCII, ISO-8859-1 and -9 are read as their supersets of Windows, as browsers do.
  ['windows-1252', 20127, 28591],
  ['windows-1254', 28599],
  ['iso-8859-8', 38598],
];
const codePages: ReadonlyMap<number, string> = new Map(
  codePageRows.flatMap(([charset, ...numbers]) => numbers.map((number) => [number, charset] as const)),
);

/** Code pages of DOS, which only iconv-lite knows. */
const dosCodePages: ReadonlySet<number> = new Set([
  437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 869,
]);

/** The charset of a code page; of an unknown number windows-1252, in which at least ASCII is right. */
export function charsetOfCodePage(codePage: number): string {
  const charset = codePages.get(codePage);
  if (charset !== undefined) return charset;
  if (dosCodePages.has(codePage)) return `cp${codePage}`;
  if (codePage >= 1250 && codePage <= 1258) return `windows-${codePage}`;
  const part = codePage - 28590;
  return part >= 2 && part <= 16 && part !== 11 && part !== 12 ? `iso-8859-${part}` : 'windows-1252';
}
