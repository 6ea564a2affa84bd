/**
 * Statements of bounded size (multi-row INSERT, chunks of keys), transactions with retry, and binding of store methods.
 *
 * Small rows are inserted together. Larger ones go in a few fixed sizes, so that their statements stay prepared, and a
 * row above the size limit goes alone. The text that all rows of the same columns share is compiled once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CompiledQuery, type InsertObject } from 'kysely';
import { Failure } from '../../../errors.ts';
import type { SqlDialect } from './dialect.ts';
import { isTransient } from './errors.ts';
import { type SqlExecutor, type Tables, withDialect } from './tables.ts';

type Row = Readonly<Record<string, unknown>>;

/** An INSERT of one row, and the text that every further row adds. */
type Statement = { readonly one: CompiledQuery; readonly further: string };

/** Compiled statements by table and columns; each dialect has its own, because `now` is part of the text. */
const compiled = new WeakMap<SqlDialect, Map<string, Statement>>();

export async function insertRows<T extends keyof Tables & string>(
  db: SqlExecutor,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): Promise<void> {
  for (const chunk of insertChunks(rows, db.dialect)) await db.executeQuery(insertOf(db, table, chunk));
}

/**
 * Chunks of rows: all that remain where those are small, else the largest of the sizes within the limit; a larger row
 * goes alone.
 */
export function* insertChunks<R extends object>(rows: readonly R[], dialect: SqlDialect): Iterable<readonly R[]> {
  const unitsMax = dialect.insertUnitsMax();
  const units = unitsBefore(rows);
  const unitsIn = (from: number, to: number) => (units[to] ?? 0) - (units[from] ?? 0);
  for (let at = 0; at < rows.length; ) {
    const from = at;
    const left = rows.length - from;
    const fits = (size: number) => size <= left && unitsIn(from, from + size) <= unitsMax;
    const isSmall = unitsIn(from, rows.length) <= Math.min(dialect.smallInsertUnitsMax, unitsMax);
    const size = isSmall ? left : (dialect.insertSizes.find(fits) ?? 1);
    yield rows.slice(at, at + size);
    at += size;
  }
}

/** Prefix sums of the row sizes, in UTF-16 units. */
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
  db: SqlExecutor,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): CompiledQuery {
  const first: Row = rows[0] ?? {};
  const columns = Object.keys(first);
  const parameters = parametersOf(rows, columns, db.dialect.now);
  if (parameters === null) return db.insertInto(table).values(rows).compile();
  const cached = compiled.get(db.dialect) ?? new Map<string, Statement>();
  compiled.set(db.dialect, cached);
  const key = [table, ...columns.map((column) => (first[column] === db.dialect.now ? `${column}=now` : column))].join(
    ' ',
  );
  const statement = cached.get(key) ?? statementOf(db.insertInto(table).values(rows.slice(0, 1)).compile().sql);
  cached.set(key, statement);
  return { ...statement.one, sql: statement.one.sql + statement.further.repeat(rows.length - 1), parameters };
}

function statementOf(sql: string): Statement {
  const values = ' values (';
  return { one: CompiledQuery.raw(sql), further: `, ${sql.slice(sql.indexOf(values) + values.length - 1)}` };
}

/** Every value but `now`, in statement order; null when the rows differ in more than their values. */
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

const keysPerQuery = 500;

/** `values` in their order, in chunks of one query each: a statement takes a limited number of values. */
export function* chunks<T>(values: readonly T[]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; at += keysPerQuery) yield values.slice(at, at + keysPerQuery);
}

/** Rows of one query for each chunk of `values`, in order. */
export async function rowsInChunks<T, Row>(
  values: readonly T[],
  query: (chunk: readonly T[]) => { execute(): Promise<readonly Row[]> },
): Promise<Row[]> {
  const found: (readonly Row[])[] = [];
  for (const chunk of chunks(values)) found.push(await query(chunk).execute());
  return found.flat();
}

/** `values` in their order, each chunk as long as one of `sizes`, the largest that fits: few different statements. */
export function* chunksOfSizes<T>(values: readonly T[], sizes: readonly [number, ...number[]]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; ) {
    const size = sizes.find((one) => one <= values.length - at) ?? 1;
    yield values.slice(at, at + size);
    at += size;
  }
}

/*
 * Transaction retry: after a deadlock, a lock timeout, or a certification conflict at the commit on Galera. Five
 * attempts within 20 s, with a random pause before each retry; then `database_conflict`. After a connection that broke
 * during the commit the result is unknown, so nothing is retried: `database_unavailable`.
 */

const triesMax = 5;
const retryMsMax = 20_000;
const pauseMs = 10;

/** `work` runs again in each attempt. It must use its transaction alone: SQLite has only that connection. */
export async function inTransaction<T>(db: SqlExecutor, work: (transaction: SqlExecutor) => Promise<T>): Promise<T> {
  return withRetries(
    () => db.transaction().execute((transaction) => work(withDialect(transaction, db.dialect))),
    isTransient,
  );
}

/** Repeats `work` while `isRetryable` accepts its failure. */
export async function withRetries<T>(work: () => Promise<T>, isRetryable: (failure: Failure) => boolean): Promise<T> {
  const endMs = performance.now() + retryMsMax;
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure && isRetryable(error))) throw error;
      if (tries === triesMax || performance.now() > endMs) throw error;
    }
    // Jitter, so that two conflicting transactions do not meet again.
    await sleep(Math.random() * pauseMs * 2 ** tries);
  }
}

type DatabaseFunctions = Readonly<Record<string, (db: SqlExecutor, ...rest: never[]) => unknown>>;
type Bound<F extends DatabaseFunctions> = {
  readonly [K in keyof F]: F[K] extends (db: SqlExecutor, ...rest: infer R) => infer T ? (...rest: R) => T : never;
};

/** Store methods: the same functions without their first argument, which is `db`. */
export function bindDatabase<F extends DatabaseFunctions>(db: SqlExecutor, functions: F): Bound<F> {
  const bound = Object.entries(functions).map(([name, run]) => [name, run.bind(null, db)]);
  return Object.fromEntries(bound) as Bound<F>;
}
