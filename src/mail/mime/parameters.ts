/**
 * Parameters of Content-Type and Content-Disposition (RFC 2045 section 5.1), continued and percent-encoded ones too
 * (RFC 2231).
 *
 * libmime's parseHeaderValue lost: it drops the backslashes of Windows paths and all that follows a quote inside
 * quotes. Also read: encoded words inside quotes, missing quotes, a missing semicolon, blanks in unquoted values. The
 * first of two parameters of one name counts. At most 65,536 characters and 500 parameters; unreadable ones are left
 * out. Never fails.
 */
import { decodeText } from '../charset/decode.ts';
import { decodeWords } from './encoded-words.ts';

/** `value` is what precedes the first semicolon, in lower case; parameters by lower-case name, decoded. */
export type ParameterField = { readonly value: string; readonly parameters: ReadonlyMap<string, string> };

const fieldLengthMax = 65_536;
const parametersMax = 500;

type RawParameter = { readonly name: string; readonly value: string };

/** `text` is the unfolded field, raw bytes decoded; `charset` is for percent-encoded values that declare none. */
export function readParameters(text: string, charset: string | null = null): ParameterField {
  const semicolon = text.indexOf(';');
  if (semicolon < 0) return { value: firstWords(text), parameters: new Map() };
  const sent = listParameters(text.slice(0, fieldLengthMax), semicolon + 1);
  return { value: firstWords(text.slice(0, semicolon)), parameters: decodeParameters(sent, charset) };
}

function firstWords(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/\([^()]*\)/gu, '')
    .trim()
    .toLowerCase();
}

function listParameters(text: string, start: number): readonly RawParameter[] {
  const sent: RawParameter[] = [];
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
  // A comment may follow (RFC 2045 section 5.1). File names hold parentheses too: it is a comment only after a blank.
  const value = text
    .slice(at, end)
    .replace(/\s\([^()]*\)\s*$/u, '')
    .trim();
  return { value: /^'.*'$/u.test(value) ? value.slice(1, -1) : value, end: end + 1 };
}

/** A quote ends the value only before a semicolon or the end; other quotes belong to it. */
function readQuoted(text: string, start: number): { readonly value: string; readonly end: number } {
  let value = '';
  let at = start;
  for (; at < text.length; at += 1) {
    const character = text.charAt(at);
    const next = text.charAt(at + 1);
    // Windows paths have backslashes that escape nothing.
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

type ParameterSegment = { readonly index: number; readonly isCoded: boolean; readonly value: string };

function decodeParameters(sent: readonly RawParameter[], charset: string | null): ReadonlyMap<string, string> {
  const plain = new Map<string, string>();
  const split = new Map<string, ParameterSegment[]>();
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
  // The RFC 2231 form wins over the plain one, which is a fallback for old readers (RFC 6266 section 4.3).
  for (const [name, segments] of split) {
    const value = joinSegments(
      segments.toSorted((one, other) => one.index - other.index),
      charset,
    );
    if (value !== '' || !plain.has(name)) plain.set(name, value);
  }
  return plain;
}

/** Segments are decoded together, since characters are split between them. */
function joinSegments(segments: readonly ParameterSegment[], fallback: string | null): string {
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
