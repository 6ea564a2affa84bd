/**
 * Mailbox leases with fencing tokens: one worker polls a mailbox at a time, and records the result and the cursor.
 *
 * A lease is taken with one conditional UPDATE, so exactly one of many workers gets it, on Galera too. It expires by
 * the clock of the database. Each acquisition increments the epoch (the fencing token), and every later write names it:
 * a worker that lost the lease cannot write.
 */
import { type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import type { Cursor, PollResult } from '../../../ingest/model.ts';
import { type Lease, type LeaseStore, leaseLost } from '../../../ingest/stores.ts';
import { clockSkewMsMax } from '../rows/workers.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { bindDatabase, chunks } from '../sql/statements.ts';
import type { SqlExecutor, Tables } from '../sql/tables.ts';

type StateWhere = ExpressionBuilder<Tables, 'mailbox_state'>;

/** The longest valid lease: `[poll] lease_s` is an hour at most, plus the clock skew between nodes. */
const leaseMsMax = 3_600_000 + clockSkewMsMax;

export function leaseStore(db: SqlExecutor): LeaseStore {
  return bindDatabase(db, {
    acquireLease,
    leaseOwner,
    reclaimAllLeases,
    reclaimLease,
    reclaimLeasesOfDeadWorkers,
    renewLeases,
    recordPollSuccess,
    releaseLease,
  });
}

async function acquireLease(
  db: SqlExecutor,
  mailboxId: string,
  owner: string,
  leaseMs: number,
  dead: string | null,
  seenEpoch?: number,
): Promise<Lease | null> {
  const free = db
    .updateTable('mailbox_state')
    .set({ lease_owner: owner, lease_until: db.dialect.nowPlus(leaseMs), retry_requested_at: null })
    .where('mailbox_id', '=', mailboxId)
    .where((where) =>
      where.or([
        where('lease_owner', 'is', null),
        isLeaseExpired(where, db.dialect),
        ...(dead === null ? [] : [where('lease_owner', '=', dead)]),
      ]),
    );
  const take = seenEpoch === undefined ? free : free.where('lease_epoch', '=', seenEpoch);
  if (db.dialect.kind === 'sqlite') {
    const raised = take.set({ lease_epoch: sql<number>`lease_epoch + 1` }).returning('lease_epoch');
    const row = await raised.executeTakeFirst();
    return row === undefined ? null : { mailboxId, owner, epoch: row.lease_epoch };
  }
  // LAST_INSERT_ID(expression) returns the epoch with the result of the UPDATE itself.
  const raised = take.set({ lease_epoch: sql<number>`last_insert_id(lease_epoch + 1)` });
  const result = await db.executeQuery(raised.compile());
  return result.numAffectedRows === 1n ? { mailboxId, owner, epoch: Number(result.insertId) } : null;
}

async function leaseOwner(db: SqlExecutor, mailboxId: string): Promise<string | null> {
  const row = await db
    .selectFrom('mailbox_state')
    .select('lease_owner')
    .where('mailbox_id', '=', mailboxId)
    .where('lease_until', '>', db.dialect.now)
    .where('lease_until', '<=', db.dialect.nowPlus(leaseMsMax))
    .executeTakeFirst();
  return row?.lease_owner ?? null;
}

/**
 * Expired, or further ahead than any lease: the clock of the database was ahead when it was written. Should the owner
 * be alive, nothing is stored twice: the next owner increments the epoch, and writes with the old one are refused.
 */
export function isLeaseExpired(where: StateWhere, dialect: SqlDialect) {
  return where.or([where('lease_until', '<=', dialect.now), where('lease_until', '>', dialect.nowPlus(leaseMsMax))]);
}

/**
 * Frees the leases of workers without a heartbeat for `liveMs`, or with one in the future: their clock was wrong then,
 * and their heartbeat would never expire. A program without heartbeats (a manual poll) keeps its lease until it
 * expires. A worker that was only suspended finds its lease lost, and the fence refuses its writes. `me` is alive by
 * definition.
 */
async function reclaimLeasesOfDeadWorkers(db: SqlExecutor, liveMs: number, me: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('workers', 'workers.worker', 'mailbox_state.lease_owner')
    .select('workers.worker')
    .distinct()
    .where('workers.worker', '<>', me)
    .where((where) =>
      where.or([
        where('workers.heartbeat_at', '<', db.dialect.nowPlus(-liveMs)),
        where('workers.heartbeat_at', '>', db.dialect.nowPlus(clockSkewMsMax)),
      ]),
    )
    .execute();
  const owners = rows.map((row) => row.worker);
  for (const owner of owners) await reclaimAllLeases(db, owner);
  return owners;
}

async function reclaimAllLeases(db: SqlExecutor, owner: string): Promise<boolean> {
  const { numUpdatedRows } = await freed(db, owner).executeTakeFirst();
  return numUpdatedRows > 0n;
}

async function reclaimLease(db: SqlExecutor, owner: string, mailboxId: string): Promise<boolean> {
  const { numUpdatedRows } = await freed(db, owner).where('mailbox_id', '=', mailboxId).executeTakeFirst();
  return numUpdatedRows > 0n;
}

function freed(db: SqlExecutor, owner: string) {
  return db
    .updateTable('mailbox_state')
    .set({ lease_owner: null, lease_until: null, next_poll_at: db.dialect.now })
    .where('lease_owner', '=', owner);
}

/** Also renews an expired lease that no other worker took. */
async function renewLeases(db: SqlExecutor, leases: readonly Lease[], leaseMs: number): Promise<readonly Lease[]> {
  const lost: Lease[] = [];
  for (const some of chunks(leases)) {
    const ids = some.map(({ mailboxId }) => mailboxId);
    const owner = some[0]?.owner ?? '';
    await db
      .updateTable('mailbox_state')
      .set({ lease_until: db.dialect.nowPlus(leaseMs) })
      .where('lease_owner', '=', owner)
      .where('mailbox_id', 'in', ids)
      .execute();
    const held = await db
      .selectFrom('mailbox_state')
      .select(['mailbox_id', 'lease_epoch'])
      .where('lease_owner', '=', owner)
      .where('mailbox_id', 'in', ids)
      .execute();
    const epochs = new Map(held.map((row) => [row.mailbox_id, row.lease_epoch]));
    lost.push(...some.filter(({ mailboxId, epoch }) => epochs.get(mailboxId) !== epoch));
  }
  return lost;
}

const noError = { last_error_code: null, last_error_message: null, last_error_hint: null, last_error_at: null };
const noTrouble = { ...noError, failures: 0, failing_since: null, login_failures: 0, login_failed_version: null };

async function recordPollSuccess(db: SqlExecutor, lease: Lease, nextPollAfterMs: number): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({ ...noTrouble, next_poll_at: db.dialect.nowPlus(nextPollAfterMs), last_success_at: db.dialect.now })
    .where((where) => isLeaseOwner(where, lease))
    .execute();
}

async function releaseLease(db: SqlExecutor, lease: Lease, result: PollResult | null, version?: string): Promise<void> {
  const free = { lease_owner: null, lease_until: null };
  if (result === null) {
    await db
      .updateTable('mailbox_state')
      .where((where) => isLeaseOwner(where, lease))
      .set(free)
      .execute();
    return;
  }
  const { numUpdatedRows } = await db
    .updateTable('mailbox_state')
    .where((where) => isLeaseOwner(where, lease))
    .$if(version !== undefined, (update) => update.where(({ not }) => not(isChangedSince(sql`${version}`))))
    .set({ ...free, next_poll_at: nextPollAt(db.dialect, result.nextPollAfterMs), ...outcomeOf(result, db.dialect) })
    .executeTakeFirst();
  if (numUpdatedRows > 0n || version === undefined) return;
  // The result is about the row before its change: the next poll is due immediately.
  await db
    .updateTable('mailbox_state')
    .where((where) => isLeaseOwner(where, lease))
    .set({ ...free, next_poll_at: db.dialect.now })
    .execute();
}

/** At once where a retry was requested during the poll: it began before what the person did. */
function nextPollAt(dialect: SqlDialect, afterMs: number): RawBuilder<string> {
  return sql<string>`case when retry_requested_at is null then ${dialect.nowPlus(afterMs)} else ${dialect.now} end`;
}

function outcomeOf(result: PollResult, dialect: SqlDialect) {
  if (result.ok) return { ...noTrouble, last_success_at: dialect.now };
  return {
    ...loginFailures(result.refusedVersion),
    failures: sql<number>`failures + 1`,
    failing_since: sql<string>`coalesce(failing_since, ${dialect.now})`,
    last_error_code: result.error.code.slice(0, 32),
    last_error_message: result.error.message.slice(0, 10_000).toWellFormed(),
    last_error_hint: result.error.hint.slice(0, 10_000).toWellFormed(),
    last_error_at: dialect.now,
  };
}

function isChangedSince(version: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`exists(select 1 from mailboxes
    where mailboxes.id = mailbox_state.mailbox_id and mailboxes.changed_at <> ${version})`;
}

/**
 * Counts login failures of the row at `version`. With null the poll failed for another reason: failures of an earlier
 * version are cleared, or the mailbox would stay due as changed. The count is set first: MySQL assigns columns in
 * order, and the expression reads the version before.
 */
function loginFailures(version: string | null) {
  if (version === null) {
    const isOver = isChangedSince(sql`mailbox_state.login_failed_version`);
    return { login_failures: sql<number>`case when ${isOver} then 0 else login_failures end` };
  }
  const again = sql<number>`case when login_failed_version = ${version} then login_failures + 1 else 1 end`;
  return { login_failures: again, login_failed_version: version };
}

/** The fence of every batch: moves the cursor only for the lease owner, and locks the row until the commit. */
export async function advanceCursorFenced(db: SqlExecutor, lease: Lease, cursor: Cursor): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ cursor_folder_epoch: cursor.folderEpoch, cursor_uid: cursor.uid })
    .where((where) => isLeaseOwner(where, lease))
    .where('lease_until', '>', db.dialect.now)
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease.mailboxId);
}

/** Locks the mailbox against batches until the commit. Throws `not_found`. */
export async function lockMailbox(db: SqlExecutor, mailboxId: string): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ lease_epoch: sql<number>`lease_epoch` })
    .where('mailbox_id', '=', mailboxId)
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw new Failure('not_found', `There is no mailbox ${mailboxId}.`);
}

export function isLeaseOwner(where: StateWhere, lease: Lease) {
  return where
    .and([
      where('mailbox_state.mailbox_id', '=', lease.mailboxId),
      where('mailbox_state.lease_owner', '=', lease.owner),
      where('mailbox_state.lease_epoch', '=', lease.epoch),
    ])
    .$castTo<SqlBool>();
}
