/**
 * The few words in which the two dialects differ, as SQL fragments, and how large an INSERT each of them likes.
 *
 * The clock is the database's own: leases and due times of several workers are compared with one clock.
 */
import { CompiledQuery, type InsertObject, type RawBuilder, sql } from 'kysely';
import type { SqlExecutor, Tables } from './tables.ts';

export type SqlDialect = {
  readonly kind: 'mysql' | 'sqlite';
  readonly now: RawBuilder<string>;
  /** The time that many milliseconds from now. */
  nowPlus(ms: number): RawBuilder<string>;
  /** How many rows an INSERT may have, largest first: few different statements, so that they stay prepared. */
  readonly insertSizes: readonly [number, ...number[]];
  /**
   * How many rows a change of rows by their keys may have, largest first. With many more keys a server reads the whole table,
   * and waits for everybody who holds a row of it.
   */
  readonly changeSizes: readonly [number, ...number[]];
  /** Size of the values of an INSERT with several rows, in UTF-16 units, which take 3 bytes at most. */
  insertUnitsMax(): number;
  /** Up to that size an INSERT may have any number of rows: there is nothing to gain from a prepared one. */
  readonly smallInsertUnitsMax: number;
};

const insertUnitsMax = 2_000_000;

/** Up to that size escaping the texts of an INSERT is cheaper than more statements, and than preparing them. */
export const textProtocolUnitsMax = 8_192;

/** `packetBytesMax` tells the largest statement that the server takes. */
export function mysqlDialect(packetBytesMax: () => number): SqlDialect {
  return {
    kind: 'mysql',
    now: sql<string>`utc_timestamp(3)`,
    nowPlus: (ms) => sql<string>`utc_timestamp(3) + interval ${Math.round(ms) * 1000} microsecond`,
    insertSizes: [100, 64, 32, 16, 8, 4, 2, 1],
    changeSizes: [32, 16, 8, 4, 2, 1],
    insertUnitsMax: () => Math.min(insertUnitsMax, Math.floor(packetBytesMax() / 8)),
    smallInsertUnitsMax: textProtocolUnitsMax,
  };
}

export function sqliteDialect(): SqlDialect {
  return {
    kind: 'sqlite',
    now: sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now')`,
    nowPlus: (ms) => sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now', ${`${(ms / 1000).toFixed(3)} seconds`})`,
    // There is no round trip to save.
    insertSizes: [1],
    changeSizes: [1],
    insertUnitsMax: () => insertUnitsMax,
    smallInsertUnitsMax: 0,
  };
}

/**
 * Many rows into a table, in few statements of bounded size.
 *
 * Small rows go all in one. Larger ones go in few sizes, so that their statements stay prepared, and a row that is larger
 * than a statement may be goes alone. What is the same for all rows of the same columns is compiled once.
 */

type Row = Readonly<Record<string, unknown>>;

/** An INSERT of one row, and what every further row adds to it. */
type Statement = { readonly one: CompiledQuery; readonly further: string };

/** By table and columns. The database's own time is part of a statement, so each dialect has its own. */
const statements = new WeakMap<SqlDialect, Map<string, Statement>>();

export async function insertRows<T extends keyof Tables & string>(
  db: SqlExecutor,
  dialect: SqlDialect,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): Promise<void> {
  for (const chunk of insertChunks(rows, dialect)) await db.executeQuery(insertOf(db, dialect, table, chunk));
}

/**
 * Stretches of rows: all the rest where that is small, else as long as one of the sizes and no larger than the dialect
 * likes; a larger row goes alone.
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
  db: SqlExecutor,
  dialect: SqlDialect,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): CompiledQuery {
  const first: Row = rows[0] ?? {};
  const columns = Object.keys(first);
  const parameters = parametersOf(rows, columns, dialect.now);
  if (parameters === null) return db.insertInto(table).values(rows).compile();
  const known = statements.get(dialect) ?? new Map<string, Statement>();
  statements.set(dialect, known);
  const key = [table, ...columns.map((column) => (first[column] === dialect.now ? `${column}=now` : column))].join(' ');
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

/** Long lists of keys are asked for in several queries: a server takes only so many values in one. */

const keysPerQuery = 500;

/** `values` in their order, in portions that fit into one query each. */
export function* chunks<T>(values: readonly T[]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; at += keysPerQuery) yield values.slice(at, at + keysPerQuery);
}

/** `values` in their order, each chunk as long as one of `sizes`, the largest that fits: few different statements. */
export function* chunksOfSizes<T>(values: readonly T[], sizes: readonly [number, ...number[]]): Iterable<readonly T[]> {
  for (let at = 0; at < values.length; ) {
    const size = sizes.find((one) => one <= values.length - at) ?? 1;
    yield values.slice(at, at + size);
    at += size;
  }
}

/**
 * Times at the edge of the database: milliseconds since 1970 inside, `YYYY-MM-DD HH:MM:SS.mmm` (UTC) in the tables.
 *
 * The text is what DATETIME(3) of MySQL takes and gives back, and what sorts rightly as text in SQLite. Years outside
 * 1000 to 9999 fit neither: mails with such dates exist, so they become null or the nearest bound, never an error. What
 * somebody else wrote may be no time at all (any text in SQLite, a day 0 in MySQL): NaN or null, never an error either.
 */

const earliestMs = Date.UTC(1000, 0, 1);
const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Text of a time that must be there; outside the years 1000 to 9999 the nearest bound. */
export function toDatabaseTime(timeMs: number): string {
  const boundedMs = Math.min(Math.max(Number.isNaN(timeMs) ? 0 : Math.trunc(timeMs), earliestMs), latestMs);
  const iso = new Date(boundedMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}`;
}

/** Text of a time that a mail claims; null when it claims none, or one outside the years 1000 to 9999. */
export function toClaimedTime(timeMs: number | null): string | null {
  if (timeMs === null || !(timeMs >= earliestMs && timeMs <= latestMs)) return null;
  return toDatabaseTime(timeMs);
}

/** Milliseconds since 1970 of a time as the database gives it; NaN of what is none, which makes no valid `Date`. */
export function fromDatabaseTime(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** null of what is none, too. */
export function fromOptionalTime(text: string | null): number | null {
  const timeMs = text === null ? Number.NaN : fromDatabaseTime(text);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** A time that somebody else may have written; null when it is none. A date alone is its first moment. */
export function fromForeignTime(text: string | null): number | null {
  const [, day, time = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)Z?)?$/.exec(text ?? '') ?? [];
  const timeMs = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** Texts that fit a column: cut at a code point, and well formed. */

/** The first `charactersMax` code points of `text`; half a surrogate pair becomes U+FFFD. */
export function truncate(text: string, charactersMax: number): string {
  const whole = text.toWellFormed();
  if (whole.length <= charactersMax) return whole;
  // Two units make a character at most, so twice as many units hold enough of them.
  return [...whole.slice(0, charactersMax * 2)].slice(0, charactersMax).join('').toWellFormed();
}

/**
 * One step of the migrations, and the types of columns that the steps have in common.
 */

export type Migration = {
  readonly number: number;
  readonly name: string;
  readonly mysql: string | null;
  readonly sqlite: string | null;
  /** The error numbers by which MySQL tells that this step was applied before; without it: that something exists. */
  readonly mysqlDone?: readonly number[];
};

export const tableOptions = 'engine=InnoDB row_format=dynamic default character set=utf8mb4 collate=utf8mb4_unicode_ci';
export const ascii = 'character set ascii collate ascii_bin';
export const uuid = `char(36) ${ascii}`;
export const hash = `char(64) ${ascii}`;
export const word = `varchar(32) ${ascii}`;
export const exact = 'character set utf8mb4 collate utf8mb4_bin';

/** An index in both dialects. */
export function index(number: number, table: string, columns: readonly string[]): Migration {
  const name = `${table}_${columns[0]}`;
  const statement = `create index ${name} on ${table} (${columns.join(', ')})`;
  return { number, name, mysql: statement, sqlite: statement };
}

/** One more column in both dialects. */
export function column(number: number, table: string, name: string, mysql: string, sqlite: string): Migration {
  return {
    number,
    name: `${table}_${name}`,
    mysql: `alter table ${table} add column ${name} ${mysql}`,
    sqlite: `alter table ${table} add column ${name} ${sqlite}`,
  };
}
