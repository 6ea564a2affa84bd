/**
 * Structured header fields (RFC 5322): address lists (section 3.4), message identifiers (3.6.4) and dates (3.3 and
 * 4.3).
 *
 * nodemailer's address parser splits address fields, since it accepts what mail programs write; names are decoded after
 * that, so that a comma within an encoded word separates nothing. Bounded: 500,000 characters and 5,000 addresses per
 * field name, 1,000 message identifiers. What cannot be read is left out or null; never fails.
 */
import parseAddresses from 'nodemailer/lib/addressparser';
import type { Address } from '../message.ts';
import { decodeWords, plainLine, type RawHeader, unfold } from './headers.ts';

// Address lists

/** Characters of all fields of one name together; room for thousands of addresses. */
const lengthMax = 500_000;
/** Addresses of all fields of one name together: more than any server delivers to. */
const addressesMax = 5_000;

/** All addresses of every field of that name. `charset` is for raw bytes. */
export function readAddresses(headers: readonly RawHeader[], name: string, charset: string | null): readonly Address[] {
  const addresses: Address[] = [];
  let length = 0;
  for (const [field, rawValue] of headers) {
    if (field !== name || length >= lengthMax || addresses.length >= addressesMax) continue;
    for (const address of listAddresses(unfold(rawValue.slice(0, lengthMax - length), charset))) {
      if (addresses.length < addressesMax) addresses.push(address);
    }
    length += rawValue.length;
  }
  return addresses;
}

/** Fast path for nearly all fields: one address, after a name without special characters. */
const simpleAddress = /^([^"<>()@,;:\\[\]]{0,200})<([\w.+=-]{1,200}@[\w.-]{1,200})>$/u;

function listAddresses(value: string): readonly Address[] {
  const [, name, address] = simpleAddress.exec(value) ?? [];
  if (name !== undefined && address !== undefined) return decodeEntry({ name: name.trim(), address });
  return parseAddresses(value, { flatten: true })
    .flatMap(decodeEntry)
    .filter((one) => one.name !== '' || one.address !== '');
}

function decodeEntry({ name, address }: Address): readonly Address[] {
  const decodedName = decodePhrase(name);
  // Some programs encode the whole field, brackets included.
  if (address === '' && decodedName !== name && decodedName.includes('@')) {
    return parseAddresses(decodedName, { flatten: true }).map((one) => ({
      name: shownName(plainLine(one.name)),
      address: plainLine(one.address),
    }));
  }
  // A dot at the end belongs to the sentence around it, not to the domain (RFC 5321 section 2.3.5).
  return [{ name: shownName(decodedName), address: decodePhrase(address).replace(/\.$/u, '') }];
}

/** Directional embeddings, overrides and isolates (Unicode TR36), and what is never drawn; joiners and marks stay. */
const misleading = /[\u00ad\u200b\u202a-\u202e\u2060-\u2069\ufeff]/gu;

/** A display name without characters that let it look like another, or like an address (CWE-451). */
function shownName(name: string): string {
  return name.replace(misleading, '').trim();
}

const decodePhrase = (text: string) => plainLine(text.includes('=?') ? decodeWords(text) : text);

// Message identifiers

/** Identifiers of a long References field; the nearest ones stay. */
const idsMax = 1000;

const blanksAndControls = /[\s\u0000-\u001f\u007f-\u009f]+/gu;
const bracketed = /<([^<>]*)(?:>|$|(?=<))/gu;
const comment = /\([^()]*\)/gu;

const withoutBlanks = (id: string) => id.replace(blanksAndControls, '');

/**
 * Identifiers without brackets, in the order of the field, each once. `value` is the unfolded field. Where it has no
 * brackets at all, each word with an @ is an identifier.
 */
export function readMessageIds(value: string): readonly string[] {
  const inBrackets = [...value.matchAll(bracketed)]
    .map((match) => withoutBlanks(match[1] ?? ''))
    .filter((id) => id !== '');
  const ids = inBrackets.length > 0 ? inBrackets : bareIds(value);
  return [...new Set(ids)].slice(-idsMax);
}

function bareIds(value: string): readonly string[] {
  const words = value.replace(comment, ' ').split(/[\s,;<>"]+/u);
  return words.map(withoutBlanks).filter((word) => /.@./u.test(word));
}

/** The identifier of a Message-ID field, which may be any text; null where it is empty. */
export function readMessageId(value: string): string | null {
  return readMessageIds(value)[0] ?? (withoutBlanks(value.replace(comment, ' ').replace(/[<>]/gu, '')) || null);
}

// Dates

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** Obsolete zones (RFC 5322 section 4.3), hours east of UTC. */
const zoneHours: Readonly<Record<string, number>> = {
  ...{ est: -5, edt: -4, cst: -6, cdt: -5 },
  ...{ mst: -7, mdt: -6, pst: -8, pdt: -7 },
};

/** A time of day, with the half of the day that American programs add, and a zone. */
const timeOfDay =
  '(?<hour>\\d{1,2})[:.](?<minute>\\d{1,2})(?:[:.](?<second>\\d{1,2}))?(?:\\.\\d+)?(?:\\s{0,3}(?<half>[ap])\\.?m\\b\\.?)?';
const zone = '\\s{0,9}(?<zone>(?:(?:gmt|utc)\\s?)?[+-]\\s?\\d{2}:?\\d{2}|[a-z]{1,5})?';

/** Forms of a date, the first that fits counts; of digits with slashes the month is first, with dots the day is. */
const dateForms: readonly RegExp[] = [
  `(?<day>\\d{1,2})[\\s.-]+(?<month>[a-z]{3})[a-z]*[\\s.,-]+(?<year>\\d{2,4})[\\s,]+${timeOfDay}${zone}`,
  `(?<month>[a-z]{3})[a-z]*\\.?\\s+(?<day>\\d{1,2})(?:st|nd|rd|th)?,?\\s+(?<year>\\d{4})[\\s,]+(?:at\\s+)?${timeOfDay}${zone}`,
  `(?<month>[a-z]{3})[a-z]*\\s+(?<day>\\d{1,2}),?\\s+${timeOfDay}\\s+(?<zone>[a-z]{1,5}\\s+)?(?<year>\\d{4})(?:\\s+(?<offset>[+-]\\d{4}))?`,
  `(?<year>\\d{4})[-/](?<month>\\d{1,2})[-/](?<day>\\d{1,2})[\\sT]+${timeOfDay}${zone}`,
  `(?<month>\\d{1,2})/(?<day>\\d{1,2})/(?<year>\\d{4})[\\s,]+${timeOfDay}${zone}`,
  `(?<day>\\d{1,2})[./](?<month>\\d{1,2})[./](?<year>\\d{4})[\\s,]+${timeOfDay}${zone}`,
].map((form) => new RegExp(form, 'iu'));

/**
 * Milliseconds since 1970 (UTC) of a Date field; null for a missing, impossible or older date. `value` is the unfolded
 * field. Also read: no weekday, no seconds, dots between the digits, AM and PM, the month first, C's `asctime`, ISO
 * 8601, digits alone. A missing or unknown zone counts as UTC, never as the local zone.
 */
export function readSentAt(value: string): number | null {
  const text = value.slice(0, 200);
  for (const form of dateForms) {
    const groups = form.exec(text)?.groups;
    const ms = groups === undefined ? null : timeOf(groups);
    if (ms !== null) return ms < 0 ? null : ms;
  }
  return null;
}

/** null: there is no such day or time. */
function timeOf(groups: Readonly<Partial<Record<string, string>>>): number | null {
  const number = (name: string) => Number(groups[name] ?? 0);
  const year = fullYear(number('year'), groups['year']?.length ?? 0);
  const { month: named = '', half } = groups;
  const month = /^\d/u.test(named) ? Number(named) - 1 : months.indexOf(named.toLowerCase());
  const [day, hour, minute, second] = [number('day'), number('hour'), number('minute'), number('second')];
  if (month < 0 || month > 11 || hour > 23 || minute > 59 || second > 60) return null;
  const localMs = Date.UTC(year, month, day, hourOfDay(hour, half), minute, second);
  if (new Date(Date.UTC(year, month, day)).getUTCDate() !== day) return null;
  return localMs - zoneMinutes(groups['offset'] ?? groups['zone'] ?? '') * 60_000;
}

/** 12 AM is midnight, 12 PM noon; an hour above 12 says which half it is. */
function hourOfDay(hour: number, half: string | undefined): number {
  if (half === undefined || hour > 12) return hour;
  return (hour % 12) + (half.toLowerCase() === 'p' ? 12 : 0);
}

/** RFC 5322 section 4.3: 00 to 49 is 20xx, 50 to 99 is 19xx, three digits are years since 1900. */
function fullYear(year: number, digits: number): number {
  if (digits === 4) return year;
  return digits === 2 && year < 50 ? year + 2000 : year + 1900;
}

function zoneMinutes(zone: string): number {
  const numeric = /(?<sign>[+-])\s?(?<hours>\d{2}):?(?<minutes>\d{2})/u.exec(zone)?.groups;
  if (numeric === undefined) return (zoneHours[zone.trim().toLowerCase()] ?? 0) * 60;
  const minutes = Number(numeric.hours) * 60 + Number(numeric.minutes);
  return numeric.sign === '-' ? -minutes : minutes;
}
