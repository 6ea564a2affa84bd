/**
 * TNEF attributes and the MAPI properties in them (MS-OXTNEF), and their values: text, numbers, times (MS-OXCDATA), and
 * compressed RTF (MS-OXRTFCP).
 *
 * No length and no count is trusted: a value that reaches past the end is cut there, an unreadable one ends the list.
 * Values are views of the bytes read. Checksums are ignored: a damaged file is better than none.
 */
import { decodeCodePage, decodeWholeText } from '../charset/decode.ts';

// Attributes

const signature = 0x223e9f78;
const headerBytes = 6;
/** Level, name and length before the value, checksum after it. */
const attributeHeadBytes = 9;
const attributeTailBytes = 2;

/** One attribute: `id` is the whole 32-bit identifier, type included. */
type TnefAttribute = { readonly level: number; readonly id: number; readonly value: Uint8Array };

/** The attributes in their order; null for bytes that are no TNEF. `onDamage`: something was cut off or appended. */
export function readAttributes(bytes: Uint8Array, onDamage: () => void): Iterable<TnefAttribute> | null {
  if (bytes.length < headerBytes || viewOf(bytes).getUint32(0, true) !== signature) return null;
  return attributesOf(bytes, onDamage);
}

function* attributesOf(bytes: Uint8Array, onDamage: () => void): Iterable<TnefAttribute> {
  const view = viewOf(bytes);
  let at = headerBytes;
  while (at + attributeHeadBytes <= bytes.length) {
    const level = view.getUint8(at);
    if (level !== 1 && level !== 2) break;
    const length = view.getUint32(at + 5, true);
    const start = at + attributeHeadBytes;
    yield { level, id: view.getUint32(at + 1, true), value: bytes.subarray(start, start + length) };
    at = start + length + attributeTailBytes;
  }
  // Padding may follow; anything else was appended by a gateway.
  if (at > bytes.length || bytes.subarray(at).some((byte) => byte > 0x20)) onDamage();
}

// Properties

/** One MAPI property: its type without the multi-value flag, and its first value. */
type MapiProperty = { readonly type: number; readonly value: Uint8Array };

/** Properties by id; named properties are left out. */
export type MapiProperties = ReadonlyMap<number, MapiProperty>;

const multiValueFlag = 0x1000;
const firstNamedProperty = 0x8000;

/** Bytes of a value by its type, padding included; types of variable length are not listed. */
const fixedBytes: ReadonlyMap<number, number> = new Map([
  ...[0x0000, 0x0001].map((type) => [type, 0] as const),
  ...[0x0002, 0x0003, 0x0004, 0x000a, 0x000b].map((type) => [type, 4] as const),
  ...[0x0005, 0x0006, 0x0007, 0x0014, 0x0040].map((type) => [type, 8] as const),
  [0x0048, 16],
]);

/** Types of variable length: object, 8-bit string, 16-bit string, binary. */
const variableLengthTypes: ReadonlySet<number> = new Set([0x000d, 0x001e, 0x001f, 0x0102]);

/** Properties of an attribute that holds a list of them (MS-OXTNEF section 2.1.3.4). The first of each id counts. */
export function readProperties(bytes: Uint8Array): MapiProperties {
  const found = new Map<number, MapiProperty>();
  const reader = { bytes, view: viewOf(bytes), at: 0 };
  let left = readNumber(reader);
  while (left !== null && left > 0 && reader.at + 4 <= bytes.length) {
    left -= 1;
    const tag = readNumber(reader) ?? 0;
    const number = tag >>> 16;
    if (number >= firstNamedProperty && !skipName(reader)) break;
    const property = readProperty(reader, tag & 0xffff);
    if (property === null) break;
    if (property !== 'empty' && number < firstNamedProperty && !found.has(number)) found.set(number, property);
  }
  return found;
}

type PropertyReader = { readonly bytes: Uint8Array; readonly view: DataView; at: number };

function readNumber(reader: PropertyReader): number | null {
  if (reader.at + 4 > reader.bytes.length) return null;
  reader.at += 4;
  return reader.view.getUint32(reader.at - 4, true);
}

/** Skips the name of a named property: a GUID, then a number or a string. */
function skipName(reader: PropertyReader): boolean {
  reader.at += 16;
  const kind = readNumber(reader);
  const numberOrLength = readNumber(reader);
  if (kind === null || numberOrLength === null) return false;
  if (kind === 1) reader.at += padded(numberOrLength);
  return true;
}

/** null when the property cannot be read; then nothing after it can be. */
function readProperty(reader: PropertyReader, typeWithFlag: number): MapiProperty | 'empty' | null {
  const type = typeWithFlag & ~multiValueFlag;
  const isPrefixed = variableLengthTypes.has(type);
  const size = fixedBytes.get(type);
  if (!isPrefixed && size === undefined) return null;
  let count: number | null = 1;
  if (isPrefixed || (typeWithFlag & multiValueFlag) !== 0) count = readNumber(reader);
  if (count === null) return null;
  let first: MapiProperty | 'empty' = 'empty';
  for (let index = 0; index < count && reader.at <= reader.bytes.length; index++) {
    const length = size ?? readNumber(reader);
    if (length === null) break;
    if (first === 'empty') first = { type, value: reader.bytes.subarray(reader.at, reader.at + length) };
    // A count of values without bytes would not end.
    if (length === 0 && size === 0) break;
    reader.at += padded(length);
  }
  return first;
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// Values

const utf16 = 1200;
const unicodeType = 0x001f;
const textTypes: ReadonlySet<number> = new Set([0x001e, unicodeType, 0x0102]);

/** The text of a property, without its closing NUL; null where it is no text. */
export function textIn(property: MapiProperty | undefined, codePage: number): string | null {
  if (property === undefined || !textTypes.has(property.type)) return null;
  if (property.type !== unicodeType) return decodeWholeText(untilNul(property.value), codePage);
  const text = decodeCodePage(property.value, utf16);
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
}

export function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}

/** null for text that is empty or white space. */
export function unlessEmpty(text: string | null): string | null {
  return text === null || text.trim() === '' ? null : text;
}

/** The first four bytes as a little-endian number; missing bytes count as 0. */
export function numberIn(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 0;
  return ((bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8) | ((bytes[2] ?? 0) << 16) | ((bytes[3] ?? 0) << 24)) >>> 0;
}

const millisecondsFrom1601To1970 = 11_644_473_600_000;
const latestMs = 8_640_000_000_000_000;

/** Milliseconds since 1970 of a FILETIME (100 ns since 1601); null for anything else. */
export function timeIn(property: MapiProperty | undefined): number | null {
  if (property?.type !== 0x0040 || property.value.length < 8) return null;
  const low = numberIn(property.value);
  const high = numberIn(property.value.subarray(4));
  const atMs = Math.floor((high * 0x1_0000_0000 + low) / 10_000) - millisecondsFrom1601To1970;
  return Math.abs(atMs) <= latestMs ? atMs : null;
}

// Compressed RTF (MS-OXRTFCP): LZFu, or stored as it is (MELA)

const compressedMark = 0x75465a4c;
const storedMark = 0x414c454d;
const rtfHeaderBytes = 16;
const dictionaryBytes = 4096;

/** Initial content of the dictionary (MS-OXRTFCP section 2.1.2.1). */
const initialDictionary =
  '{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans ' +
  'SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx';

/**
 * At most `lengthMax` bytes of RTF, and at most nine for each byte read: the sizes in the header are not trusted. A
 * stream that breaks off gives what came before; null for bytes that are neither compressed nor stored RTF.
 */
export function decompressRtf(bytes: Uint8Array, lengthMax: number): Uint8Array | null {
  if (bytes.length < rtfHeaderBytes) return null;
  const statedLength = numberIn(bytes.subarray(4));
  const mark = numberIn(bytes.subarray(8));
  const body = bytes.subarray(rtfHeaderBytes);
  if (mark === storedMark) return body.subarray(0, Math.min(statedLength, lengthMax));
  return mark === compressedMark ? inflate(body, Math.min(statedLength, lengthMax, body.length * 9)) : null;
}

/** Each flag byte is for eight tokens: a literal byte, or offset (12 bits) and length (4 bits) in the dictionary. */
function inflate(body: Uint8Array, lengthMax: number): Uint8Array {
  const dictionary = new Uint8Array(dictionaryBytes);
  dictionary.set(Buffer.from(initialDictionary, 'latin1'));
  let writeAt = initialDictionary.length;
  const output = new Uint8Array(lengthMax);
  let length = 0;
  const write = (byte: number): void => {
    output[length++] = byte;
    dictionary[writeAt] = byte;
    writeAt = (writeAt + 1) % dictionaryBytes;
  };

  let flags = 1;
  for (let readAt = 0; readAt < body.length && length < lengthMax; ) {
    // The bit above the eight flags marks when all of them are used.
    if (flags === 1) flags = 0x100 | (body[readAt++] ?? 0);
    const isReference = (flags & 1) === 1;
    flags >>= 1;
    const byte = body[readAt++] ?? 0;
    if (!isReference) {
      write(byte);
      continue;
    }
    const reference = (byte << 8) | (body[readAt++] ?? 0);
    const offset = reference >> 4;
    // A reference to the position that is written next is the end mark.
    if (offset === writeAt) break;
    const end = Math.min(lengthMax, length + (reference & 15) + 2);
    for (let from = offset; length < end; from++) write(dictionary[from % dictionaryBytes] ?? 0);
  }
  return output.subarray(0, length);
}
