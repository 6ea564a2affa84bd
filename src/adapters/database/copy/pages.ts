/**
 * Keyset pagination over a whole table, by its primary key, in pages of bounded rows and bytes.
 *
 * Where values may be of any length, their lengths are read first: a page has at most 4 MiB, or a single row.
 */
import { type RawBuilder, sql } from 'kysely';
import type { SqlExecutor } from '../sql/tables.ts';
import { type CopiedRow, type CopiedTable, readColumn } from './columns.ts';

/** Values of the primary key, in its order. */
export type RowKey = readonly unknown[];

const pageRowsMax = 1000;
/** Of a table whose values may be of any length. */
const sizedRowsMax = 256;
const pageBytesMax = 4 * 1024 * 1024;

/** The rows after `after` (null: all), in pages by the primary key. The caller wipes the bytes in them. */
export async function* readPages(
  db: SqlExecutor,
  table: CopiedTable,
  after: RowKey | null = null,
): AsyncGenerator<readonly CopiedRow[]> {
  for (let from = after; ; ) {
    const rowsMax = table.unbounded.length === 0 ? pageRowsMax : await rowsThatFit(db, table, from);
    if (rowsMax === 0) return;
    const columns = sql.join(table.columns.map((column) => readColumn(column, db.dialect)));
    const { rows } = await sql<CopiedRow>`select ${columns} ${pageOf(db, table, from, rowsMax)}`.execute(db);
    const last = rows.at(-1);
    if (last === undefined) return;
    from = table.key.map((column) => last[column]);
    yield rows;
  }
}

/** The key of the last row; null in an empty table. */
export async function lastKey(db: SqlExecutor, table: CopiedTable): Promise<RowKey | null> {
  const backwards = sql.join(table.key.map((column) => sql`${sql.ref(column)} desc`));
  const { rows } = await sql<CopiedRow>`select ${keyOf(table)} from ${sql.table(table.name)}
    order by ${backwards} limit 1`.execute(db);
  const [last] = rows;
  return last === undefined ? null : table.key.map((column) => last[column]);
}

export async function countRows(db: SqlExecutor, { name }: CopiedTable): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(name)}`.execute(db);
  return Number(rows[0]?.count ?? 0);
}

/** How many of the next rows fit a page; 1 for a larger row, 0 at the end. */
async function rowsThatFit(db: SqlExecutor, table: CopiedTable, from: RowKey | null): Promise<number> {
  const bytes = table.unbounded.map((column) => sql`coalesce(octet_length(${sql.ref(column)}), 0)`);
  const { rows } = await sql<{ bytes: number }>`select ${sql.join(bytes, sql` + `)} as bytes
    ${pageOf(db, table, from, sizedRowsMax)}`.execute(db);
  let total = 0;
  const tooFar = rows.findIndex((row) => {
    total += Number(row.bytes);
    return total > pageBytesMax;
  });
  return tooFar < 0 ? rows.length : Math.max(1, tooFar);
}

function keyOf(table: CopiedTable): RawBuilder<unknown> {
  return sql.join(table.key.map((column) => sql.ref(column)));
}

function pageOf(db: SqlExecutor, table: CopiedTable, from: RowKey | null, rowsMax: number): RawBuilder<unknown> {
  const where = from === null ? sql`` : sql`where ${afterKey(db, table, from)}`;
  return sql`from ${sql.table(table.name)} ${where} order by ${keyOf(table)} limit ${sql.lit(rowsMax)}`;
}

/**
 * Rows after a key. SQLite compares row values in the index; MySQL scans the whole index for them, and takes ranges of
 * it for `a > 1 or a = 1 and b > 2`.
 */
function afterKey(db: SqlExecutor, table: CopiedTable, from: RowKey): RawBuilder<unknown> {
  if (db.dialect.kind === 'sqlite') return sql`(${keyOf(table)}) > (${sql.join(from)})`;
  const refs = table.key.map((column) => sql.ref(column));
  const ranges = refs.map((ref, at) => {
    const equal = refs.slice(0, at).map((before, index) => sql`${before} = ${from[index]}`);
    return sql`(${sql.join([...equal, sql`${ref} > ${from[at]}`], sql` and `)})`;
  });
  return sql`(${sql.join(ranges, sql` or `)})`;
}
