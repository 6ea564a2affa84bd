/**
 * Decodes the bytes of a mail to text, by the charset that the mail names and by what the bytes themselves say.
 *
 * Names are only believed as far as the bytes agree: text that is valid UTF-8 is UTF-8 under any single-byte label,
 * escape sequences of RFC 1468 mean ISO-2022-JP, and bytes that mean nothing in the charset named are looked at anew
 * (see `charset-detect.ts`). Any bytes and any name give text; what cannot be read becomes U+FFFD. It never fails.
 */

import { isAscii, isUtf8 } from 'node:buffer';
import { lazyRequire } from '../lazy-require.ts';
import { charsetOfLabel } from './code-pages.ts';

const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

const escapeByte = 0x1b;

const replacements = /\ufffd/gu;
const readableForeign = /[\u0080-\ufffc]/gu;

/**
 * Text of `bytes`. `label` is the charset as the mail names it, null where it names none; `hint` is the charset of
 * something beside it, used only where neither label nor bytes tell.
 */
export function decodeText(bytes: Uint8Array, label: string | null, hint: string | null = null): string {
  const charset = label === null ? null : charsetOfLabel(label);
  const marked = decodeMarked(bytes);
  if (marked !== null) return marked;
  if (charset !== null && sevenBit.has(charset)) return decodeAs(bytes, charset);
  if (isAscii(bytes)) return decodeAscii(bytes, charset);
  if (charset === null || charset === 'utf-8') return decodeUnlabelled(bytes, charset, hint);
  // Bytes of another charset are valid UTF-8 by chance only in those of two bytes a character.
  if (isUtf8(bytes) && (!twoByte.has(charset) || hasReplacements(decodeAs(bytes, charset)))) return utf8Text(bytes);
  if (charset === 'iso-2022-jp') return decodeEightBitJapanese(bytes);
  if (charset === 'windows-1252' && isMostlyForeign(bytes)) return decodeAs(bytes, detectCharset(bytes) ?? charset);
  return betterThan(decodeAs(bytes, charset), bytes, hint);
}

/** Whatever is in them is within ASCII, so that the bytes look plain. */
const sevenBit: ReadonlySet<string> = new Set(['utf-7', 'iso-2022-kr', 'hz-gb-2312', 'utf-16le', 'utf-16be', 'utf-16']);
const twoByte: ReadonlySet<string> = new Set(['gb18030', 'big5', 'euc-jp', 'euc-kr', 'shift_jis', 'iso-2022-jp']);

/** No language that is written in Latin letters has so many foreign ones: the default label of a mailer was left on. */
export function isMostlyForeign(bytes: Uint8Array): boolean {
  let foreign = 0;
  let letters = 0;
  for (const byte of bytes.subarray(0, detectedBytesMax)) {
    if (byte > 0x7f) foreign += 1;
    else if (byte > 0x40) letters += 1;
  }
  return foreign > letters;
}

/** By a byte order mark, which stands above any label; null without one. */
function decodeMarked(bytes: Uint8Array): string | null {
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

/** RFC 1468 section 2, and the half-width kana (`ESC ( I`) that mailers added to it. */
function hasJapaneseEscapes(bytes: Uint8Array): boolean {
  const text = asciiText(bytes.subarray(0, detectedBytesMax));
  return /\x1b(?:\$[@B]|\([IJ])/u.test(text);
}

const detectedBytesMax = 65_536;
const utf7BytesMax = 300_000;

function decodeUnlabelled(bytes: Uint8Array, charset: string | null, hint: string | null): string {
  if (isUtf8(bytes)) return utf8Text(bytes);
  if (charset === null && hint !== null) {
    const hinted = charsetOfLabel(hint);
    if (hinted === 'iso-2022-jp') return decodeEightBitJapanese(bytes);
    if (hinted !== null && hinted !== 'utf-8') return betterThan(decodeAs(bytes, hinted), bytes, null);
  }
  // A single broken byte in a long text does not make it another charset.
  return betterThan(utf8Text(bytes), bytes, hint);
}

/** The text, unless most of what is not ASCII in it could not be read: then the bytes are looked at anew. */
function betterThan(text: string, bytes: Uint8Array, hint: string | null): string {
  if (!hasReplacements(text)) return text;
  const unreadable = text.match(replacements)?.length ?? 0;
  const readable = text.match(readableForeign)?.length ?? 0;
  if (unreadable <= readable) return text;
  return decodeAs(bytes, detectCharset(bytes) ?? (hint === null ? null : charsetOfLabel(hint)) ?? 'windows-1252');
}

const hasReplacements = (text: string) => text.includes('\ufffd');

const asciiText = (bytes: Uint8Array) => bufferOf(bytes).toString('latin1');
const utf8Text = (bytes: Uint8Array) => bufferOf(bytes).toString('utf8');

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const decoders = new Map<string, TextDecoder | null>();

/** `charset` is a name that `charsetOfLabel` or the detector gave. */
function decodeAs(bytes: Uint8Array, charset: string): string {
  if (charset === 'utf-8') return utf8Text(bytes);
  if (charset === 'iso-2022-jp') return decodeJapanese(bytes);
  if (charset === 'iso-2022-kr') return decodeIso2022Kr(bytes);
  if (charset === 'hz-gb-2312') return decodeHz(bytes);
  if (charset === 'utf-7') return decodeUtf7(bytes);
  if (charset.startsWith('utf-16')) return decodeUtf16(bytes, charset);
  const decoder = decoderOf(charset);
  return decoder === null ? iconv().decode(bufferOf(bytes), charset) : decoder.decode(bytes);
}

/** ISO-2022-JP has no such bytes: some programs write their own charset under its name. */
function decodeEightBitJapanese(bytes: Uint8Array): string {
  const texts = ['euc-jp', 'shift_jis'].map((charset) => decodeAs(bytes, charset));
  // A decoder may pass on bytes that it does not know as control characters.
  return texts.find((text) => !/[\u0080-\u009f\ufffd]/u.test(text)) ?? decodeJapanese(bytes);
}

/** The library is slow at it, and nobody writes so much of it. */
function decodeUtf7(bytes: Uint8Array): string {
  const start = bufferOf(bytes.subarray(0, utf7BytesMax));
  return iconv().decode(start, 'utf-7') + asciiText(bytes.subarray(utf7BytesMax));
}

/** Escapes with nothing between them, as joined words have, are no error in mails, but one in the Encoding Standard. */
function decodeJapanese(bytes: Uint8Array): string {
  const text = asciiText(bytes).replace(/\x1b(?:\([BIJ]|\$[@B])(?=\x1b)/gu, '');
  return japanese.decode(Buffer.from(text, 'latin1'));
}

const japanese = new TextDecoder('iso-2022-jp');

/** Null for charsets that only iconv-lite knows. */
function decoderOf(charset: string): TextDecoder | null {
  const known = decoders.get(charset);
  if (known !== undefined) return known;
  const decoder = newDecoder(charset);
  decoders.set(charset, decoder);
  return decoder;
}

function newDecoder(charset: string): TextDecoder | null {
  try {
    return new TextDecoder(charset, { ignoreBOM: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/**
 * The two 7-bit charsets that shift into a two-byte set and that no decoder of the platform has: ISO-2022-KR (RFC 1557)
 * and HZ (RFC 1843). Both are their 8-bit form with the upper bits taken off; what is shifted gets them back. Any
 * bytes are read; it never fails.
 */

const shiftOut = 0x0e;
const shiftIn = 0x0f;
const lineFeed = 0x0a;
const tilde = 0x7e;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const korean = new TextDecoder('euc-kr');
const chinese = new TextDecoder('gb18030');

/** Text of ISO-2022-KR: SO and SI shift, the designator at the beginning is left out. */
function decodeIso2022Kr(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let upper = 0;
  for (const byte of bytes) {
    if (byte === shiftOut) upper = 0x80;
    else if (byte === shiftIn) upper = 0;
    else out[length++] = byte > 0x20 ? byte | upper : byte;
  }
  return korean.decode(out.subarray(0, length)).replaceAll('\x1b$)C', '');
}

/** Text of HZ: `~{` and `~}` shift, `~~` is a tilde, a tilde at the end of a line joins it to the next. */
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
  return chinese.decode(out.subarray(0, length));
}

/**
 * Decodes UTF-16, also where a transport that knows nothing of it wrote its own line ends of single bytes into it.
 *
 * A CR put before each LF shifts all that follows by half a character: it is taken out again. What is left of half a
 * character at the end is dropped. Any bytes give text; it never fails.
 */

const carriageReturn = 0x0d;
const lineEnd = Buffer.from('\r\n');

const utf16Decoders = {
  'utf-16le': new TextDecoder('utf-16le', { ignoreBOM: true }),
  'utf-16be': new TextDecoder('utf-16be', { ignoreBOM: true }),
} as const;

/** `charset` is `utf-16le`, `utf-16be`, or anything else where the bytes are to tell the order. */
function decodeUtf16(bytes: Uint8Array, charset: string): string {
  const order = charset === 'utf-16le' || charset === 'utf-16be' ? charset : orderOf(bytes);
  const mended = withoutLineEnds(bytes, order === 'utf-16le');
  return utf16Decoders[order].decode(mended.subarray(0, mended.length - (mended.length % 2)));
}

/** Without a mark: the half that is mostly zero is the upper one. RFC 2781 section 4.3 says big-endian else. */
function orderOf(bytes: Uint8Array): keyof typeof utf16Decoders {
  let upperFirst = 0;
  let upperLast = 0;
  for (let at = 0; at + 1 < Math.min(bytes.length, 1000); at += 2) {
    if (bytes[at] === 0) upperFirst += 1;
    if (bytes[at + 1] === 0) upperLast += 1;
  }
  return upperLast > upperFirst ? 'utf-16le' : 'utf-16be';
}

/** Line ends of single bytes become whole ones where they took the place of one, and nothing elsewhere. */
function withoutLineEnds(bytes: Uint8Array, isLittle: boolean): Uint8Array {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(lineEnd)) return bytes;
  const strangeBytes = isLittle ? strangeInLittle : strangeInBig;
  const feed = isLittle ? ([lineFeed, 0] as const) : ([0, lineFeed] as const);
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at + 1 < bytes.length; ) {
    const strange = strangeBytes(bytes, at);
    if (strange !== 2) {
      const [first, second] = strange === 3 ? feed : [bytes[at] ?? 0, bytes[at + 1] ?? 0];
      out[length] = first;
      out[length + 1] = second;
      length += 2;
    }
    at += strange || 2;
  }
  return out.subarray(0, length);
}

/** 3 for the bytes of a broken line end, 2 for those of a line end that does not belong, else 0. U+0A0D is no character. */
function strangeInLittle(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] !== carriageReturn || bytes[at + 1] !== lineFeed) return 0;
  return bytes[at + 2] === 0 ? 3 : 2;
}

/** U+0D0A is a letter of Malayalam, and stays unless it is the last one. */
function strangeInBig(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] === 0 && bytes[at + 1] === carriageReturn && bytes[at + 2] === lineFeed) return 3;
  const isLast = at + 2 >= bytes.length - 1;
  return isLast && bytes[at] === carriageReturn && bytes[at + 1] === lineFeed ? 2 : 0;
}

/**
 * Guesses the charset of 8-bit bytes that are no UTF-8 and whose label is missing or wrong.
 *
 * A statistical detector is asked about a sample, and believed only where it is fairly sure: of a few letters it knows
 * nothing, and then windows-1252 is the likeliest. It never fails; null means that nothing can be said.
 */

const chardet = lazyRequire((require) => require('chardet') as typeof import('chardet'));

const sampleBytesMax = 16_384;
const foreignBytesMin = 4;
const confidenceMin = 30;

/** What the detector answers, and what it is read as. Rows that are missing are not believed in unlabelled bytes. */
const believed: ReadonlyMap<string, string> = new Map([
  ['Shift_JIS', 'shift_jis'],
  ['EUC-JP', 'euc-jp'],
  ['ISO-2022-JP', 'iso-2022-jp'],
  ['ISO-2022-KR', 'iso-2022-kr'],
  ['GB18030', 'gb18030'],
  ['Big5', 'big5'],
  ['EUC-KR', 'euc-kr'],
  ['KOI8-R', 'koi8-r'],
  ['windows-1251', 'windows-1251'],
  ['ISO-8859-5', 'iso-8859-5'],
  ['ISO-8859-7', 'windows-1253'],
  ['windows-1253', 'windows-1253'],
  ['ISO-8859-8', 'windows-1255'],
  ['windows-1255', 'windows-1255'],
  ['ISO-8859-6', 'windows-1256'],
  ['windows-1256', 'windows-1256'],
  ['ISO-8859-2', 'iso-8859-2'],
  ['windows-1250', 'windows-1250'],
  ['ISO-8859-9', 'windows-1254'],
  ['windows-1254', 'windows-1254'],
  ['ISO-8859-1', 'windows-1252'],
  ['windows-1252', 'windows-1252'],
]);

/** A charset for `decodeText`, or null. Looks at the stretch around the first foreign byte. */
export function detectCharset(bytes: Uint8Array): string | null {
  const first = bytes.findIndex((byte) => byte > 0x7f);
  if (first < 0) return null;
  const start = Math.max(0, first - 256);
  const sample = bytes.subarray(start, start + sampleBytesMax);
  if (!hasEnough(sample)) return null;
  const best = chardet()
    .analyse(sample)
    .find(({ name }) => believed.has(name));
  return best === undefined || best.confidence < confidenceMin ? null : (believed.get(best.name) ?? null);
}

function hasEnough(sample: Uint8Array): boolean {
  let foreign = 0;
  for (const byte of sample) {
    if (byte > 0x7f) foreign += 1;
    if (foreign >= foreignBytesMin) return true;
  }
  return false;
}
