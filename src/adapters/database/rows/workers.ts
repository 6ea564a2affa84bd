/**
 * Worker registry: heartbeats of the running workers, and the keys that each has open.
 *
 * Liveness is judged by the clock of the database. A heartbeat in the future does not count as live: that clock was
 * ahead then. Heartbeats older than a day, or more than a day ahead, are deleted.
 */
import { sql } from 'kysely';
import type { StoredWorker, WorkerReport } from '../../../encryption/ports.ts';
import { fromDatabaseTime, type SqlExecutor } from '../sql/tables.ts';

const forgottenAfterMs = 86_400_000;
/** A bound against rows of other programs. */
const listedMax = 200;
/** Tolerated clock skew between two nodes of one database. */
export const clockSkewMsMax = 60_000;

/** Upserts the heartbeat; `started_at` stays that of the first report. */
export async function reportWorker(db: SqlExecutor, report: WorkerReport): Promise<void> {
  const { worker, host, pid, vault, revision } = report;
  const facts = { host, pid, key_ids: report.keyIds.join(','), vault, revision, heartbeat_at: db.dialect.now };
  const insert = db.insertInto('workers').values({ worker, started_at: db.dialect.now, ...facts });
  const upsert =
    db.dialect.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(facts)
      : insert.onConflict((conflict) => conflict.column('worker').doUpdateSet(facts));
  await upsert.execute();
}

export async function removeWorker(db: SqlExecutor, worker: string): Promise<void> {
  await db.deleteFrom('workers').where('worker', '=', worker).execute();
}

export async function listWorkers(db: SqlExecutor, liveMs: number): Promise<readonly StoredWorker[]> {
  await db
    .deleteFrom('workers')
    .where((where) =>
      where.or([
        where('heartbeat_at', '<', db.dialect.nowPlus(-forgottenAfterMs)),
        where('heartbeat_at', '>', db.dialect.nowPlus(forgottenAfterMs)),
      ]),
    )
    .execute();
  const rows = await db
    .selectFrom('workers')
    .selectAll()
    .select(
      sql<number>`heartbeat_at between ${db.dialect.nowPlus(-liveMs)} and ${db.dialect.nowPlus(clockSkewMsMax)}`.as(
        'live',
      ),
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
