/**
 * Reads address fields (RFC 5322 section 3.4): names and addresses in their order, groups flattened.
 *
 * The grammar is nodemailer's, which takes what mailers write instead of it. Names are decoded after they are cut out,
 * so that a comma within an encoded word parts nobody. Entries with neither name nor address are left out, and so is
 * what comes after `lengthMax` characters or `addressesMax` entries.
 */

import parseAddresses from 'nodemailer/lib/addressparser';
import type { Address } from '../message.ts';
import { decodeWords } from './encoded-words.ts';
import { declaredCharset, decodeField, firstRaw, plainLine, type RawHeader, splitMessage, unfold } from './headers.ts';

/** Of all fields of one name together; room for thousands of addresses. */
const lengthMax = 500_000;
/** Of all fields of one name together: more than any server delivers to. */
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

/** Nearly all fields: one address, and a name without any special character before it. */
const usual = /^([^"<>()@,;:\\[\]]{0,200})<([\w.+=-]{1,200}@[\w.-]{1,200})>$/u;

function listAddresses(value: string): readonly Address[] {
  const [, name, address] = usual.exec(value) ?? [];
  if (name !== undefined && address !== undefined) return decodeEntry({ name: name.trim(), address });
  return parseAddresses(value, { flatten: true })
    .flatMap(decodeEntry)
    .filter((one) => one.name !== '' || one.address !== '');
}

function decodeEntry({ name, address }: Address): readonly Address[] {
  const decodedName = decode(name);
  // Some programs encode the whole field, brackets and all.
  if (address === '' && decodedName !== name && decodedName.includes('@')) {
    return parseAddresses(decodedName, { flatten: true }).map((one) => ({
      name: plainLine(one.name),
      address: plainLine(one.address),
    }));
  }
  // A dot at the end belongs to the sentence around it, not to the domain (RFC 5321 section 2.3.5).
  return [{ name: decodedName, address: decode(address).replace(/\.$/u, '') }];
}

const decode = (text: string) => plainLine(text.includes('=?') ? decodeWords(text) : text);

/**
 * Reads the Message-IDs of Message-ID, In-Reply-To and References fields (RFC 5322 section 3.6.4), broken ones too.
 *
 * What stands in angle brackets is an id, white space inside it dropped. Where a field has no bracket at all, each
 * word with an @ is taken, and for a Message-ID field whatever is there. It never fails: nothing readable is no id.
 */

/** References of a long thread; the nearest ones are kept. */
const idsMax = 1000;

const notInIds = /[\s\u0000-\u001f\u007f-\u009f]+/gu;
const bracketed = /<([^<>]*)(?:>|$|(?=<))/gu;
const comment = /\([^()]*\)/gu;

const tidy = (id: string) => id.replace(notInIds, '');

/** Ids without brackets, in the order of the field, each once. `value` is the unfolded field. */
export function readMessageIds(value: string): readonly string[] {
  const inBrackets = [...value.matchAll(bracketed)].map((match) => tidy(match[1] ?? '')).filter((id) => id !== '');
  const ids = inBrackets.length > 0 ? inBrackets : bareIds(value);
  return [...new Set(ids)].slice(-idsMax);
}

function bareIds(value: string): readonly string[] {
  const words = value.replace(comment, ' ').split(/[\s,;<>"]+/u);
  return words.map(tidy).filter((word) => /.@./u.test(word));
}

/** The id of a Message-ID field, or null where there is none. */
export function readMessageId(value: string): string | null {
  return readMessageIds(value)[0] ?? (tidy(value.replace(comment, ' ').replace(/[<>]/gu, '')) || null);
}

/**
 * Reads the Date field (RFC 5322 sections 3.3 and 4.3).
 *
 * Tolerates what mailers write: no weekday, two-digit years, no seconds, named zones, dots between the digits, the
 * order of C's `asctime`, ISO 8601. A missing or unknown zone counts as UTC, never as the zone of this machine.
 * Impossible dates and those before 1970 are unreadable.
 */

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** RFC 5322 section 4.3, hours east of Greenwich. */
const zoneHours: Readonly<Record<string, number>> = {
  est: -5,
  edt: -4,
  cst: -6,
  cdt: -5,
  mst: -7,
  mdt: -6,
  pst: -8,
  pdt: -7,
};

const usualDate =
  /(?<day>\d{1,2})[\s.-]+(?<month>[a-z]{3})[a-z]*[\s.,-]+(?<year>\d{2,4})[\s,]+(?<hour>\d{1,2})[:.](?<minute>\d{1,2})(?:[:.](?<second>\d{1,2}))?(?:\.\d+)?\s*(?<zone>[+-]\s?\d{4}|[a-z]{1,5})?/iu;
const asctime =
  /(?<month>[a-z]{3})\s+(?<day>\d{1,2}),?\s+(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}))?\s+(?<zone>[a-z]{1,5}\s+)?(?<year>\d{4})/iu;
const iso =
  /(?<year>\d{4})-(?<month>\d{2})-(?<day>\d{2})[\sT]+(?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2}))?(?:\.\d+)?\s*(?<zone>[+-]\d{2}:?\d{2}|Z)?/u;

/** Milliseconds since 1970 (UTC), or null. `value` is the unfolded field. */
export function readSentAt(value: string): number | null {
  const text = value.slice(0, 200);
  const groups = (usualDate.exec(text) ?? asctime.exec(text) ?? iso.exec(text))?.groups;
  if (groups === undefined) return null;
  const number = (name: string) => Number(groups[name] ?? 0);
  const year = fullYear(number('year'), groups.year?.length ?? 0);
  const month = readMonth(groups.month ?? '');
  const [day, hour, minute, second] = [number('day'), number('hour'), number('minute'), number('second')];
  if (month < 0 || month > 11 || hour > 23 || minute > 59 || second > 60) return null;
  const localMs = Date.UTC(year, month, day, hour, minute, second);
  if (new Date(Date.UTC(year, month, day)).getUTCDate() !== day) return null;
  const ms = localMs - zoneMinutes(groups.zone ?? '') * 60_000;
  return ms < 0 ? null : ms;
}

/** RFC 5322 section 4.3: 00 to 49 is 20xx, 50 to 99 is 19xx, three digits are years since 1900. */
function fullYear(year: number, digits: number): number {
  if (digits === 4) return year;
  return digits === 2 && year < 50 ? year + 2000 : year + 1900;
}

function readMonth(text: string): number {
  return /^\d/u.test(text) ? Number(text) - 1 : months.indexOf(text.toLowerCase());
}

function zoneMinutes(zone: string): number {
  const numeric = /(?<sign>[+-])\s?(?<hours>\d{2}):?(?<minutes>\d{2})/u.exec(zone)?.groups;
  if (numeric === undefined) return (zoneHours[zone.trim().toLowerCase()] ?? 0) * 60;
  const minutes = Number(numeric.hours) * 60 + Number(numeric.minutes);
  return numeric.sign === '-' ? -minutes : minutes;
}

/**
 * Who sent a mail and what it is about, from the first bytes of it: for lists of mails that could not be parsed.
 *
 * Works on any bytes, also when they end in the middle of the header; what is not there is empty. It never fails.
 */

export type HeaderSummary = {
  /** The From field as text. */
  readonly from: string;
  /** The address in it, lower case; empty where there is none. */
  readonly address: string;
  readonly subject: string;
};

const headBytesMax = 256 * 1024;
const fieldLengthMax = 2000;

export function readHeaderSummary(source: Uint8Array): HeaderSummary {
  const mail = splitMessage(source.subarray(0, headBytesMax));
  const charset = declaredCharset(mail);
  const field = (name: string) => decodeField((firstRaw(mail.headers, name) ?? '').slice(0, fieldLengthMax), charset);
  const from = field('from');
  return { from, address: addressIn(from), subject: field('subject') };
}

/** null where there is none. The same as the parser finds. */
export function messageIdIn(source: Uint8Array): string | null {
  const mail = splitMessage(source.subarray(0, headBytesMax));
  const raw = (firstRaw(mail.headers, 'message-id') ?? '').slice(0, fieldLengthMax);
  return readMessageId(unfold(raw, declaredCharset(mail)));
}

/** What stands in the last angle brackets, else the first word with an at sign. */
function addressIn(from: string): string {
  const end = from.lastIndexOf('>');
  const start = from.lastIndexOf('<', end);
  const inBrackets = start >= 0 && end > start ? from.slice(start + 1, end).trim() : null;
  const word = inBrackets ?? from.split(/[\s,;]/u).find((one) => one.includes('@')) ?? '';
  return word.toLowerCase();
}
