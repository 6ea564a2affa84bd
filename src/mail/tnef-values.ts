/** Decodes values of TNEF attributes and MAPI properties (MS-OXCDATA section 2.11.1): text, numbers, times. */
import { decodeCodePage, decodeWhole } from './code-pages.ts';
import type { MapiProperty } from './tnef-attributes.ts';

const utf16 = 1200;
const unicodeType = 0x001f;
const textTypes: ReadonlySet<number> = new Set([0x001e, unicodeType, 0x0102]);

/** The text of a property, without its closing NUL; null where it is no text. */
export function textIn(property: MapiProperty | undefined, codePage: number): string | null {
  if (property === undefined || !textTypes.has(property.type)) return null;
  if (property.type !== unicodeType) return decodeWhole(untilNul(property.value), codePage);
  const text = decodeCodePage(property.value, utf16);
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
}

/** What stands before the first NUL. */
export function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}

/** Null for what is empty, or only white space. */
export function unlessEmpty(text: string | null): string | null {
  return text === null || text.trim() === '' ? null : text;
}

/** The first 32 bits as a number, fewer where there are fewer; 0 for nothing. */
export function numberIn(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 0;
  return ((bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8) | ((bytes[2] ?? 0) << 16) | ((bytes[3] ?? 0) << 24)) >>> 0;
}

const millisecondsFrom1601To1970 = 11_644_473_600_000;
const latestMs = 8_640_000_000_000_000;

/** Milliseconds since 1970 of a FILETIME (100 ns since 1601); null for what is none. */
export function timeIn(property: MapiProperty | undefined): number | null {
  if (property?.type !== 0x0040 || property.value.length < 8) return null;
  const low = numberIn(property.value);
  const high = numberIn(property.value.subarray(4));
  const atMs = Math.floor((high * 0x1_0000_0000 + low) / 10_000) - millisecondsFrom1601To1970;
  return Math.abs(atMs) <= latestMs ? atMs : null;
}
