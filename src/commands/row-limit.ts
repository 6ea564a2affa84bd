/**
 * Row limit (`--limit`) of commands that list the newest rows.
 */

import type { Terminal } from '../adapters/terminal/terminal.ts';
import { wholeNumber } from '../config/option-values.ts';
import type { CommonOptions } from './context.ts';

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
