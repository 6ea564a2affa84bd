/**
 * Option values: validation rules for texts that a person gives, on the command line or in a form.
 *
 * Each mistake is one `usage` failure with the option, what is allowed, and what was given.
 */

import { Failure } from '../errors.ts';

/** Throws `usage`. `unit` is part of the rule. */
export function wholeNumber(option: string, text: string, from: number, to: number, unit?: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= from && value <= to) return value;
  const kind = unit === undefined ? 'a whole number' : `a whole number of ${unit}`;
  throw wrongValue(option, `must be ${kind} from ${from} to ${to}`, text);
}

/** Throws `usage`. */
export function oneLine(option: string, text: string): string {
  if (text !== '' && text.length <= 1000 && !/\p{Cc}/u.test(text)) return text.normalize('NFC');
  throw wrongValue(option, 'must be a text on one line', text);
}

/** Throws `usage`. */
export function oneOf<const T extends string>(option: string, text: string, words: readonly T[]): T {
  const word = words.find((one) => one === text);
  if (word !== undefined) return word;
  throw wrongValue(option, `must be ${words.join(', ')}`, text);
}

/** What is allowed as a fingerprint of a certificate. */
export const fingerprintForm = 'a SHA-256 fingerprint, 64 hexadecimal digits, colons allowed';

/** The 64 digits, lower case, of a fingerprint as openssl and browsers show it; null: it is none. */
export function fingerprintDigits(text: string): string | null {
  const digits = text
    .replace(/^sha-?256(?: fingerprint)?[:=]/i, '')
    .replaceAll(/[:\s]/g, '')
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(digits) ? digits : null;
}

/** `rule`: "must be …". */
export function wrongValue(option: string, rule: string, given: string): Failure {
  return new Failure('usage', `${option} ${rule}, not ${quoted(given)}`);
}

/** In quotation marks, at most 100 characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
