/**
 * Folder store: the cursor of a mailbox within a folder epoch (UIDVALIDITY and generation), and cleanup of earlier
 * epochs.
 *
 * Every write names the lease (fencing). Cleanup runs in batches, so that no statement locks many rows for long; when
 * it is interrupted, the start UID is not recorded, and the next round resumes it (poll/cursor.ts).
 */
import { type ExpressionBuilder, sql, type Updateable } from 'kysely';
import { Failure } from '../../../errors.ts';
import { type Cursor, outcomesWhere } from '../../../ingest/model.ts';
import type { HandledSource, UidSelection } from '../../../ingest/ports.ts';
import {
  type FolderProgress,
  type FolderStore,
  type Lease,
  leaseLost,
  type NewFolderEpoch,
} from '../../../ingest/stores.ts';
import { comparableId } from '../../../mail/fingerprint.ts';
import { toCursor } from '../rows/mailboxes.ts';
import { bindDatabase, inTransaction } from '../sql/statements.ts';
import { fromOptionalTime, type SqlExecutor, type Tables } from '../sql/tables.ts';
import { isLeaseOwner } from './leases.ts';

const rowsPerBatch = 2000;

export function folderEpochStore(db: SqlExecutor): FolderStore {
  return bindDatabase(db, {
    readFolderProgress,
    isEpochUsed,
    countOutcomes,
    lastHandled,
    joinAccount,
    isLeaseRevoked,
    beginFolderEpoch,
    forgetEarlierEpochs,
    recordStartUid,
  });
}

async function readFolderProgress(db: SqlExecutor, mailboxId: string): Promise<FolderProgress> {
  const row = await db
    .selectFrom('mailbox_state')
    .select([
      'cursor_folder_epoch',
      'cursor_uid',
      'folder_generation',
      'cursor_start_uid',
      'cursor_folder_hash',
      'account_hash',
    ])
    .where('mailbox_id', '=', mailboxId)
    .executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox ${JSON.stringify(mailboxId)}.`);
  return {
    ...{ cursor: toCursor(row), generation: row.folder_generation },
    ...{ startUid: row.cursor_start_uid, folder: row.cursor_folder_hash },
    account: row.account_hash,
  };
}

async function isEpochUsed(db: SqlExecutor, mailboxId: string, folderEpoch: number): Promise<boolean> {
  const row = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

async function countOutcomes(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
  uids: UidSelection,
): Promise<number> {
  const inEpoch = db
    .selectFrom('outcome')
    .select((of) => of.fn.countAll<number>().as('count'))
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch);
  const chosen =
    'list' in uids
      ? inEpoch.where('uid', 'in', uids.list)
      : inEpoch.where('uid', '>', uids.above).where('uid', '<=', uids.upTo);
  return Number((await chosen.executeTakeFirst())?.count ?? 0);
}

async function lastHandled(
  db: SqlExecutor,
  mailboxId: string,
  { folderEpoch, uid }: Cursor,
  limit: number,
): Promise<readonly HandledSource[]> {
  const rows = await db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .select(['outcome.uid', 'outcome.size_bytes', 'outcome.received_at', 'outcome.dedup_key', 'outcome.raw_sha256'])
    .select(['message.message_id', 'message.message_id_missing'])
    .where('outcome.mailbox_id', '=', mailboxId)
    .where('outcome.folder_epoch', '=', folderEpoch)
    // What the server never delivered, it would not deliver now: the connection may end at it.
    .where(({ eb, or }) => or([eb('outcome.reason', 'is', null), eb('outcome.reason', '!=', 'fetch_failed')]))
    // A row that another program wrote may have a number that is no UID.
    .where('outcome.uid', '>=', 1)
    .where('outcome.uid', '<=', uid)
    .orderBy('outcome.uid', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    uid: row.uid,
    sizeBytes: row.size_bytes,
    receivedAtMs: fromOptionalTime(row.received_at),
    messageId: row.message_id_missing === 0 && row.message_id !== null ? comparableId(row.message_id) : null,
    // Of a message that was never parsed the header alone may be stored.
    sourceSha256: row.dedup_key === null ? null : row.raw_sha256,
  }));
}

async function joinAccount(db: SqlExecutor, lease: Lease, account: string): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await setState(transaction, lease, { account_hash: account });
    await transaction
      .updateTable('mailbox_state')
      .set({ lease_owner: null, lease_until: db.dialect.now, next_poll_at: db.dialect.now })
      .where('account_hash', '=', account)
      .where('mailbox_id', '<>', lease.mailboxId)
      .where('lease_owner', 'is not', null)
      .execute();
  });
}

/** A lease that was released or reclaimed has no end. */
async function isLeaseRevoked(db: SqlExecutor, { mailboxId, epoch }: Lease): Promise<boolean> {
  const row = await db
    .selectFrom('mailbox_state')
    .select('mailbox_id')
    .where('mailbox_id', '=', mailboxId)
    .where('lease_owner', 'is', null)
    .where('lease_until', 'is not', null)
    .where('lease_epoch', '=', epoch)
    .executeTakeFirst();
  return row !== undefined;
}

async function beginFolderEpoch(
  db: SqlExecutor,
  lease: Lease,
  { cursor: { folderEpoch, uid }, generation, folder }: NewFolderEpoch,
): Promise<void> {
  const cursor = { cursor_folder_epoch: folderEpoch, cursor_uid: uid, cursor_start_uid: null };
  await setState(db, lease, { ...cursor, folder_generation: generation, cursor_folder_hash: folder });
}

async function recordStartUid(db: SqlExecutor, lease: Lease, uid: number): Promise<void> {
  await setState(db, lease, { cursor_start_uid: uid });
}

async function setState(db: SqlExecutor, lease: Lease, values: Updateable<Tables['mailbox_state']>): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set(values)
    .where((where) => isLeaseOwner(where, lease))
    .where('lease_until', '>', db.dialect.now)
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease.mailboxId);
}

async function forgetEarlierEpochs(db: SqlExecutor, lease: Lease, present: number): Promise<void> {
  for (let folderEpoch = await epochAfter(db, lease.mailboxId, -1); folderEpoch !== null; ) {
    if (folderEpoch !== present) await forgetEpoch(db, lease, folderEpoch);
    folderEpoch = await epochAfter(db, lease.mailboxId, folderEpoch);
  }
}

/** The first folder epoch after `after` with an outcome. */
export async function epochAfter(db: SqlExecutor, mailboxId: string, after: number): Promise<number | null> {
  const row = await db
    .selectFrom('outcome')
    .select('folder_epoch')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '>', after)
    .orderBy('folder_epoch')
    .limit(1)
    .executeTakeFirst();
  return row?.folder_epoch ?? null;
}

/** Batches by UID: a DELETE with a limit is not in both dialects. */
async function forgetEpoch(db: SqlExecutor, { mailboxId, ...lease }: Lease, folderEpoch: number): Promise<void> {
  for (let after = -1; ; ) {
    const last = await lastOfBatch(db, mailboxId, folderEpoch, after);
    if (last === null) return;
    const from = after;
    await inTransaction(db, async (transaction) => {
      await assertLease(transaction, { mailboxId, ...lease });
      await transaction
        .updateTable('outcome')
        .set({ action_pending: 0 })
        .where('mailbox_id', '=', mailboxId)
        .where('folder_epoch', '=', folderEpoch)
        .where('uid', '>', from)
        .where('uid', '<=', last)
        .where('action_pending', '=', 1)
        .execute();
      await transaction
        .deleteFrom('outcome')
        .where('mailbox_id', '=', mailboxId)
        .where('folder_epoch', '=', folderEpoch)
        .where('uid', '>', from)
        .where('uid', '<=', last)
        .where(isObsolete)
        .execute();
    });
    after = last;
  }
}

const deletedOutcomes = outcomesWhere(({ inEarlierEpoch }) => inEarlierEpoch === 'deleted');
const deletedWithoutSource = outcomesWhere(({ inEarlierEpoch }) => inEarlierEpoch === 'deleted_without_source');

/** Under an old UID a waiting message without a source cannot be fetched. */
function isObsolete(where: ExpressionBuilder<Tables, 'outcome'>) {
  return where.or([
    where('outcome', 'in', deletedOutcomes),
    where.and([
      where('outcome', 'in', deletedWithoutSource),
      where('resolved_at', 'is', null),
      where('raw_segment', 'is', null),
    ]),
  ]);
}

async function lastOfBatch(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
  after: number,
): Promise<number | null> {
  const rows = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '>', after)
    .where((where) => where.or([isObsolete(where), where('action_pending', '=', 1)]))
    .orderBy('uid')
    .limit(rowsPerBatch)
    .execute();
  return rows.at(-1)?.uid ?? null;
}

/** Locks the row until the commit, as the fence of a batch does, without changing it. */
async function assertLease(db: SqlExecutor, lease: Lease): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ lease_epoch: sql<number>`lease_epoch` })
    .where((where) => isLeaseOwner(where, lease))
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease.mailboxId);
}
