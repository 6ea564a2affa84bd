/**
 * Reads the header block of a mail (RFC 5322 section 2.2) and decodes its fields (RFC 2047, RFC 6532).
 *
 * Works on bytes, since headers in the wild hold raw 8-bit text: a value that is no UTF-8 is read in the charset that
 * the mail declares for its body, else as windows-1252. Lines that are no field are skipped; it never fails.
 */
import { isUtf8 } from 'node:buffer';
import { charsetOfLabel } from '../charset/code-pages.ts';
import { decodeText, detectCharset, isMostlyForeign } from '../charset/decode.ts';
import type { Header } from '../message.ts';
import { decodeWords } from './encoded-words.ts';

/** One field: name in lower case, value as its raw bytes (one character a byte), still folded. */
export type RawHeader = readonly [name: string, rawValue: string];

/** A mail cut in two; `body` is a view of the same bytes. */
export type SplitMessage = { readonly headers: readonly RawHeader[]; readonly body: Uint8Array };

/** The fields that rules ask for later; values are cut at `keptValueLengthMax` characters. */
const storedHeaderNames: ReadonlySet<string> = new Set([
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

const storedValueLengthMax = 2000;
const storedHeadersMax = 200;
const charsetSearchBytes = 8192;
/** More fields than anything but an attack has. */
const fieldsMax = 10_000;
/** Of a single field; what is beyond is not looked at. */
const fieldLengthMax = 1_000_000;

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const tab = 9;
const escapeByte = 27;
const dash = 45;
const semicolon = 59;

/** Cuts at the first empty line and lists the fields before it. */
export function splitMessage(source: Uint8Array): SplitMessage {
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
  const bodyStart = findBody(bytes);
  return { headers: readFields(bytes.toString('latin1', 0, bodyStart)), body: source.subarray(bodyStart) };
}

/** Offset of the first byte after the empty line, or the length where there is none. */
function findBody(source: Buffer): number {
  for (let start = 0; start < source.length; ) {
    const end = source.indexOf(lineFeed, start);
    if (end < 0) return source.length;
    if (end === start || (end === start + 1 && source[start] === carriageReturn)) return end + 1;
    start = end + 1;
  }
  return source.length;
}

/** The head of a part: its fields, and where its body begins. */
export type PartHead = { readonly headers: readonly RawHeader[]; readonly bodyStart: number };

/**
 * Reads the head of a part that begins at `start`. Where the empty line is missing, the head ends before the first
 * line that is no field, and before a line of two dashes, which is a boundary.
 */
export function readPartHead(source: Buffer, start: number): PartHead {
  let at = start;
  while (at < source.length) {
    const found = source.indexOf(lineFeed, at);
    const end = found < 0 ? source.length : found + 1;
    const first = source[at];
    const isEmpty = first === lineFeed || (first === carriageReturn && end === at + 2);
    const fields = () => readFields(source.toString('latin1', start, at));
    if (isEmpty) return { headers: fields(), bodyStart: end };
    const isBoundary = first === dash && source[at + 1] === dash;
    const isContinued = at > start && (first === space || first === tab || isBrokenOff(source, at));
    if (isBoundary || (!isContinued && !isField(source, at, end))) return { headers: fields(), bodyStart: at };
    at = end;
  }
  return { headers: readFields(source.toString('latin1', start)), bodyStart: source.length };
}

/** True when the line before ends with a semicolon: the next one lost the blank that makes it a part of the field. */
function isBrokenOff(source: Buffer, lineStart: number): boolean {
  let at = lineStart - 1;
  while (source[at] === lineFeed || source[at] === carriageReturn) at -= 1;
  return source[at] === semicolon;
}

/** True for a line that begins with a name of printable characters and a colon (RFC 5322 section 2.2). */
function isField(source: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at < end && (source[at] ?? 0) > 0x20 && (source[at] ?? 0) < 0x7f && source[at] !== 0x3a) at += 1;
  const nameEnd = at;
  while (at < end && (source[at] === space || source[at] === tab)) at += 1;
  return nameEnd > start && source[at] === 0x3a;
}

const fieldName = /^[\x21-\x39\x3b-\x7e]+$/u;

/** A parameter at the beginning of a line, as it is left over where mailers fold without a blank. */
const looseParameter = /^[\w*-]{1,40}\s{0,9}=/u;

function readFields(block: string): readonly RawHeader[] {
  const fields: RawHeader[] = [];
  let colon = -1;
  for (let start = 0; start < block.length && fields.length < fieldsMax; ) {
    const end = endOfField(block, start);
    // Looked for anew only once it is passed: many lines without any would take the square.
    if (colon < start) colon = block.indexOf(':', start);
    if (colon < 0) colon = block.length;
    const last = fields.at(-1);
    const name = colon < end ? block.slice(start, colon).trimEnd().toLowerCase() : '';
    if (fieldName.test(name)) fields.push([name, block.slice(colon + 1, withoutBreak(block, end))]);
    else if (last?.[1].trimEnd().endsWith(';') && looseParameter.test(block.slice(start, start + 50))) {
      fields[fields.length - 1] = [last[0], `${last[1]} ${block.slice(start, withoutBreak(block, end))}`];
    }
    start = end;
  }
  return fields;
}

/** Where the next field begins: after the first line end that no blank follows. */
function endOfField(block: string, start: number): number {
  for (let at = block.indexOf('\n', start); at >= 0; at = block.indexOf('\n', at + 1)) {
    const next = block.charCodeAt(at + 1);
    if (next !== space && next !== tab) return at + 1;
  }
  return block.length;
}

function withoutBreak(block: string, end: number): number {
  if (block.charCodeAt(end - 1) !== lineFeed) return end;
  return block.charCodeAt(end - 2) === carriageReturn ? end - 2 : end - 1;
}

/** The raw value of the first field of that name, or null. */
export function firstRaw(headers: readonly RawHeader[], name: string): string | null {
  return headers.find((header) => header[0] === name)?.[1] ?? null;
}

/**
 * What raw 8-bit fields are likely to be in: the charset that the mail declares, or the first that a part near its
 * beginning declares; null where none says more than ASCII or UTF-8.
 */
export function declaredCharset({ headers, body }: SplitMessage): string | null {
  const bodyStart = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, charsetSearchBytes));
  for (const text of [firstRaw(headers, 'content-type') ?? '', bodyStart.toString('latin1')]) {
    for (const [, charset = ''] of text.matchAll(/\bcharset\s*=\s*"?([\w.:-]+)/giu)) {
      if (!/^(?:utf-?8|us-ascii)$/iu.test(charset)) return charset;
    }
  }
  return null;
}

/**
 * The charset for raw fields of the mail whose first bytes are `source`: null where they need none, being ASCII or
 * UTF-8; what the mail declares; else what its bytes look like, since a single field is too short to tell.
 */
export function headerCharset(source: Buffer, mail: SplitMessage): string | null {
  const block = source.subarray(0, source.length - mail.body.length);
  if (isUtf8(block) && !block.includes(escapeByte)) return null;
  const declared = declaredCharset(mail);
  if (declared !== null && charsetOfLabel(declared) !== 'windows-1252') return declared;
  // The label that programs write by default is not believed over fields that are foreign throughout.
  const fields = Buffer.from(mail.headers.map(([, value]) => (foreign.test(value) ? value : '')).join(' '), 'latin1');
  const looksLike = isMostlyForeign(fields) ? detectCharset(fields) : null;
  return looksLike ?? declared ?? detectCharset(source.subarray(0, block.length + charsetSearchBytes));
}

const foreign = /[\x80-\xff\x1b]/u;

/** Unfolds and decodes the bytes to text; encoded words are left, for fields with a structure of their own. */
export function unfold(rawValue: string, charset: string | null): string {
  const value = rawValue.slice(0, fieldLengthMax);
  const unfolded = value.includes('\n') ? value.replace(/\r?\n/gu, '') : value;
  if (!foreign.test(unfolded)) return plainLine(unfolded);
  const escaped = unfolded.includes('=?') ? unfolded.replace(encodedWord, escapeRawBytes) : unfolded;
  return plainLine(decodeText(Buffer.from(escaped, 'latin1'), null, charset));
}

/** Unfolds and decodes an unstructured field, encoded words (RFC 2047) included. */
export function decodeField(rawValue: string, charset: string | null): string {
  const value = unfold(rawValue, charset);
  return value.includes('=?') ? plainLine(decodeWords(value)) : value;
}

/** The Q form of an encoded word (RFC 2047 section 4.2). */
const encodedWord = /=\?[^?\s]{1,80}\?q\?[^?]*\?=/giu;

/** Raw bytes do not belong in an encoded word; escaped they are read in the charset that the word names. */
function escapeRawBytes(word: string): string {
  return word.replace(/[\x80-\xff]/gu, (byte) => `=${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/u;

/** One line without control characters (those that part words become spaces) and without broken surrogates. */
export function plainLine(text: string): string {
  if (!controls.test(text)) return text.trim().toWellFormed();
  return text
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]/gu, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f]/gu, '')
    .trim()
    .toWellFormed();
}

/** The fields that `keptHeaders` names, decoded, in the order of the mail. */
export function storedHeaders(headers: readonly RawHeader[], charset: string | null): readonly Header[] {
  return headers
    .filter(([name]) => storedHeaderNames.has(name))
    .slice(0, storedHeadersMax)
    .map(([name, rawValue]) => [name, cut(decodeField(rawValue.slice(0, storedValueLengthMax * 4), charset))]);
}

function cut(value: string): string {
  return value.length <= storedValueLengthMax
    ? value
    : value.slice(0, storedValueLengthMax).replace(/[\ud800-\udbff]$/u, '');
}
