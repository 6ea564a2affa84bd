/**
 * Decodes encoded words (RFC 2047) within a text, broken ones too.
 *
 * Words that follow each other in one charset are decoded together, since mailers split characters between them. Blanks
 * inside a word, a language behind the charset (RFC 2231 section 5), a missing end, raw text glued to a word: all are
 * read. What is no word stays. One pass over the text; it never fails.
 */
import { decodeText } from '../charset/decode.ts';

type Word = { readonly charset: string; readonly bytes: Buffer; readonly end: number };

const charsetLengthMax = 80;
const charsetPattern = /^[\w.:*'"+ -]{1,80}$/u;

/** Words that belong together: no text between them, one charset. */
type Run = { readonly charset: string; readonly pieces: Buffer[] };

/** The text with all its encoded words decoded. Raw characters are kept as they are. */
export function decodeWords(text: string): string {
  let start = text.indexOf('=?');
  if (start < 0) return text;
  const lastEnd = text.lastIndexOf('?=');
  let decoded = '';
  let copied = 0;
  let run: Run | null = null;
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

function textOf(run: Run | null): string {
  return run === null ? '' : decodeText(Buffer.concat(run.pieces), run.charset);
}

/** The word at `start`, or null. Without an end, a word reaches to the next blank. */
function readWord(text: string, start: number, lastEnd: number): Word | null {
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

/** In the Q form a question mark may stand raw before a code, which looks like the end. */
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
  for (let at = from; at < text.length; at += 1) {
    if (/[\s"<>]/u.test(text.charAt(at))) return at;
  }
  return text.length;
}

/** Characters beyond one byte do not belong there; they are kept as UTF-8. */
function decodeQ(encoded: string): Buffer {
  const text = encoded.replaceAll('_', ' ');
  if (!text.includes('=')) return bytesOf(text);
  const plain = text.replace(/=([0-9a-f]{2})/giu, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return bytesOf(plain);
}

function bytesOf(text: string): Buffer {
  return /[\u0100-\uffff]/u.test(text) ? Buffer.from(text, 'utf8') : Buffer.from(text, 'latin1');
}

/**
 * Reads fields with parameters, as Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2231).
 *
 * Knows what mailers do: values split and continued, percent codes with a charset, encoded words inside quotes, quotes
 * that are missing or stand inside, blanks in bare values. The first of two parameters of one name counts. What is
 * unreadable is left out; it never fails.
 */

/** `value` is before the first semicolon, in lower case; parameters by their lower-case name, decoded. */
export type ParameterField = { readonly value: string; readonly parameters: ReadonlyMap<string, string> };

const fieldLengthMax = 65_536;
const parametersMax = 500;

type Sent = { readonly name: string; readonly value: string };

/** `text` is the unfolded field, raw bytes decoded; `charset` is that of percent codes which name none. */
export function readParameters(text: string, charset: string | null = null): ParameterField {
  const semicolon = text.indexOf(';');
  if (semicolon < 0) return { value: firstWords(text), parameters: new Map() };
  const sent = listParameters(text.slice(0, fieldLengthMax), semicolon + 1);
  return { value: firstWords(text.slice(0, semicolon)), parameters: assemble(sent, charset) };
}

function firstWords(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/\([^()]*\)/gu, '')
    .trim()
    .toLowerCase();
}

function listParameters(text: string, start: number): readonly Sent[] {
  const sent: Sent[] = [];
  for (let at = start; at < text.length && sent.length < parametersMax; ) {
    const equals = text.indexOf('=', at);
    if (equals < 0) break;
    const semicolon = text.indexOf(';', at);
    if (semicolon >= 0 && semicolon < equals) {
      at = semicolon + 1;
      continue;
    }
    const name = text.slice(at, equals).trim().toLowerCase();
    const { value, end } = readValue(text, equals + 1);
    if (name !== '') sent.push({ name, value });
    at = end;
  }
  return sent;
}

function readValue(text: string, start: number): { readonly value: string; readonly end: number } {
  let at = start;
  while (text.charAt(at) === ' ' || text.charAt(at) === '\t') at += 1;
  if (text.charAt(at) === '"') return readQuoted(text, at + 1);
  const semicolon = text.indexOf(';', at);
  const end = semicolon < 0 ? text.length : semicolon;
  // A comment may follow (RFC 2045 section 5.1), which names may hold too: only after a blank is it one.
  const value = text
    .slice(at, end)
    .replace(/\s\([^()]*\)\s*$/u, '')
    .trim();
  return { value: /^'.*'$/u.test(value) ? value.slice(1, -1) : value, end: end + 1 };
}

/** A quote ends the value only before a semicolon or the end: others belong to it. */
function readQuoted(text: string, start: number): { readonly value: string; readonly end: number } {
  let value = '';
  let at = start;
  for (; at < text.length; at += 1) {
    const character = text.charAt(at);
    const next = text.charAt(at + 1);
    // Names of Windows have backslashes that escape nothing.
    if (character === '\\' && (next === '"' || next === '\\')) {
      value += next;
      at += 1;
    } else if (character !== '"') value += character;
    else if (endsHere(text, at + 1)) break;
    else value += character;
  }
  const semicolon = text.indexOf(';', at + 1);
  return { value, end: semicolon < 0 ? text.length : semicolon + 1 };
}

const nextAfterQuote = /[^\s]/gu;

function endsHere(text: string, start: number): boolean {
  nextAfterQuote.lastIndex = start;
  const next = nextAfterQuote.exec(text);
  if (next === null || next[0] === ';' || next[0] === '(') return true;
  // The semicolon between two parameters is missing.
  return next.index > start && /^[\w*-]{1,40}=/u.test(text.slice(next.index, next.index + 42));
}

type Segment = { readonly index: number; readonly isCoded: boolean; readonly value: string };

function assemble(sent: readonly Sent[], charset: string | null): ReadonlyMap<string, string> {
  const plain = new Map<string, string>();
  const split = new Map<string, Segment[]>();
  for (const { name, value } of sent) {
    const parts = /^([^*]+)\*(?:(\d{1,4})(\*)?)?$/u.exec(name);
    if (parts === null) {
      // A boundary is compared as it is, and may look like an encoded word.
      if (!plain.has(name)) plain.set(name, name === 'boundary' ? value : decodeWords(value));
      continue;
    }
    const [, base = '', index, coded] = parts;
    const segments = split.get(base) ?? [];
    segments.push({ index: Number(index ?? 0), isCoded: index === undefined || coded !== undefined, value });
    split.set(base, segments);
  }
  // RFC 2231 wins over the plain form, which is for those who do not know it (RFC 6266 section 4.3).
  for (const [name, segments] of split) {
    const value = joinSegments(
      segments.toSorted((one, other) => one.index - other.index),
      charset,
    );
    if (value !== '' || !plain.has(name)) plain.set(name, value);
  }
  return plain;
}

/** Percent codes of neighbouring segments are decoded together: characters are split between them. */
function joinSegments(segments: readonly Segment[], fallback: string | null): string {
  const [first] = segments;
  if (first === undefined) return '';
  const opening = first.isCoded ? /^([^']{0,80})'[^']{0,80}'/u.exec(first.value) : null;
  const charset = opening?.[1] || fallback;
  const pieces = segments.map(({ isCoded, value }, at) => {
    const text = at === 0 && opening !== null ? value.slice(opening[0].length) : value;
    return isCoded ? percentBytes(text) : Buffer.from(text, 'utf8');
  });
  if (!segments.some(({ isCoded }) => isCoded)) return decodeWords(segments.map(({ value }) => value).join(''));
  const text = decodeText(Buffer.concat(pieces), charset);
  return text.includes('=?') ? decodeWords(text) : text;
}

function percentBytes(text: string): Buffer {
  const wide = Buffer.from(text, 'utf8').toString('latin1');
  const plain = wide.replace(/%([0-9a-f]{2})/giu, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(plain, 'latin1');
}
