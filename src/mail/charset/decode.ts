/**
 * Charset decoding: bytes to text, by the declared charset (RFC 2046 section 4.1.2) and by what the bytes themselves
 * show.
 *
 * A declared charset counts only as far as the bytes agree: valid UTF-8 is UTF-8 under any single-byte label, the
 * escape sequences of RFC 1468 mean ISO-2022-JP, and bytes that are unreadable in the declared charset are given to
 * detection. TextDecoder knows most charsets, iconv-lite the rare ones; ISO-2022-KR, HZ and broken UTF-16 are handled
 * here, since neither reads them. Any bytes and any label give text; unreadable bytes become U+FFFD. Never fails.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { lazyRequire } from '../lazy-require.ts';
import { detectCharset, isMostlyNonAscii } from './detect.ts';
import { charsetOfLabel } from './labels.ts';

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
const hiddenCharsets: ReadonlySet<string> = new Set([
  'utf-7',
  'iso-2022-kr',
  'hz-gb-2312',
  'utf-16le',
  'utf-16be',
  'utf-16',
]);
const doubleByteCharsets: ReadonlySet<string> = new Set([
  'gb18030',
  'big5',
  'euc-jp',
  'euc-kr',
  'shift_jis',
  'iso-2022-jp',
]);

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

function bufferOf(bytes: Uint8Array): Buffer {
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
  const decoder = decoderOf(charset);
  return decoder === null ? iconv().decode(bufferOf(bytes), charset) : decoder.decode(bytes);
}

const decoders = new Map<string, TextDecoder | null>();

/** null for charsets that only iconv-lite knows. */
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

// ISO-2022-JP (RFC 1468) and UTF-7 (RFC 2152)

const japanese = new TextDecoder('iso-2022-jp');

/**
 * Drops escapes with nothing between them: joined encoded words have them, the Encoding Standard calls them an error.
 */
function decodeJapanese(bytes: Uint8Array): string {
  const text = asciiText(bytes).replace(/\x1b(?:\([BIJ]|\$[@B])(?=\x1b)/gu, '');
  return japanese.decode(Buffer.from(text, 'latin1'));
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

const korean = new TextDecoder('euc-kr');
const chinese = new TextDecoder('gb18030');

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
  return korean.decode(out.subarray(0, length)).replaceAll('\x1b$)C', '');
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
  return chinese.decode(out.subarray(0, length));
}

// UTF-16 (RFC 2781), also where a transport wrote single-byte line ends into it

const carriageReturn = 0x0d;
const lineEnd = Buffer.from('\r\n');

const utf16 = {
  'utf-16le': new TextDecoder('utf-16le', { ignoreBOM: true }),
  'utf-16be': new TextDecoder('utf-16be', { ignoreBOM: true }),
} as const;

/** `charset` is `utf-16le`, `utf-16be`, or anything else for a byte order detected from the bytes. */
function decodeUtf16(bytes: Uint8Array, charset: string): string {
  const order = charset === 'utf-16le' || charset === 'utf-16be' ? charset : orderOf(bytes);
  const repaired = withWholeLineEnds(bytes, order === 'utf-16le');
  return utf16[order].decode(repaired.subarray(0, repaired.length - (repaired.length % 2)));
}

/** Byte order without a mark: the half that is mostly zero is the upper one; else big-endian (RFC 2781 section 4.3). */
function orderOf(bytes: Uint8Array): keyof typeof utf16 {
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
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(lineEnd)) return bytes;
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
