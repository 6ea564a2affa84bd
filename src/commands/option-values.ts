/**
 * Option values: validation rules that several commands share, and `--limit` of commands that list the newest rows.
 *
 * Each mistake is one `usage` failure with the option, what is allowed, and what was given.
 */

import type { Terminal } from '../adapters/terminal/terminal.ts';
import { Failure } from '../errors.ts';
import type { CommonOptions } from './context.ts';

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

/** `rule`: "must be …". */
export function wrongValue(option: string, rule: string, given: string): Failure {
  return new Failure('usage', `${option} ${rule}, not ${quoted(given)}`);
}

/** In quotation marks, at most 100 characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

export type LimitOptions = CommonOptions & { readonly limit?: string };

const limitForPeople = 50;
const limitMax = 2_147_483_647;

/** All rows for scripts (`--json`), the newest 50 for people, unless `--limit` is given. Throws `usage`. */
export function readLimit({ limit, json }: LimitOptions): number {
  if (limit === undefined) return json === true ? limitMax : limitForPeople;
  return wholeNumber('--limit', limit, 1, 999_999_999);
}

/** Notes that there may be older rows than the `count` shown ones. */
export function noteLimit({ limit, json }: LimitOptions, count: number, terminal: Terminal): void {
  if (json === true || limit !== undefined || count < limitForPeople) return;
  terminal.note(`These are the newest ${count}; --limit shows more.`);
}
