/**
 * MIME part: type, parameters (RFC 2045 section 5.1, RFC 2231), disposition (RFC 2183), file name and transfer
 * encoding, read from its fields.
 *
 * Missing and malformed fields are filled in as the standards and the habits of mail programs say. Never fails.
 */
import { decodeText } from '../charset/decode.ts';
import { typeOfName } from './attachments.ts';
import { decodeWords, firstRaw, type RawHeader, unfold, withoutEscapes } from './headers.ts';
import { encodingOf } from './transfer-encoding.ts';

/** A part, and those within it. */
export type MimePart = {
  readonly headers: readonly RawHeader[];
  /** Lower case, as `text/plain`; words that are no type are mapped by `typesOfWords`. */
  readonly type: string;
  /** Of the Content-Type, by lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
  /** `inline`, `attachment`, another word, or empty. */
  readonly disposition: string;
  /** Decoded file name; empty where there is none. */
  readonly name: string;
  readonly encoding: ReturnType<typeof encodingOf>;
  /** The body, still encoded; of a multipart all between its head and its end. A view of the message. */
  readonly raw: Buffer;
  readonly parts: readonly MimePart[];
};

/** All but the bytes. */
export type PartFields = Omit<MimePart, 'raw' | 'parts'>;

/** Words that mail programs write instead of a media type. */
const typesOfWords: ReadonlyMap<string, string> = new Map([
  ['text', 'text/plain'],
  ['plain', 'text/plain'],
  ['plain/text', 'text/plain'],
  ['text/text', 'text/plain'],
  ['html', 'text/html'],
  ['text/htm', 'text/html'],
  ['html/text', 'text/html'],
  ['application/xhtml+xml', 'text/html'],
  ['multipart', 'multipart/mixed'],
  ['message', 'message/rfc822'],
]);

/** `defaultType` is the type of a part without one; `charset` is for raw bytes in names. */
export function describePart(headers: readonly RawHeader[], charset: string | null, defaultType: string): PartFields {
  const contentType = readField(headers, 'content-type', charset);
  const disposition = readField(headers, 'content-disposition', charset);
  const name = nameOf(
    firstOf(disposition.parameters, 'filename', 'name'),
    firstOf(contentType.parameters, 'name', 'filename'),
  );
  return {
    headers,
    type: typeOf(contentType.value, name, defaultType),
    parameters: contentType.parameters,
    disposition: disposition.value === '' ? '' : (/^[\w-]+/u.exec(disposition.value)?.[0] ?? ''),
    name,
    encoding: encodingOf(firstRaw(headers, 'content-transfer-encoding') ?? ''),
  };
}

/** `filename` counts (RFC 2183 section 2.3), unless it lost characters that the older `name` still has. */
function nameOf(fileName: string, typeName: string): string {
  if (fileName === '' || (isLossy.test(fileName) && typeName !== '' && !isLossy.test(typeName))) return typeName;
  return fileName;
}

/** Some programs write the parameter of the other field. */
function firstOf(parameters: ReadonlyMap<string, string>, ...names: readonly string[]): string {
  return names.map((name) => parameters.get(name) ?? '').find((value) => value !== '') ?? '';
}

const isLossy = /[?\ufffd]/u;

const noField: ParameterField = { value: '', parameters: new Map() };

function readField(headers: readonly RawHeader[], name: string, charset: string | null): ParameterField {
  const raw = firstRaw(headers, name);
  return raw === null ? noField : readParameters(unfold(raw, charset), charset);
}

function typeOf(sent: string, name: string, defaultType: string): string {
  const word = /^[^\s;,]+/u.exec(sent)?.[0] ?? '';
  if (word === '') return name === '' ? defaultType : typeOfName(name);
  return typesOfWords.get(word) ?? word;
}

// Parameters, continued and percent-encoded ones too. libmime's parseHeaderValue lost: it drops the backslashes of
// Windows paths and all that follows a quote inside quotes. Also read: encoded words inside quotes, missing quotes, a
// missing semicolon, blanks in unquoted values. The first of two parameters of one name counts.

/** `value` is what precedes the first semicolon, in lower case; parameters by lower-case name, decoded. */
type ParameterField = { readonly value: string; readonly parameters: ReadonlyMap<string, string> };

const fieldLengthMax = 65_536;
const parametersMax = 500;

type RawParameter = { readonly name: string; readonly value: string };

/** `text` is the unfolded field, raw bytes decoded; `charset` is for percent-encoded values that declare none. */
function readParameters(text: string, charset: string | null): ParameterField {
  const semicolon = text.indexOf(';');
  const end = semicolon < 0 ? text.length : semicolon;
  const loose = looseStart.exec(text.slice(0, Math.min(end, fieldLengthMax)));
  const start = loose === null ? end + 1 : loose.index + loose[0].length;
  const sent = listParameters(text.slice(0, fieldLengthMax), start);
  return { value: firstWords(text.slice(0, loose?.index ?? end)), parameters: decodeParameters(sent, charset) };
}

/** Where parameters begin without a semicolon: after a comma or blank, or with the field. */
const looseStart = /(?:^|[\s,])\s{0,9}(?=(?:(?:file)?name(?:\*\d{0,2}\*?)?|charset|boundary)\s?=)/iu;

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
      if (!plain.has(name)) plain.set(name, name === 'boundary' ? value : decodePlain(value));
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

/** A value, also in the form of RFC 2231 without the star that announces it. */
function decodePlain(value: string): string {
  const [, charset, coded] = /^([\w-]{3,40})'[\w-]{0,40}'([^']*%[0-9a-f]{2}[^']*)$/iu.exec(value) ?? [];
  return charset === undefined || coded === undefined ? decodeWords(value) : decodeText(percentBytes(coded), charset);
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
  return Buffer.from(withoutEscapes(wide, /%([0-9a-f]{2})/giu), 'latin1');
}
