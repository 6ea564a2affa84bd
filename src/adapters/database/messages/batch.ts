/**
 * Batch store: commits a batch in one fenced transaction (cursor, tickets, messages, attachments, outcomes, merges).
 *
 * The fence is the first statement: a worker without the lease writes nothing, and two workers are serialized. Rows are
 * inserted in few statements of bounded size. A deadlock or lock timeout is retried (statements.ts), then
 * `database_conflict`. A reference that is taken, or a ticket that is gone or merged, is `database_conflict`
 * immediately: the caller must decide again. After a connection that broke during the commit the result is unknown:
 * read the cursor.
 */
import { sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import { type Batch, type NewMessage, type NewOutcome, outcomeRules, storedOutcomes } from '../../../ingest/model.ts';
import { describeReason } from '../../../ingest/quarantine/reasons.ts';
import { type BatchStore, type Lease, leaseLost, type StoredPendingAction } from '../../../ingest/stores.ts';
import { advanceCursorFenced, isLeaseOwner, lockMailbox } from '../mailboxes/leases.ts';
import { attachmentRow, hashOf, messageRow, outcomeRow, ticketRow } from '../rows/messages.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { isDuplicateKey } from '../sql/errors.ts';
import { bindDatabase, chunks, insertRows, inTransaction, rowsInChunks } from '../sql/statements.ts';
import { compareTexts, fromForeignTime, type SqlExecutor, toClaimedTime } from '../sql/tables.ts';
import { addLinks, mergeTickets } from './tickets.ts';

/** Below UIDNEXT, which has 32 bits (RFC 9051 section 9). */
const uidMax = 2 ** 32 - 2;

export function batchStore(db: SqlExecutor): BatchStore {
  return bindDatabase(db, { commitBatch, commitResolved, pendingActions, completeActions });
}

async function commitBatch(
  db: SqlExecutor,
  lease: Lease,
  batch: Batch,
  others: readonly string[] = [],
): Promise<readonly number[]> {
  try {
    await inTransaction(db, (transaction) => writeBatch(transaction, lease, batch, others));
    return [];
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
    const replaced = await commitOverForeign(db, lease, batch, others);
    if (replaced === null) throw error;
    return replaced;
  }
}

async function writeBatch(db: SqlExecutor, lease: Lease, batch: Batch, others: readonly string[]): Promise<void> {
  const { mailboxId } = lease;
  await lockAccount(db, mailboxId, others);
  await advanceCursorFenced(db, lease, batch.cursor);
  await assertNotStored(db, others, batch);
  await writeMessages(db, mailboxId, batch);
  await insertRows(db, 'outcome', outcomesOf(batch, mailboxId, db.dialect));
  await matchRequarantined(db, mailboxId, batch);
  await mergeTickets(db, batch.merges);
}

/**
 * Mutex of the mailboxes of one account, so that copies of a message in two folders are not committed at the same
 * moment: the row of the least id, which is locked before any other. Of one mailbox its own fence suffices.
 */
async function lockAccount(db: SqlExecutor, mailboxId: string, others: readonly string[]): Promise<void> {
  const [least = mailboxId] = [mailboxId, ...others].toSorted(compareTexts);
  if (others.length > 0) await lockMailbox(db, least);
}

/**
 * Commits over outcome rows that another program wrote, and returns their UIDs; null: there are none, and nothing is
 * stored. A row above the cursor is such a one, since each commit moves the cursor over its own rows. One that makes
 * the message a duplicate stays: the cursor was set back.
 */
async function commitOverForeign(
  db: SqlExecutor,
  lease: Lease,
  batch: Batch,
  others: readonly string[],
): Promise<readonly number[] | null> {
  return await inTransaction(db, async (transaction) => {
    await lockAccount(transaction, lease.mailboxId, others);
    const rows = await rowsAboveCursor(transaction, lease, batch);
    if (rows.length === 0) return null;
    const earlier = new Map(rows.map((row) => [row.uid, row.dedup_key]));
    const stays = ({ outcome, uid, dedupKey }: NewOutcome) =>
      outcome === 'duplicate' && dedupKey !== null && earlier.get(uid) === dedupKey;
    const staying = batch.outcomes.filter(stays).map(({ uid }) => uid);
    const replaced = rows.map(({ uid }) => uid).filter((uid) => !staying.includes(uid));
    if (replaced.length > 0)
      await transaction
        .deleteFrom('outcome')
        .where('mailbox_id', '=', lease.mailboxId)
        .where('folder_epoch', '=', batch.cursor.folderEpoch)
        .where('uid', 'in', replaced)
        .execute();
    const outcomes = batch.outcomes.filter((one) => !stays(one));
    await writeBatch(transaction, lease, { ...batch, outcomes }, others);
    return replaced;
  });
}

/** Locks the mailbox, so that no other commit moves the cursor. */
async function rowsAboveCursor(db: SqlExecutor, { mailboxId }: Lease, { cursor, outcomes }: Batch) {
  await lockMailbox(db, mailboxId);
  const state = await db
    .selectFrom('mailbox_state')
    .select(['cursor_folder_epoch', 'cursor_uid'])
    .where('mailbox_id', '=', mailboxId)
    .executeTakeFirst();
  if (state?.cursor_folder_epoch !== cursor.folderEpoch) return [];
  const uids = outcomes.map(({ uid }) => uid).filter((uid) => uid > (state.cursor_uid ?? 0));
  return await rowsInChunks(uids, (chunk) =>
    db
      .selectFrom('outcome')
      .select(['uid', 'dedup_key'])
      .where('mailbox_id', '=', mailboxId)
      .where('folder_epoch', '=', cursor.folderEpoch)
      .where('uid', 'in', chunk),
  );
}

/** A worker may poll the mailbox meanwhile: the lock serializes its batches and this one. */
async function commitResolved(
  db: SqlExecutor,
  mailboxId: string,
  batch: Batch,
  others: readonly string[] = [],
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockAccount(transaction, mailboxId, others);
    await lockMailbox(transaction, mailboxId);
    await assertNotStored(transaction, [mailboxId, ...others], batch);
    await writeMessages(transaction, mailboxId, batch);
    for (const row of outcomesOf(batch, mailboxId, db.dialect)) await replaceOutcome(transaction, row);
    await mergeTickets(transaction, batch.merges);
  });
}

/** A worker with another lease may have stored the same message since the decision: `database_conflict` then. */
async function assertNotStored(db: SqlExecutor, mailboxIds: readonly string[], { outcomes }: Batch): Promise<void> {
  if (mailboxIds.length === 0) return;
  const dedupKeys = outcomes.flatMap(({ outcome, dedupKey }) =>
    dedupKey !== null && outcomeRules[outcome].isStored ? [dedupKey] : [],
  );
  if (dedupKeys.length === 0) return;
  const twin = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', 'in', mailboxIds)
    .where('dedup_key', 'in', dedupKeys)
    .where('outcome', 'in', storedOutcomes)
    .limit(1)
    .executeTakeFirst();
  if (twin !== undefined) throw conflict('The same message was stored meanwhile.');
}

async function writeMessages(db: SqlExecutor, mailboxId: string, batch: Batch): Promise<void> {
  await touchTickets(db, batch);
  const tickets = batch.tickets.map((ticket) => ticketRow(ticket, mailboxId));
  await insertRows(db, 'ticket', tickets);
  const messages = batch.messages.map((message) => messageRow(message, mailboxId, db.dialect.now));
  await insertRows(db, 'message', messages);
  const attachments = batch.messages.flatMap(({ id, parsed }) =>
    parsed.attachments.map((attachment, position) => attachmentRow(attachment, id, position)),
  );
  await insertRows(db, 'attachment', attachments);
  const references = batch.messages.flatMap((message) => referenceRows(message, mailboxId));
  await insertRows(db, 'message_reference', references);
  await addLinks(db, batch.links);
}

function outcomesOf({ outcomes, cursor }: Batch, mailboxId: string, dialect: SqlDialect) {
  return outcomes.map((outcome) => outcomeRow(outcome, mailboxId, cursor.folderEpoch, dialect.now));
}

async function replaceOutcome(db: SqlExecutor, row: ReturnType<typeof outcomeRow>): Promise<void> {
  const { mailbox_id: mailboxId, folder_epoch: folderEpoch, uid, created_at: _, ...columns } = row;
  const { numUpdatedRows } = await db
    .updateTable('outcome')
    .set({ ...columns, resolved_at: columns.outcome === 'quarantined' ? null : db.dialect.now })
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid)
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) throw conflict('A message to release from quarantine was resolved meanwhile.');
}

export function referenceRows({ id, missing }: Pick<NewMessage, 'id' | 'missing'>, mailboxId: string) {
  return [...new Set(missing)].map((named) => ({
    mailbox_id: mailboxId,
    reference_hash: hashOf(named),
    message_id: id,
  }));
}

/**
 * Updates and locks the tickets that get a reply or are merged, so that none can be deleted before the commit. A closed
 * ticket that a person answered is reopened.
 */
export async function touchTickets(
  db: SqlExecutor,
  batch: Pick<Batch, 'tickets' | 'messages' | 'merges' | 'answered'>,
): Promise<void> {
  const added = new Set(batch.tickets.map((ticket) => ticket.id));
  const replied = batch.messages.flatMap(({ ticketId }) => ticketId ?? []);
  const merged = batch.merges.flatMap(({ ticketId, intoId }) => [ticketId, intoId]);
  const ids = [...new Set([...replied, ...merged])].filter((id) => !added.has(id));
  // Every writer locks in the same order, so that two of them do not deadlock.
  for (const chunk of chunks(ids.sort())) {
    const result = await db
      .updateTable('ticket')
      .set({ ...reopened(chunk.filter((id) => batch.answered.includes(id))), updated_at: db.dialect.now })
      .where('id', 'in', chunk)
      .where('status', '<>', 'merged')
      .executeTakeFirst();
    if (result.numUpdatedRows !== BigInt(chunk.length)) throw conflict('A ticket that was to get a reply is gone.');
  }
}

/** The time is set first: MySQL assigns columns in order, and the expression reads the status before. */
function reopened(ids: readonly string[]) {
  if (ids.length === 0) return {};
  const isClosed = sql<boolean>`status = 'closed' and id in (${sql.join(ids)})`;
  return {
    closed_at: sql<string | null>`case when ${isClosed} then null else closed_at end`,
    status: sql<string>`case when ${isClosed} then 'open' else status end`,
  };
}

/** Not transient: a retry of the same batch would fail again, so the caller decides again. */
function conflict(message: string): Failure {
  return new Failure('database_conflict', message, { fields: { key: null } });
}

async function pendingActions(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
  limit: number,
): Promise<readonly StoredPendingAction[]> {
  const rows = await db
    .selectFrom('outcome')
    .select(['uid', 'size_bytes', 'received_at', 'action_seal'])
    .where('action_pending', '=', 1)
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where((where) => where.between('uid', 1, uidMax))
    .where((where) => where.between('size_bytes', 0, Number.MAX_SAFE_INTEGER))
    .orderBy('uid')
    .limit(limit)
    .execute();
  return rows.filter(isPossible).map((row) => ({
    uid: row.uid,
    sizeBytes: row.size_bytes,
    receivedAtMs: fromForeignTime(row.received_at),
    seal: row.action_seal,
  }));
}

/** Another program may have changed the type of a column: `1:*` is a number for MySQL, and a set of UIDs for IMAP. */
function isPossible(row: { readonly uid: unknown; readonly size_bytes: unknown }): boolean {
  return Number.isSafeInteger(row.uid) && Number.isSafeInteger(row.size_bytes);
}

async function completeActions(
  db: SqlExecutor,
  lease: Lease,
  folderEpoch: number,
  uids: readonly number[],
): Promise<void> {
  for (const chunk of chunks(uids)) {
    const result = await db
      .updateTable('outcome')
      .set({ action_pending: 0 })
      .where('mailbox_id', '=', lease.mailboxId)
      .where('folder_epoch', '=', folderEpoch)
      .where('uid', 'in', chunk)
      .where((where) =>
        where.exists(
          where
            .selectFrom('mailbox_state')
            .select(sql`1`.as('owned'))
            .where((state) => isLeaseOwner(state, lease)),
        ),
      )
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw leaseLost(lease.mailboxId);
  }
}

/*
 * Deduplication of quarantined messages after a UIDVALIDITY change, when the server lists them under new UIDs. A
 * message is matched by the hash of its source; one of which only the header was fetched by size and Message-ID. An
 * unresolved row of the earlier folder epoch is replaced by the new one; a discarded message stays discarded, and a
 * released one is a duplicate.
 */

async function matchRequarantined(
  db: SqlExecutor,
  mailboxId: string,
  { outcomes, cursor: { folderEpoch } }: Pick<Batch, 'outcomes' | 'cursor'>,
): Promise<void> {
  for (const outcome of outcomes) {
    const { raw } = outcome;
    if (outcome.outcome !== 'quarantined' || raw === null) continue;
    const key = { mailboxId, folderEpoch, uid: outcome.uid };
    const earlier = await earlierRows(db, key, raw.sha256);
    for (const row of earlier) if (row.resolved_at === null) await deleteRow(db, mailboxId, row);
    if (earlier.some((row) => row.resolved_at !== null))
      await newRow(db, key).set({ resolved_at: db.dialect.now }).execute();
    // A parsed message is matched by its dedup key.
    else if (outcome.dedupKey === null) await matchReleased(db, key, outcome);
  }
}

type OutcomeKey = { readonly mailboxId: string; readonly folderEpoch: number; readonly uid: number };

function newRow(db: SqlExecutor, { mailboxId, folderEpoch, uid }: OutcomeKey) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid);
}

/** The rows of other folder epochs, found by the index on outcome and time of resolution: quarantine is small. */
function earlierRows(db: SqlExecutor, { mailboxId, folderEpoch }: OutcomeKey, sha256: string) {
  return db
    .selectFrom('outcome')
    .select(['folder_epoch', 'uid', 'resolved_at'])
    .where('outcome', '=', 'quarantined')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '<>', folderEpoch)
    .where('raw_sha256', '=', sha256)
    .execute();
}

/** Released messages are in the same index. */
async function matchReleased(db: SqlExecutor, key: OutcomeKey, outcome: NewOutcome): Promise<void> {
  const released = await db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .select(['outcome.ticket_id', 'outcome.message_id'])
    .where('outcome.outcome', 'in', storedOutcomes)
    .where('outcome.resolved_at', 'is not', null)
    .where('outcome.mailbox_id', '=', key.mailboxId)
    .where('outcome.folder_epoch', '<>', key.folderEpoch)
    .where(isSameMessage(outcome))
    .limit(1)
    .executeTakeFirst();
  if (released === undefined) return;
  const { ticket_id, message_id } = released;
  const duplicate = { outcome: 'duplicate', reason: 'seen_before', ticket_id, message_id };
  await newRow(db, key)
    .set({ ...duplicate, resolved_at: db.dialect.now })
    .execute();
}

/**
 * The same source. For a header alone: the same size and Message-ID, or without a Message-ID the same time of
 * arrival.
 */
function isSameMessage({ raw, reason, sizeBytes, receivedAtMs, headMessageId }: NewOutcome) {
  const same = sql<boolean>`outcome.raw_sha256 = ${raw?.sha256 ?? ''}`;
  if (reason === null || describeReason(reason).source !== 'header') return same;
  const id = headMessageId === undefined ? sql`1 = 0` : sql`message.message_id_hash = ${hashOf(headMessageId)}`;
  const receivedAt = toClaimedTime(receivedAtMs);
  const arrival =
    receivedAt === null ? sql`1 = 0` : sql`outcome.received_at = ${receivedAt} and ${hasNoMessageId(headMessageId)}`;
  return sql<boolean>`(${same} or (outcome.size_bytes = ${sizeBytes} and (${id} or (${arrival}))))`;
}

/** Without a Message-ID, or its message row was deleted. */
function hasNoMessageId(headMessageId: string | undefined) {
  return headMessageId === undefined
    ? sql`(message.id is null or message.message_id_missing = 1)`
    : sql`message.id is null`;
}

async function deleteRow(
  db: SqlExecutor,
  mailboxId: string,
  row: { readonly folder_epoch: number; readonly uid: number },
): Promise<void> {
  await db
    .deleteFrom('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', row.folder_epoch)
    .where('uid', '=', row.uid)
    .where('resolved_at', 'is', null)
    .execute();
}
