/**
 * Bounded column selection: texts cut in the database, numbers as text, for tables that are read often or whole.
 *
 * Another program may alter a column to a long text, or to another type, and may add columns: what is selected is
 * named, and one character longer than its limit at most, which is enough to see that a value is none of our own.
 */
import { type AliasedRawBuilder, sql } from 'kysely';

/** Limits in characters. Keywords, hex digits, times: no valid one is as long. */
export const wordCharacters = 64;
export const nameCharacters = 255;
/** Of an integer with 64 bits and its sign. */
const digits = 24;

type Selection<C extends string> = AliasedRawBuilder<string | null, C>;

/** Selects texts by their limits in characters. */
export function boundedTexts<C extends string>(table: string, limits: Readonly<Record<C, number>>): Selection<C>[] {
  const columns = Object.keys(limits) as C[];
  return columns.map((column) =>
    sql<string | null>`substr(${sql.ref(`${table}.${column}`)}, 1, ${sql.lit(limits[column] + 1)})`.as(column),
  );
}

/** Selects integers as text: the SQLite driver refuses those beyond the safe range of JavaScript. */
export function boundedNumbers<C extends string>(table: string, ...columns: readonly C[]): Selection<C>[] {
  return columns.map((column) =>
    sql<string | null>`cast(${sql.ref(`${table}.${column}`)} as char(${sql.lit(digits)}))`.as(column),
  );
}

/** Empty for a value of another type. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** null for NULL and a value of another type. */
export function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** NaN for anything but a safe integer. */
export function integerOf(value: unknown): number {
  const number = /^-?\d{1,16}$/.test(textOf(value)) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(number) ? number : Number.NaN;
}
