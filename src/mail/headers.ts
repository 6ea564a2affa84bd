/**
 * Reads the header block of a mail (RFC 5322 section 2.2) and decodes its fields (RFC 2047, RFC 6532).
 *
 * Works on bytes, since headers in the wild hold raw 8-bit text: a value that is no UTF-8 is read in the charset that
 * the mail declares for its body, else as windows-1252. Lines that are no field are skipped; it never fails.
 */
import libmime from 'libmime';
import type { Header } from './message.ts';

/** One field: name in lower case, value as its raw bytes (one character a byte), still folded. */
export type RawHeader = readonly [name: string, rawValue: string];

/** A mail cut in two; `body` is a view of the same bytes. */
export type SplitMail = { readonly headers: readonly RawHeader[]; readonly body: Uint8Array<ArrayBuffer> };

/** The fields that rules ask for later; values are cut at `keptValueLengthMax` characters. */
const keptHeaders: ReadonlySet<string> = new Set([
  // Who wrote it: a person, a machine, a list
  'auto-submitted',
  'precedence',
  'x-autoreply',
  'x-autorespond',
  'x-auto-response-suppress',
  'x-loop',
  'x-failed-recipients',
  'list-id',
  'list-post',
  'list-unsubscribe',
  'list-unsubscribe-post',
  'feedback-id',
  'content-type',
  'x-mailer',
  'user-agent',
  // Whom answers go to, and which address the mail came to
  'return-path',
  'reply-to',
  'sender',
  'errors-to',
  'delivered-to',
  'x-original-to',
  'x-envelope-to',
  'envelope-to',
  'resent-from',
  'resent-to',
  // Whether to trust it, and how urgent it says it is
  'authentication-results',
  'received-spf',
  'x-spam-flag',
  'x-spam-status',
  'importance',
  'priority',
  'x-priority',
  'content-language',
  'thread-index',
  'thread-topic',
]);

const keptValueLengthMax = 2000;
const keptCountMax = 200;
const charsetSearchBytes = 8192;

const lineFeed = 10;
const carriageReturn = 13;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Cuts at the first empty line and lists the fields before it. */
export function splitMail(source: Uint8Array<ArrayBuffer>): SplitMail {
  const bodyStart = findBody(source);
  const block = Buffer.from(source.buffer, source.byteOffset, bodyStart).toString('latin1');
  return { headers: readFields(block), body: source.subarray(bodyStart) };
}

/** Offset of the first byte after the empty line, or the length where there is none. */
function findBody(source: Uint8Array): number {
  for (let start = 0; start < source.length; ) {
    const end = source.indexOf(lineFeed, start);
    if (end < 0) return source.length;
    if (end === start || (end === start + 1 && source[start] === carriageReturn)) return end + 1;
    start = end + 1;
  }
  return source.length;
}

function readFields(block: string): readonly RawHeader[] {
  const fields: RawHeader[] = [];
  for (const field of block.split(/\r?\n(?![ \t])/u)) {
    const colon = field.indexOf(':');
    const name = field.slice(0, Math.max(colon, 0)).trimEnd().toLowerCase();
    if (/^[\x21-\x39\x3b-\x7e]+$/u.test(name)) fields.push([name, field.slice(colon + 1)]);
  }
  return fields;
}

/** The raw value of the first field of that name, or null. */
export function firstRaw(headers: readonly RawHeader[], name: string): string | null {
  return headers.find((header) => header[0] === name)?.[1] ?? null;
}

/**
 * What raw 8-bit fields are likely to be in: the charset that the mail declares, or the first that a part near its
 * beginning declares; null where none says more than ASCII or UTF-8.
 */
export function declaredCharset({ headers, body }: SplitMail): string | null {
  const bodyStart = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, charsetSearchBytes));
  for (const text of [firstRaw(headers, 'content-type') ?? '', bodyStart.toString('latin1')]) {
    for (const [, charset = ''] of text.matchAll(/\bcharset\s*=\s*"?([\w.:-]+)/giu)) {
      if (!/^(?:utf-?8|us-ascii)$/iu.test(charset)) return charset;
    }
  }
  return null;
}

/** Unfolds and decodes the bytes to text; encoded words are left, for fields with a structure of their own. */
export function unfold(rawValue: string, charset: string | null): string {
  const unfolded = rawValue.replace(/\r?\n/gu, '');
  const text = /[\x80-\xff\x1b]/u.test(unfolded) ? decodeBytes(unfolded, charset) : unfolded;
  return plainLine(text);
}

/** Unfolds and decodes an unstructured field, encoded words (RFC 2047) included. */
export function decodeField(rawValue: string, charset: string | null): string {
  const value = unfold(rawValue.replace(encodedWord, escapeRawBytes), charset);
  return value.includes('=?') ? plainLine(libmime.decodeWords(value)) : value;
}

/** The Q form of an encoded word (RFC 2047 section 4.2). */
const encodedWord = /=\?[^?\s]+\?q\?[^?]*\?=/giu;

/** Raw bytes do not belong in an encoded word; escaped they are read in the charset that the word names. */
function escapeRawBytes(word: string): string {
  return word.replace(/[\x80-\xff]/gu, (byte) => `=${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

function decodeBytes(rawValue: string, charset: string | null): string {
  const bytes = Buffer.from(rawValue, 'latin1');
  // ISO-2022-JP is 7-bit text with escape sequences, so that it would pass for UTF-8.
  if (/\x1b[$(]/u.test(rawValue)) return decoderFor('iso-2022-jp').decode(bytes);
  try {
    return utf8.decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return decoderFor(charset ?? 'windows-1252').decode(bytes);
  }
}

function decoderFor(charset: string): TextDecoder {
  try {
    return new TextDecoder(charset);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return new TextDecoder('windows-1252');
  }
}

/** One line without control characters (those that part words become spaces) and without broken surrogates. */
export function plainLine(text: string): string {
  return text
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]/gu, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f]/gu, '')
    .trim()
    .toWellFormed();
}

/** The fields that `keptHeaders` names, decoded, in the order of the mail. */
export function keep(headers: readonly RawHeader[], charset: string | null): readonly Header[] {
  return headers
    .filter(([name]) => keptHeaders.has(name))
    .slice(0, keptCountMax)
    .map(([name, rawValue]) => [name, cut(decodeField(rawValue.slice(0, keptValueLengthMax * 4), charset))]);
}

function cut(value: string): string {
  return value.length <= keptValueLengthMax
    ? value
    : value.slice(0, keptValueLengthMax).replace(/[\ud800-\udbff]$/u, '');
}
