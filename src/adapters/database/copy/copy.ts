/**
 * Database copy: every table in resumable chunks, compared by digests, and completed by one transaction.
 *
 * A chunk is one transaction, and an interrupted copy continues after the last key in the target. When all chunks are
 * there, each table is read from both sides: one that differs although it was resumed (the source changed in between)
 * is copied again from its beginning, once. The last transaction copies what acts or holds a secret and
 * completes the marker. A lost connection is opened again for a minute.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { Failure, isFailure } from '../../../errors.ts';
import { countText } from '../../../text/units.ts';
import { isDuplicateKey } from '../sql/errors.ts';
import { insertRows, inTransaction } from '../sql/statements.ts';
import { type SqlExecutor, withDialect } from '../sql/tables.ts';
import {
  activatingTables,
  type CopiedRow,
  type CopiedTable,
  chunkedTables,
  convertedRow,
  copiedTables,
  rowName,
} from './columns.ts';
import { createDigests, isSameDigest, type TableDigest } from './digest.ts';
import { completeMarker, markerOf, readMarkers } from './marker.ts';
import { countRows, lastKey, type RowKey, readPages } from './pages.ts';
import { type WorkerLiveness, withLockedSource } from './source.ts';
import { prepareTarget, type TargetState } from './target.ts';

export type CopyProgress = (step: 'copying' | 'comparing', rowsDone: number, rowsTotal: number) => void;

export type CopyReport = {
  /** What was there before: nothing, an unfinished copy of this source, or a complete one, which stays as it is. */
  readonly before: TargetState;
  /** The rows of each table, the same in both databases; none of a copy that was complete. */
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
};

export type CopyOptions = { readonly liveness: WorkerLiveness; readonly onProgress: CopyProgress };

type Copying = {
  readonly source: SqlExecutor;
  readonly target: SqlExecutor;
  readonly digestOf: ReturnType<typeof createDigests>;
  /** So many more rows were copied, or compared; negative: so many are to be repeated. */
  readonly count: (step: 'copying' | 'comparing', rows: number) => void;
};

/**
 * Copies all rows of `source` into an empty `target`, or continues.
 *
 * Throws `worker_running` and `operation_running` while one of them is in use, `copy_refused`, `copy_mismatch`,
 * `row_refused` with the key of the row.
 */
export async function copyDatabase(
  source: SqlExecutor,
  target: SqlExecutor,
  { liveness, onProgress }: CopyOptions,
): Promise<CopyReport> {
  return await withLockedSource(source, liveness, async (reader) => {
    const marker = await markerOf(reader);
    const before = await prepareTarget(target, marker, liveness);
    if (before === 'complete') return { before, tables: [] };
    let total = 0;
    for (const table of copiedTables) total += await countRows(reader, table);
    const tables = await withReconnects(target, async (connection) => {
      await lockTarget(connection);
      const done = { copying: 0, comparing: 0 };
      const count: Copying['count'] = (step, rows) => {
        done[step] += rows;
        onProgress(step, done[step], total);
      };
      const copying: Copying = { source: reader, target: connection, digestOf: createDigests(), count };
      return await copyTables(copying, marker);
    });
    return { before, tables };
  });
}

async function copyTables(copying: Copying, marker: string): Promise<CopyReport['tables']> {
  const report: { table: string; rows: number }[] = [];
  const from = new Map<string, RowKey | null>();
  for (const table of chunkedTables) from.set(table.name, await lastKey(copying.target, table));
  for (const table of chunkedTables) await copyChunks(copying, table, from.get(table.name) ?? null);
  for (const table of chunkedTables) {
    const wasResumed = (from.get(table.name) ?? null) !== null;
    report.push({ table: table.name, rows: await compared(copying, table, wasResumed) });
  }
  // The commit of the last transaction may have reached the target before the connection was lost.
  const isComplete = (await readMarkers(copying.target)).complete === marker;
  for (const table of isComplete ? activatingTables : [])
    report.push({ table: table.name, rows: await compared(copying, table, false) });
  if (!isComplete) report.push(...(await inTransaction(copying.target, (target) => activate({ ...copying, target }))));
  return report;
}

async function copyChunks(copying: Copying, table: CopiedTable, after: RowKey | null): Promise<void> {
  const { source, target, count } = copying;
  if (after !== null) count('copying', await countRows(target, table));
  for await (const page of readPages(source, table, after)) {
    const rows = page.map((row) => convertedRow(table, row, source.dialect, target.dialect));
    await insertNamed(table, rows, (some) => inTransaction(target, (chunk) => insertInto(chunk, table, some)));
    count('copying', rows.length);
  }
}

async function insertInto(db: SqlExecutor, { name }: CopiedTable, rows: readonly CopiedRow[]): Promise<void> {
  await insertRows(db, name, rows as readonly never[]);
}

/** A refused chunk is inserted row by row, so that the failure names the row. */
async function insertNamed(
  table: CopiedTable,
  rows: readonly CopiedRow[],
  insert: (some: readonly CopiedRow[]) => Promise<void>,
): Promise<void> {
  try {
    await insert(rows);
  } catch (error) {
    if (!isFailure(error, 'row_refused', 'already_exists') || isDuplicateKey(error)) throw error;
    for (const row of rows) await insertOne(table, row, insert);
  }
}

const refusedHint =
  'Correct or delete this row in the source, or raise max_allowed_packet of the target if it is too large; then run the command again.';

async function insertOne(
  table: CopiedTable,
  row: CopiedRow,
  insert: (some: readonly CopiedRow[]) => Promise<void>,
): Promise<void> {
  try {
    await insert([row]);
  } catch (error) {
    if (!isFailure(error, 'row_refused', 'already_exists')) throw error;
    const { code, message, fields } = error;
    throw new Failure(code, `${rowName(table, row)}: ${message}`, { fields, hint: refusedHint, cause: error });
  }
}

/** The number of rows, the same on both sides. Throws `copy_mismatch`. */
async function compared(copying: Copying, table: CopiedTable, mayRepeat: boolean): Promise<number> {
  const { source, target, isSame } = await compare(copying, table);
  if (isSame) return source.rows;
  if (!mayRepeat) throw mismatch(table, source, target);
  await emptyTable(copying.target, table);
  copying.count('copying', -target.rows);
  copying.count('comparing', -source.rows);
  await copyChunks(copying, table, null);
  return await compared(copying, table, false);
}

function mismatch({ name }: CopiedTable, source: TableDigest, target: TableDigest): Failure {
  const rows =
    source.rows === target.rows
      ? `rows of the table ${name} differ`
      : `the table ${name} has ${countText(source.rows, 'row')} in the source and ${target.rows} in the target`;
  return new Failure('copy_mismatch', `The copy is not the same as its source: ${rows}.`);
}

async function compare(copying: Copying, table: CopiedTable) {
  const source = await digestSource(copying, table);
  const target = await digestTarget(copying, table);
  return { source, target, isSame: isSameDigest(source, target) };
}

async function digestSource({ source, target, digestOf, count }: Copying, table: CopiedTable): Promise<TableDigest> {
  const digest = digestOf(table);
  for await (const page of readPages(source, table)) {
    try {
      for (const row of page) digest.add(convertedRow(table, row, source.dialect, target.dialect));
    } finally {
      wipe(page);
    }
    count('comparing', page.length);
  }
  return digest.result();
}

async function digestTarget({ target, digestOf }: Copying, table: CopiedTable): Promise<TableDigest> {
  const digest = digestOf(table);
  for await (const page of readPages(target, table)) {
    for (const row of page) digest.add(row);
    wipe(page);
  }
  return digest.result();
}

const emptiedRows = 1000;

/**
 * Deletes all rows: in a server 1,000 a statement, each its own transaction, as a transaction may be limited in size
 * (Galera); in SQLite, whose DELETE has no LIMIT, all at once. After an interruption the comparison repeats it.
 */
async function emptyTable(target: SqlExecutor, table: CopiedTable): Promise<void> {
  for (let last = await lastKey(target, table); last !== null; last = await lastKey(target, table)) {
    const keys = sql.join(table.key.map((column) => sql.ref(column)));
    await sql`delete from ${sql.table(table.name)} ${
      target.dialect.kind === 'mysql' ? sql`order by ${keys} limit ${sql.lit(emptiedRows)}` : sql``
    }`.execute(target);
  }
}

/** The last transaction. */
async function activate(copying: Copying): Promise<{ table: string; rows: number }[]> {
  const { source, target, count } = copying;
  const report: { table: string; rows: number }[] = [];
  for (const table of activatingTables) {
    await sql`delete from ${sql.table(table.name)}`.execute(target);
    for await (const page of readPages(source, table)) {
      try {
        const rows = page.map((row) => convertedRow(table, row, source.dialect, target.dialect));
        await insertNamed(table, rows, (some) => insertInto(target, table, some));
      } finally {
        wipe(page);
      }
      count('copying', page.length);
    }
    report.push({ table: table.name, rows: await compared(copying, table, false) });
  }
  await completeMarker(target);
  return report;
}

function wipe(rows: readonly CopiedRow[]): void {
  for (const row of rows) for (const value of Object.values(row)) if (value instanceof Uint8Array) value.fill(0);
}

const lockWaitS = 10;

/** One copy at a time into a database of a server; the lock ends with its connection. */
async function lockTarget(connection: SqlExecutor): Promise<void> {
  if (connection.dialect.kind === 'sqlite') return;
  const lock = sql`concat('ticketmaild.copy.', left(sha2(database(), 256), 32))`;
  const { rows } = await sql<{ got: number | null }>`select get_lock(${lock}, ${sql.lit(lockWaitS)}) as got`.execute(
    connection,
  );
  if (Number(rows[0]?.got) === 1) return;
  throw new Failure('copy_refused', 'Another copy into this database is running.', {
    hint: 'Wait until it has finished.',
  });
}

const reconnectMsMax = 60_000;
const reconnectPauseMs = 1000;
const duplicatesMax = 3;

/**
 * Runs `work` on one connection of its own; again on a new one after that was lost, and after a duplicate key: the
 * commit of a killed copy may take effect after this one looked for the last key.
 */
async function withReconnects<T>(target: SqlExecutor, work: (connection: SqlExecutor) => Promise<T>): Promise<T> {
  let [duplicates, untilMs] = [0, 0];
  for (;;) {
    try {
      return await target.connection().execute((single) => work(withDialect(single, target.dialect)));
    } catch (error) {
      if (isDuplicateKey(error)) duplicates += 1;
      else if (!isLostConnection(error)) throw error;
      if (untilMs === 0) untilMs = performance.now() + reconnectMsMax;
      if (duplicates > duplicatesMax || performance.now() > untilMs) throw error;
    }
    await sleep(reconnectPauseMs);
  }
}

/** A server that answers with an error, such as a read-only one, is not asked again; one that shuts down is. */
function isLostConnection(error: unknown): boolean {
  if (!isFailure(error, 'database_unavailable')) return false;
  return error.fields['errno'] === undefined || error.fields['errno'] === serverShutdown;
}

const serverShutdown = 1053;
