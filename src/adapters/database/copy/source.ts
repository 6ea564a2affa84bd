/**
 * Exclusive access to the source of a copy: no worker, no poll and no encryption operation may be running.
 *
 * A SQLite file is locked for the time of the copy: against a daemon, and against every other writer, by the write lock
 * of a transaction that writes nothing. A server has no such lock: its workers are looked for again at the end.
 */
import { Failure } from '../../../errors.ts';
import { operationOwner } from '../encryption/switch-row.ts';
import { isLeaseExpired } from '../mailboxes/leases.ts';
import { readWorkers } from '../rows/workers.ts';
import { createMigrations } from '../schema/migrate.ts';
import { type SqlExecutor, withDialect } from '../sql/tables.ts';

export type WorkerLiveness = {
  /** A heartbeat of this age counts as live. */
  readonly liveMs: number;
  readonly isDead: (worker: string) => boolean;
};

const stopHint =
  'Stop every worker of this database for the time of the copy (systemctl stop ticketmaild), then run the command again.';

/** Runs `work` with the source, locked as far as its dialect can. Throws `worker_running`, `operation_running`. */
export async function withLockedSource<T>(
  source: SqlExecutor,
  liveness: WorkerLiveness,
  work: (reader: SqlExecutor) => Promise<T>,
): Promise<T> {
  await createMigrations(source).check();
  const checked = async (reader: SqlExecutor): Promise<T> => {
    await refuseWhileInUse(reader, liveness, 'source');
    const result = await work(reader);
    await refuseWhileInUse(reader, liveness, 'source');
    return result;
  };
  if (source.dialect.kind === 'mysql') return await checked(source);
  return await source.transaction().execute((transaction) => checked(withDialect(transaction, source.dialect)));
}

/** Throws `worker_running`, `operation_running`. */
export async function refuseWhileInUse(
  db: SqlExecutor,
  { liveMs, isDead }: WorkerLiveness,
  which: 'source' | 'target',
): Promise<void> {
  const worker = (await readWorkers(db, liveMs)).find((row) => row.live && !isDead(row.worker));
  const lease = worker?.worker ?? (await leaseOwner(db, isDead));
  if (lease !== null) {
    const message = `A worker uses the ${which} of the copy: ${lease}.`;
    throw new Failure('worker_running', message, { hint: stopHint });
  }
  const owner = await operationOwner(db);
  if (owner === null || isDead(owner)) return;
  throw new Failure('operation_running', `An encryption operation is running on the ${which} of the copy: ${owner}.`);
}

/** A poll of a command has a lease and no heartbeat. */
async function leaseOwner(db: SqlExecutor, isDead: (worker: string) => boolean): Promise<string | null> {
  const rows = await db
    .selectFrom('mailbox_state')
    .select('lease_owner')
    .distinct()
    .where('lease_owner', 'is not', null)
    .where((where) => where.not(isLeaseExpired(where, db.dialect)))
    .execute();
  return rows.map((row) => row.lease_owner).find((owner) => owner !== null && !isDead(owner)) ?? null;
}
