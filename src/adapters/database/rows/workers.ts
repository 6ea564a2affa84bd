/**
 * The workers that run, the keys that each has open, and when each was heard of last.
 *
 * The database's clock decides, and who was heard of in its future is not believed to be live: its clock ran ahead then. What
 * lies a day in the future is forgotten like what is a day old, or it would stay in the list for as long as the clock was wrong.
 */
import { sql } from 'kysely';
import type { StoredWorker, WorkerReport } from '../../../encryption/ports.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { fromDatabaseTime } from '../sql/values.ts';

const forgottenAfterMs = 86_400_000;
/** More than anybody starts; what a table has beyond that is not ours. */
const listedMax = 200;
/** So far the clocks of two nodes of one database may be apart. */
export const clockSkewMsMax = 60_000;

/** When it started stays what its first report said. */
export async function reportWorker(db: SqlExecutor, dialect: SqlDialect, report: WorkerReport): Promise<void> {
  const { worker, host, pid, vault, revision } = report;
  const facts = { host, pid, key_ids: report.keyIds.join(','), vault, revision, heartbeat_at: dialect.now };
  const insert = db.insertInto('workers').values({ worker, started_at: dialect.now, ...facts });
  const upsert =
    dialect.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(facts)
      : insert.onConflict((conflict) => conflict.column('worker').doUpdateSet(facts));
  await upsert.execute();
}

export async function removeWorker(db: SqlExecutor, worker: string): Promise<void> {
  await db.deleteFrom('workers').where('worker', '=', worker).execute();
}

export async function listWorkers(
  db: SqlExecutor,
  dialect: SqlDialect,
  liveMs: number,
): Promise<readonly StoredWorker[]> {
  await db
    .deleteFrom('workers')
    .where((where) =>
      where.or([
        where('heartbeat_at', '<', dialect.nowPlus(-forgottenAfterMs)),
        where('heartbeat_at', '>', dialect.nowPlus(forgottenAfterMs)),
      ]),
    )
    .execute();
  const rows = await db
    .selectFrom('workers')
    .selectAll()
    .select(
      sql<number>`heartbeat_at between ${dialect.nowPlus(-liveMs)} and ${dialect.nowPlus(clockSkewMsMax)}`.as('live'),
    )
    .orderBy('live', 'desc')
    .orderBy('worker')
    .limit(listedMax)
    .execute();
  return rows.map((row) => ({
    worker: row.worker,
    host: row.host,
    pid: row.pid,
    keyIds: row.key_ids.split(',').filter((id) => id !== ''),
    vault: row.vault,
    revision: row.revision,
    startedAtMs: fromDatabaseTime(row.started_at),
    seenAtMs: fromDatabaseTime(row.heartbeat_at),
    live: row.live === 1,
  }));
}
