/**
 * Many rows into a table, in few statements of bounded size.
 *
 * Small rows go all in one. Larger ones go in few sizes, so that their statements stay prepared, and a row that is larger
 * than a statement may be goes alone. What is the same for all rows of the same columns is compiled once.
 */
import { CompiledQuery, type InsertObject } from 'kysely';
import type { DialectWords } from './dialect-words.ts';
import type { Connected, Tables } from './tables.ts';

type Row = Readonly<Record<string, unknown>>;

/** An INSERT of one row, and what every further row adds to it. */
type Statement = { readonly one: CompiledQuery; readonly further: string };

/** By table and columns. The database's own time is part of a statement, so each dialect has its own. */
const statements = new WeakMap<DialectWords, Map<string, Statement>>();

export async function insertRows<T extends keyof Tables & string>(
  db: Connected,
  words: DialectWords,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): Promise<void> {
  for (const chunk of chunks(rows, words)) await db.executeQuery(insertOf(db, words, table, chunk));
}

/**
 * Stretches of rows: all the rest where that is small, else as long as one of the sizes and no larger than the dialect
 * likes; a larger row goes alone.
 */
export function* chunks<R extends object>(rows: readonly R[], words: DialectWords): Iterable<readonly R[]> {
  const unitsMax = words.insertUnitsMax();
  const units = unitsBefore(rows);
  const unitsIn = (from: number, to: number) => (units[to] ?? 0) - (units[from] ?? 0);
  for (let at = 0; at < rows.length; ) {
    const from = at;
    const left = rows.length - from;
    const fits = (size: number) => size <= left && unitsIn(from, from + size) <= unitsMax;
    const isSmall = unitsIn(from, rows.length) <= Math.min(words.smallInsertUnitsMax, unitsMax);
    const size = isSmall ? left : (words.insertSizes.find(fits) ?? 1);
    yield rows.slice(at, at + size);
    at += size;
  }
}

/** For each row, and for the end, how large all before it are together. */
function unitsBefore(rows: readonly object[]): readonly number[] {
  const before = [0];
  let units = 0;
  for (const row of rows) {
    for (const value of Object.values(row)) units += typeof value === 'string' ? value.length + 4 : 24;
    before.push(units);
  }
  return before;
}

function insertOf<T extends keyof Tables & string>(
  db: Connected,
  words: DialectWords,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): CompiledQuery {
  const first: Row = rows[0] ?? {};
  const columns = Object.keys(first);
  const parameters = parametersOf(rows, columns, words.now);
  if (parameters === null) return db.insertInto(table).values(rows).compile();
  const known = statements.get(words) ?? new Map<string, Statement>();
  statements.set(words, known);
  const key = [table, ...columns.map((column) => (first[column] === words.now ? `${column}=now` : column))].join(' ');
  const statement = known.get(key) ?? statementOf(db.insertInto(table).values(rows.slice(0, 1)).compile().sql);
  known.set(key, statement);
  return { ...statement.one, sql: statement.one.sql + statement.further.repeat(rows.length - 1), parameters };
}

function statementOf(sql: string): Statement {
  const values = ' values (';
  return { one: CompiledQuery.raw(sql), further: `, ${sql.slice(sql.indexOf(values) + values.length - 1)}` };
}

/** Every value but `now`, in the order of the statement; null when the rows differ in more than their values. */
function parametersOf(rows: readonly Row[], columns: readonly string[], now: unknown): readonly unknown[] | null {
  const parameters: unknown[] = [];
  const isNow = columns.map((column) => rows[0]?.[column] === now);
  for (const row of rows) {
    if (Object.keys(row).length !== columns.length) return null;
    for (const [index, column] of columns.entries()) {
      const value = row[column];
      if ((value === now) !== isNow[index] || !(value === now || isPlain(value))) return null;
      if (value !== now) parameters.push(value);
    }
  }
  return parameters;
}

function isPlain(value: unknown): boolean {
  return value === null || typeof value === 'string' || typeof value === 'number' || value instanceof Uint8Array;
}
