/**
 * Header block of a message (RFC 5322 section 2.2): splits it into fields and decodes them (RFC 2047, RFC 6532).
 *
 * Works on bytes, since real headers hold raw 8-bit text: a value that is no UTF-8 is decoded in the charset that the
 * message declares for its body, else as windows-1252. Bounded: 10,000 fields, 1,000,000 characters of a field. Lines
 * that are no field are skipped; never fails.
 */
import { isUtf8 } from 'node:buffer';
import { bufferOf, decodeText, detectCharset, isMostlyNonAscii } from '../charset/decode.ts';
import { charsetOfLabel } from '../charset/labels.ts';
import type { Header } from '../message.ts';

/** One field: name in lower case, value as raw bytes (one character per byte), still folded. */
export type RawHeader = readonly [name: string, rawValue: string];

/** Header fields and body of a message; `body` is a view of the same bytes. */
export type SplitMessage = { readonly headers: readonly RawHeader[]; readonly body: Uint8Array };

/** Fields that are stored with the message; values are cut at `storedValueLengthMax` characters. */
const storedHeaderNames: ReadonlySet<string> = new Set(
  // Kind of the sender: a person, a program, a list
  (
    'auto-submitted precedence x-autoreply x-autorespond x-auto-response-suppress x-loop x-failed-recipients list-id ' +
    'list-post list-unsubscribe list-unsubscribe-post feedback-id content-type x-mailer user-agent ' +
    // Where replies go, and the address that the message was delivered to
    'return-path reply-to sender errors-to delivered-to x-original-to x-envelope-to envelope-to resent-from resent-to ' +
    // Trust, and urgency as the sender declares it
    'authentication-results received-spf x-spam-flag x-spam-status importance priority x-priority content-language ' +
    'thread-index thread-topic'
  ).split(' '),
);

const storedValueLengthMax = 2000;
const storedHeadersMax = 200;
const charsetSearchBytes = 8192;
/** More fields than any message but an attack has. */
export const fieldsMax = 10_000;
/** Characters of a single field; the rest is ignored. */
const fieldLengthMax = 1_000_000;

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const tab = 9;
const escapeByte = 27;
const dash = 45;
const semicolon = 59;

/** Splits at the first empty line and lists the fields before it. */
export function splitMessage(source: Uint8Array): SplitMessage {
  const bytes = bufferOf(source);
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

/** The fields of a part, and where its body begins. */
type PartHead = { readonly headers: readonly RawHeader[]; readonly bodyStart: number };

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

/** True when the previous line ends with a semicolon: this line lost the blank that makes it a continuation. */
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

/** A parameter at the beginning of a line, as left by programs that fold without a blank. */
const looseParameter = /^[\w*-]{1,40}\s{0,9}=/u;

function readFields(block: string): readonly RawHeader[] {
  const fields: RawHeader[] = [];
  let colon = -1;
  for (let start = 0; start < block.length && fields.length < fieldsMax; ) {
    const end = endOfField(block, start);
    // Searched again only once it is passed: many lines without a colon would take quadratic time.
    if (colon < start) colon = block.indexOf(':', start);
    if (colon < 0) colon = block.length;
    const last = fields.at(-1);
    const name = colon < end ? withoutBlanks(block, start, colon).toLowerCase() : '';
    if (fieldName.test(name)) fields.push([name, block.slice(colon + 1, withoutBreak(block, end))]);
    else if (last?.[1].trimEnd().endsWith(';') && looseParameter.test(block.slice(start, start + 50))) {
      fields[fields.length - 1] = [last[0], `${last[1]} ${block.slice(start, withoutBreak(block, end))}`];
    }
    start = end;
  }
  return fields;
}

/** Without spaces and tabs before the colon, as servers read it: any other byte makes it no field. */
function withoutBlanks(block: string, start: number, colon: number): string {
  let end = colon;
  while (end > start && (block.charCodeAt(end - 1) === space || block.charCodeAt(end - 1) === tab)) end -= 1;
  return block.slice(start, end);
}

/** Offset of the next field: after the first line end that no blank follows. */
export function endOfField(block: string, start: number): number {
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
 * Likely charset of raw 8-bit fields: the one that the message declares, or the first that a part near its beginning
 * declares; null where none but ASCII or UTF-8 is declared.
 */
export function declaredCharset({ headers, body }: SplitMessage): string | null {
  const bodyStart = bufferOf(body).toString('latin1', 0, charsetSearchBytes);
  for (const text of [firstRaw(headers, 'content-type') ?? '', bodyStart]) {
    for (const [, charset = ''] of text.matchAll(/\bcharset\s*=\s*"?([\w.:-]+)/giu)) {
      if (!/^(?:utf-?8|us-ascii)$/iu.test(charset)) return charset;
    }
  }
  return null;
}

/**
 * The charset for raw fields of the message whose first bytes are `source`: null where they are ASCII or UTF-8; the
 * declared one; else the one detected in all of them, since a single field is too short for detection.
 */
export function headerCharset(source: Buffer, message: SplitMessage): string | null {
  const block = source.subarray(0, source.length - message.body.length);
  if (isUtf8(block) && !block.includes(escapeByte)) return null;
  const declared = declaredCharset(message);
  if (declared !== null && charsetOfLabel(declared) !== 'windows-1252') return declared;
  // The default label of many programs is not believed where the words in question are mostly non-ASCII.
  const words = message.headers.flatMap(([, value]) => (nonAscii.test(value) ? value.split(betweenWords) : []));
  const fields = Buffer.from(words.filter((word) => nonAscii.test(word)).join(' '), 'latin1');
  const detected = isMostlyNonAscii(fields) ? detectCharset(fields) : null;
  return detected ?? declared ?? detectCharset(source.subarray(0, block.length + charsetSearchBytes));
}

const nonAscii = /[\x80-\xff\x1b]/u;
/** The addresses beside a raw word say nothing about its charset. */
const betweenWords = /[\s"<>()@,;:=]+/u;

/** Unfolds a field and decodes its bytes to text; encoded words stay, for structured fields. */
export function unfold(rawValue: string, charset: string | null): string {
  const value = rawValue.slice(0, fieldLengthMax);
  const unfolded = value.includes('\n') ? value.replace(/\r?\n/gu, '') : value;
  if (!nonAscii.test(unfolded)) return plainLine(unfolded);
  const escaped = unfolded.includes('=?') ? unfolded.replace(encodedWord, withEscapedBytes) : unfolded;
  return plainLine(decodeText(Buffer.from(escaped, 'latin1'), null, charset));
}

/** Unfolds and decodes an unstructured field, encoded words (RFC 2047) included. */
export function decodeField(rawValue: string, charset: string | null): string {
  const value = unfold(rawValue, charset);
  return value.includes('=?') ? plainLine(decodeWords(value)) : value;
}

/** An encoded word in the Q encoding (RFC 2047 section 4.2). */
const encodedWord = /=\?[^?\s]{1,80}\?q\?[^?]*\?=/giu;

/** Raw bytes do not belong in an encoded word; escaped, they are decoded in the charset of the word. */
function withEscapedBytes(word: string): string {
  return word.replace(/[\x80-\xff]/gu, (byte) => `=${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/u;

/** One line without control characters (those that separate words become spaces) and without lone surrogates. */
export function plainLine(text: string): string {
  if (!controls.test(text)) return text.trim().toWellFormed();
  return text
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]/gu, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f]/gu, '')
    .trim()
    .toWellFormed();
}

/** The fields listed in `storedHeaderNames`, decoded, in the order of the message. */
export function storedHeaders(headers: readonly RawHeader[], charset: string | null): readonly Header[] {
  return headers
    .filter(([name]) => storedHeaderNames.has(name))
    .slice(0, storedHeadersMax)
    .map(([name, rawValue]) => {
      const value = decodeField(rawValue.slice(0, storedValueLengthMax * 4), charset);
      const isLong = value.length > storedValueLengthMax;
      return [name, isLong ? value.slice(0, storedValueLengthMax).replace(/[\ud800-\udbff]$/u, '') : value];
    });
}

// Encoded words (RFC 2047). libmime lost: it leaves malformed words, and words in UTF-7 or ISO-2022-JP, undecoded.
// Adjacent words of one charset are decoded together, since mail programs split characters between them. Blanks inside
// a word, a language after the charset (RFC 2231 section 5), a missing end and raw text next to a word are read.

type EncodedWord = { readonly charset: string; readonly bytes: Buffer; readonly end: number };

const charsetLengthMax = 80;
const charsetPattern = /^[\w.:*'"+ -]{1,80}$/u;

/** Adjacent words of one charset. */
type WordRun = { readonly charset: string; readonly pieces: Buffer[] };

/** The text with all its encoded words decoded; anything else stays as it is. */
export function decodeWords(text: string): string {
  let start = text.indexOf('=?');
  if (start < 0) return text;
  const lastEnd = text.lastIndexOf('?=');
  let decoded = '';
  let copied = 0;
  let run: WordRun | null = null;
  while (start >= 0) {
    const word = readWord(text, start, lastEnd);
    if (word === null) {
      start = text.indexOf('=?', start + 2);
      continue;
    }
    const between = text.slice(copied, start);
    // White space between two words is not part of the text (section 6.2).
    const isJoined: boolean = run !== null && between.trim() === '';
    if (!isJoined || run?.charset !== word.charset) {
      decoded += textOf(run) + (isJoined ? '' : between);
      run = { charset: word.charset, pieces: [] };
    }
    run.pieces.push(word.bytes);
    copied = word.end;
    start = text.indexOf('=?', copied);
  }
  return decoded + textOf(run) + text.slice(copied);
}

function textOf(run: WordRun | null): string {
  return run === null ? '' : decodeText(Buffer.concat(run.pieces), run.charset);
}

/** The word at `start`, or null. A word without an end reaches to the next blank. */
function readWord(text: string, start: number, lastEnd: number): EncodedWord | null {
  const charsetEnd = text.indexOf('?', start + 2);
  if (charsetEnd < 0 || charsetEnd - start > charsetLengthMax) return null;
  const charset = text.slice(start + 2, charsetEnd);
  const encoding = text.charAt(charsetEnd + 1).toUpperCase();
  if ((encoding !== 'B' && encoding !== 'Q') || text.charAt(charsetEnd + 2) !== '?') return null;
  if (!charsetPattern.test(charset)) return null;
  const from = charsetEnd + 3;
  const to = from <= lastEnd ? endOfWord(text, from, encoding) : -1;
  const isOpen = to < 0;
  const end = isOpen ? endOfRun(text, from) : to;
  if (isOpen && end === from) return null;
  const encoded = text.slice(from, end);
  const bytes = encoding === 'B' ? Buffer.from(encoded, 'base64') : decodeQ(encoded);
  return { charset: charset.toLowerCase().replace(/\*.*$/u, ''), bytes, end: isOpen ? end : end + 2 };
}

/** In the Q encoding a raw question mark may precede an escape, which looks like the end of the word. */
function endOfWord(text: string, from: number, encoding: string): number {
  let end = text.indexOf('?=', from);
  if (encoding !== 'Q') return end;
  for (let tries = 0; tries < 20 && end >= 0; tries += 1) {
    if (!/^[0-9A-F]{2}[^\s?]*\?=/u.test(text.slice(end + 2, end + 100))) return end;
    end = text.indexOf('?=', end + 2);
  }
  return end;
}

function endOfRun(text: string, from: number): number {
  const length = text.slice(from).search(/[\s"<>]/u);
  return length < 0 ? text.length : from + length;
}

/** Characters beyond one byte do not belong there; they are taken as UTF-8. */
function decodeQ(encoded: string): Buffer {
  const text = encoded.replaceAll('_', ' ');
  return bytesOf(text.includes('=') ? withoutEscapes(text, /=([0-9a-f]{2})/giu) : text);
}

/** Replaces each match of `form`, whose group is two hex digits, by the character of that number. */
export function withoutEscapes(text: string, form: RegExp): string {
  return text.replace(form, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

function bytesOf(text: string): Buffer {
  return /[\u0100-\uffff]/u.test(text) ? Buffer.from(text, 'utf8') : Buffer.from(text, 'latin1');
}
