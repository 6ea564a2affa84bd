/**
 * Charset decoding: bytes to text, by the declared charset (RFC 2046 section 4.1.2) and by what the bytes themselves
 * show.
 *
 * A declared charset counts only as far as the bytes agree: valid UTF-8 is UTF-8 under any single-byte label, the
 * escape sequences of RFC 1468 mean ISO-2022-JP, and bytes that are unreadable in the declared charset are given to
 * detection (chardet). TextDecoder knows most charsets, iconv-lite the rare ones; ISO-2022-KR, HZ and broken UTF-16
 * are handled here, since neither reads them. Any bytes and any label give text; unreadable bytes become U+FFFD. Never
 * fails.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { lazyRequire } from '../lazy-require.ts';
import { charsetOfCodePage, charsetOfLabel, standardDecoder } from './labels.ts';
import { charsetOfWords } from './scripts.ts';

const chardet = lazyRequire((require) => require('chardet') as typeof import('chardet'));
const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

const escapeByte = 0x1b;
const searchedBytesMax = 65_536;

const replacements = /\ufffd/gu;
const readableNonAscii = /[\u0080-\ufffc]/gu;

/**
 * Text of `bytes`. `label` is the declared charset, null where there is none; `hint` is a charset declared nearby, used
 * only where neither label nor bytes decide.
 */
export function decodeText(bytes: Uint8Array, label: string | null, hint: string | null = null): string {
  const charset = label === null ? null : charsetOfLabel(label);
  const marked = decodeByMark(bytes);
  if (marked !== null) return marked;
  if (charset !== null && hiddenCharsets.has(charset)) return decodeAs(bytes, charset);
  if (isAscii(bytes)) return decodeAscii(bytes, charset);
  if (charset === null || charset === 'utf-8') return decodeUnlabelled(bytes, charset, hint);
  // Only text of a double-byte charset is valid UTF-8 by chance.
  if (isUtf8(bytes) && (!doubleByteCharsets.has(charset) || hasReplacements(decodeAs(bytes, charset))))
    return utf8Text(bytes);
  if (charset === 'iso-2022-jp') return decodeEightBitJapanese(bytes);
  if (charset === 'windows-1252' && isMostlyNonAscii(bytes)) return decodeAs(bytes, detectCharset(bytes) ?? charset);
  return textOrDetected(decodeAs(bytes, charset), bytes, hint);
}

/** Charsets whose text is ASCII bytes, or full of NUL, so that the bytes do not reveal them. */
const hiddenCharsets: ReadonlySet<string> = new Set('utf-7 iso-2022-kr hz-gb-2312 utf-16le utf-16be utf-16'.split(' '));
const doubleByteCharsets: ReadonlySet<string> = new Set('gb18030 big5 euc-jp euc-kr shift_jis iso-2022-jp'.split(' '));

/** Decodes by a byte order mark, which overrides any label; null without one. */
function decodeByMark(bytes: Uint8Array): string | null {
  const [first, second, third] = bytes;
  if (first === 0xef && second === 0xbb && third === 0xbf && isUtf8(bytes)) return utf8Text(bytes.subarray(3));
  if (first === 0xff && second === 0xfe) return decodeAs(bytes.subarray(2), 'utf-16le');
  if (first === 0xfe && second === 0xff) return decodeAs(bytes.subarray(2), 'utf-16be');
  return null;
}

function decodeAscii(bytes: Uint8Array, charset: string | null): string {
  if (!bytes.includes(escapeByte)) return asciiText(bytes);
  return charset === 'iso-2022-jp' || hasJapaneseEscapes(bytes) ? decodeAs(bytes, 'iso-2022-jp') : asciiText(bytes);
}

/** Escape sequences of RFC 1468 section 2, and the half-width kana (`ESC ( I`) that mail programs added. */
function hasJapaneseEscapes(bytes: Uint8Array): boolean {
  const text = asciiText(bytes.subarray(0, searchedBytesMax));
  return /\x1b(?:\$[@B]|\([IJ])/u.test(text);
}

function decodeUnlabelled(bytes: Uint8Array, charset: string | null, hint: string | null): string {
  if (isUtf8(bytes)) return utf8Text(bytes);
  if (charset === null && hint !== null) {
    const hinted = charsetOfLabel(hint);
    if (hinted === 'iso-2022-jp') return decodeEightBitJapanese(bytes);
    if (hinted !== null && hinted !== 'utf-8') return textOrDetected(decodeAs(bytes, hinted), bytes, null);
  }
  // A single broken byte does not make a long text another charset.
  return textOrDetected(utf8Text(bytes), bytes, hint);
}

/** The text, unless most of its non-ASCII characters were unreadable: then the charset is detected. */
function textOrDetected(text: string, bytes: Uint8Array, hint: string | null): string {
  if (!hasReplacements(text)) return text;
  const unreadable = text.match(replacements)?.length ?? 0;
  const readable = text.match(readableNonAscii)?.length ?? 0;
  if (unreadable <= readable) return text;
  return decodeAs(bytes, detectCharset(bytes) ?? (hint === null ? null : charsetOfLabel(hint)) ?? 'windows-1252');
}

const hasReplacements = (text: string) => text.includes('\ufffd');

const asciiText = (bytes: Uint8Array) => bufferOf(bytes).toString('latin1');
const utf8Text = (bytes: Uint8Array) => bufferOf(bytes).toString('utf8');

/** The same bytes as a Buffer, without a copy. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `charset` is a result of `charsetOfLabel` or `detectCharset`. */
function decodeAs(bytes: Uint8Array, charset: string): string {
  if (charset === 'utf-8') return utf8Text(bytes);
  if (charset === 'iso-2022-jp') return decodeJapanese(bytes);
  if (charset === 'iso-2022-kr') return decodeIso2022Kr(bytes);
  if (charset === 'hz-gb-2312') return decodeHz(bytes);
  if (charset === 'utf-7') return decodeUtf7(bytes);
  if (charset.startsWith('utf-16')) return decodeUtf16(bytes, charset);
  return decodeStandard(bytes, charset);
}

const decoders = new Map<string, TextDecoder | null>();

/** By TextDecoder, or by iconv-lite for a charset that only it knows. */
function decodeStandard(bytes: Uint8Array, charset: string): string {
  let decoder = decoders.get(charset);
  if (decoder === undefined) {
    decoder = standardDecoder(charset);
    decoders.set(charset, decoder);
  }
  return decoder === null ? iconv().decode(bufferOf(bytes), charset) : decoder.decode(bytes);
}

// Windows code pages

const utf8CodePage = 65_001;
const utf16CodePage = 1200;
/** Double-byte code pages, in which valid UTF-8 may be other text. */
const doubleByteCodePages: ReadonlySet<number> = new Set([932, 936, 949, 950, 1361, 54936]);

/** Text in that code page. The number is believed, since a run of RTF is too short for detection. */
export function decodeCodePage(bytes: Uint8Array, codePage: number): string {
  const charset = charsetOfCodePage(codePage);
  const text = decodeStandard(bytes, charset);
  return charset.startsWith('utf-') && text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** As `decodeCodePage`, for a whole text, which some programs write in UTF-8 under any number. */
export function decodeWholeText(bytes: Uint8Array, codePage: number): string {
  const isWrongNumber = codePage !== utf16CodePage && !doubleByteCodePages.has(codePage) && isUtf8(bytes);
  return decodeCodePage(bytes, isWrongNumber && bytes.some((byte) => byte > 0x7f) ? utf8CodePage : codePage);
}

// Detection, for 8-bit bytes that are no UTF-8 and whose label is missing or wrong

const countedBytesMax = 65_536;
const sampleBytesMax = 16_384;
/** Of fewer non-ASCII bytes chardet knows nothing, and windows-1252 is likeliest. */
const nonAsciiBytesMin = 4;
const confidenceMin = 30;

/** Charsets that chardet reports, and what they are decoded as. Others are not believed. */
const believed: ReadonlyMap<string, string> = new Map([
  ...(
    'Shift_JIS EUC-JP ISO-2022-JP ISO-2022-KR GB18030 Big5 EUC-KR KOI8-R ISO-8859-2 ISO-8859-5 ' +
    'windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256'
  )
    .split(' ')
    .map((name) => [name, name.toLowerCase()] as const),
  ['ISO-8859-1', 'windows-1252'],
  ['ISO-8859-6', 'windows-1256'],
  ['ISO-8859-7', 'windows-1253'],
  ['ISO-8859-8', 'windows-1255'],
  ['ISO-8859-9', 'windows-1254'],
]);

/** The charset of a sample around the first non-ASCII byte; null where it is undecided. */
export function detectCharset(bytes: Uint8Array): string | null {
  const first = bytes.findIndex((byte) => byte > 0x7f);
  if (first < 0) return null;
  const start = Math.max(0, first - 256);
  const sample = bytes.subarray(start, start + sampleBytesMax);
  if (sample.filter((byte) => byte > 0x7f).length < nonAsciiBytesMin) return null;
  const script = charsetOfWords(sample);
  if (script !== null) return script;
  const best = chardet()
    .analyse(sample)
    .find(({ name }) => believed.has(name));
  return best === undefined || best.confidence < confidenceMin ? null : (believed.get(best.name) ?? null);
}

/** True where more bytes are non-ASCII than Latin letters: no language has so many, so that a Latin label is wrong. */
export function isMostlyNonAscii(bytes: Uint8Array): boolean {
  let nonAscii = 0;
  let letters = 0;
  for (const byte of bytes.subarray(0, countedBytesMax)) {
    if (byte > 0x7f) nonAscii += 1;
    else if (byte > 0x40) letters += 1;
  }
  return nonAscii > letters;
}

// ISO-2022-JP (RFC 1468) and UTF-7 (RFC 2152)

/**
 * Drops escapes with nothing between them: joined encoded words have them, the Encoding Standard calls them an error.
 */
function decodeJapanese(bytes: Uint8Array): string {
  const text = asciiText(bytes).replace(/\x1b(?:\([BIJ]|\$[@B])(?=\x1b)/gu, '');
  return decodeStandard(Buffer.from(text, 'latin1'), 'iso-2022-jp');
}

/** 8-bit bytes labelled ISO-2022-JP, which has none: some programs write EUC-JP or Shift_JIS under its name. */
function decodeEightBitJapanese(bytes: Uint8Array): string {
  const texts = ['euc-jp', 'shift_jis'].map((charset) => decodeAs(bytes, charset));
  // A decoder may return unknown bytes as control characters.
  return texts.find((text) => !/[\u0080-\u009f\ufffd]/u.test(text)) ?? decodeJapanese(bytes);
}

const utf7BytesMax = 300_000;

/** iconv-lite decodes it slowly; beyond the limit, which real messages never reach, bytes are taken as ASCII. */
function decodeUtf7(bytes: Uint8Array): string {
  const start = bufferOf(bytes.subarray(0, utf7BytesMax));
  return iconv().decode(start, 'utf-7') + asciiText(bytes.subarray(utf7BytesMax));
}

// ISO-2022-KR (RFC 1557) and HZ (RFC 1843): 8-bit charsets sent with the upper bits off, which shifts put back

const shiftOut = 0x0e;
const shiftIn = 0x0f;
const lineFeed = 0x0a;
const tilde = 0x7e;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** ISO-2022-KR: SO and SI shift, the designator at the beginning is dropped. */
function decodeIso2022Kr(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let upper = 0;
  for (const byte of bytes) {
    if (byte === shiftOut) upper = 0x80;
    else if (byte === shiftIn) upper = 0;
    else out[length++] = byte > 0x20 ? byte | upper : byte;
  }
  return decodeStandard(out.subarray(0, length), 'euc-kr').replaceAll('\x1b$)C', '');
}

/** HZ: `~{` and `~}` shift, `~~` is a tilde, a tilde at the end of a line joins it to the next. */
function decodeHz(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let upper = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    const next = bytes[at + 1] ?? 0;
    if (byte === lineFeed) upper = 0;
    const isMark = byte === tilde && (next === openBrace || next === closeBrace || next === lineFeed || next === tilde);
    if (!isMark) {
      out[length++] = byte > 0x20 ? byte | upper : byte;
      continue;
    }
    at += 1;
    if (next === tilde) out[length++] = tilde;
    else upper = next === openBrace ? 0x80 : 0;
  }
  return decodeStandard(out.subarray(0, length), 'gb18030');
}

// UTF-16 (RFC 2781), also where a transport wrote single-byte line ends into it

const carriageReturn = 0x0d;
const lineEnd = Buffer.from('\r\n');

/** `charset` is `utf-16le`, `utf-16be`, or anything else for a byte order detected from the bytes. */
function decodeUtf16(bytes: Uint8Array, charset: string): string {
  const order = charset === 'utf-16le' || charset === 'utf-16be' ? charset : orderOf(bytes);
  const repaired = withWholeLineEnds(bytes, order === 'utf-16le');
  return decodeStandard(repaired.subarray(0, repaired.length - (repaired.length % 2)), order);
}

/** Byte order without a mark: the half that is mostly zero is the upper one; else big-endian (RFC 2781 section 4.3). */
function orderOf(bytes: Uint8Array): 'utf-16le' | 'utf-16be' {
  let upperFirst = 0;
  let upperLast = 0;
  for (let at = 0; at + 1 < Math.min(bytes.length, 1000); at += 2) {
    if (bytes[at] === 0) upperFirst += 1;
    if (bytes[at + 1] === 0) upperLast += 1;
  }
  return upperLast > upperFirst ? 'utf-16le' : 'utf-16be';
}

/** Repairs single-byte line ends: they become UTF-16 ones where they replaced one, and are dropped elsewhere. */
function withWholeLineEnds(bytes: Uint8Array, isLittle: boolean): Uint8Array {
  if (!bufferOf(bytes).includes(lineEnd)) return bytes;
  const damageAt = isLittle ? damageInLittleEndian : damageInBigEndian;
  const feed = isLittle ? ([lineFeed, 0] as const) : ([0, lineFeed] as const);
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at + 1 < bytes.length; ) {
    const damage = damageAt(bytes, at);
    if (damage !== 2) {
      const [first, second] = damage === 3 ? feed : [bytes[at] ?? 0, bytes[at + 1] ?? 0];
      out[length] = first;
      out[length + 1] = second;
      length += 2;
    }
    at += damage || 2;
  }
  return out.subarray(0, length);
}

/** Bytes to replace: 3 for a damaged line end, 2 for an inserted one, else 0. U+0A0D is no character. */
function damageInLittleEndian(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] !== carriageReturn || bytes[at + 1] !== lineFeed) return 0;
  return bytes[at + 2] === 0 ? 3 : 2;
}

/** As `damageInLittleEndian`. U+0D0A is a letter of Malayalam, and stays unless it is the last one. */
function damageInBigEndian(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] === 0 && bytes[at + 1] === carriageReturn && bytes[at + 2] === lineFeed) return 3;
  const isLast = at + 2 >= bytes.length - 1;
  return isLast && bytes[at] === carriageReturn && bytes[at + 1] === lineFeed ? 2 : 0;
}
