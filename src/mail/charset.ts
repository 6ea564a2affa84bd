/**
 * Decodes the bytes of a mail to text, by the charset that the mail names and by what the bytes themselves say.
 *
 * Names are only believed as far as the bytes agree: text that is valid UTF-8 is UTF-8 under any single-byte label,
 * escape sequences of RFC 1468 mean ISO-2022-JP, and bytes that mean nothing in the charset named are looked at anew
 * (see `charset-detect.ts`). Any bytes and any name give text; what cannot be read becomes U+FFFD. It never fails.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { detectCharset } from './charset-detect.ts';
import { charsetOfLabel } from './charset-labels.ts';
import { decodeHz, decodeIso2022Kr } from './charset-shifted.ts';
import { decodeUtf16 } from './charset-utf16.ts';
import { onDemand } from './on-demand.ts';

const iconv = onDemand((require) => require('iconv-lite') as typeof import('iconv-lite'));

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
