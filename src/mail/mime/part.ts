/**
 * MIME part: type, parameters, disposition, file name and transfer encoding (RFC 2045, RFC 2183), read from its fields.
 *
 * Missing and malformed fields are filled in as the standards and the habits of mail programs say. Never fails.
 */
import { typeOfName } from './attachments.ts';
import { firstRaw, type RawHeader, unfold } from './headers.ts';
import { type ParameterField, readParameters } from './parameters.ts';
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

const typeStart = /^[^\s;,]+/u;

/** `defaultType` is the type of a part without one; `charset` is for raw bytes in names. */
export function describePart(headers: readonly RawHeader[], charset: string | null, defaultType: string): PartFields {
  const contentType = readField(headers, 'content-type', charset);
  const disposition = readField(headers, 'content-disposition', charset);
  const name = nameOf(disposition.parameters.get('filename') ?? '', contentType.parameters.get('name') ?? '');
  const word = disposition.value === '' ? '' : (/^[\w-]+/u.exec(disposition.value)?.[0] ?? '');
  return {
    headers,
    type: typeOf(contentType.value, name, defaultType),
    parameters: contentType.parameters,
    disposition: word,
    name,
    encoding: encodingOf(firstRaw(headers, 'content-transfer-encoding') ?? ''),
  };
}

/** `filename` counts (RFC 2183 section 2.3), unless it lost characters that the older `name` still has. */
function nameOf(fileName: string, typeName: string): string {
  if (fileName === '' || (isLossy.test(fileName) && typeName !== '' && !isLossy.test(typeName))) return typeName;
  return fileName;
}

const isLossy = /[?\ufffd]/u;

const noField: ParameterField = { value: '', parameters: new Map() };

function readField(headers: readonly RawHeader[], name: string, charset: string | null): ParameterField {
  const raw = firstRaw(headers, name);
  return raw === null ? noField : readParameters(unfold(raw, charset), charset);
}

function typeOf(sent: string, name: string, defaultType: string): string {
  const word = typeStart.exec(sent)?.[0] ?? '';
  if (word === '') return name === '' ? defaultType : typeOfName(name);
  return typesOfWords.get(word) ?? word;
}
