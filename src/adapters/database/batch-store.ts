/**
 * A batch in one transaction: fence and cursor, tickets, messages, attachments, outcomes. All of it, or nothing.
 *
 * The fence is the first statement, so a worker without the lease writes nothing, and two of them take turns. Rows go
 * in few statements of bounded size. A deadlock or a lock that was held too long is tried again (transactions.ts); then
 * `database_conflict`. A reference that is taken, or a ticket that is gone, is `database_conflict` at once: the caller
 * must think again. When the connection breaks during the commit it is unknown what holds: read the cursor.
 */
import { type Selectable, sql } from 'kysely';
import { Failure } from '../../errors.ts';
import type { IngestStore, Lease } from '../../ingest/ports.ts';
import type { Batch, KnownMessage } from '../../ingest/rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { dueMailboxes, hurry, hurryAll, scheduleOf, watchedRows } from './due-rows.ts';
import { insertRows } from './insert-rows.ts';
import {
  freeDeadLeases,
  freeLease,
  freeLeasesOf,
  isHeld,
  leaseLost,
  leaseOwner,
  noteVisit,
  readCursor,
  releaseLease,
  renewLeases,
  setCursor,
  takeLease,
} from './lease-store.ts';
import { attachmentRow, hashOf, messageRow, outcomeRow, ticketRow } from './message-rows.ts';
import { portions } from './portions.ts';
import type { Connected, MessageTable } from './tables.ts';
import { inTransaction } from './transactions.ts';

export function ingestStore(db: Connected, words: DialectWords): IngestStore {
  return {
    dueMailboxes: (limit, keyIds, refusalsMax) => dueMailboxes(db, words, limit, keyIds, refusalsMax),
    scheduleOf: (mailboxId) => scheduleOf(db, words, mailboxId),
    hurry: (codes, host) => hurry(db, words, codes, host),
    hurryAll: () => hurryAll(db, words),
    watchedRows: (mailboxIds) => watchedRows(db, mailboxIds),
    takeLease: (...from) => takeLease(db, words, ...from),
    leaseOwner: (mailboxId) => leaseOwner(db, words, mailboxId),
    freeLease: (mailboxId, owner) => freeLease(db, words, mailboxId, owner),
    freeLeasesOf: (owner) => freeLeasesOf(db, words, owner),
    freeDeadLeases: (liveMs) => freeDeadLeases(db, words, liveMs),
    renewLeases: (leases, leaseMs) => renewLeases(db, words, leases, leaseMs),
    noteVisit: (lease, nextPollAfterMs) => noteVisit(db, words, lease, nextPollAfterMs),
    releaseLease: (lease, result) => releaseLease(db, words, lease, result),
    readCursor: (mailboxId) => readCursor(db, mailboxId),
    setCursor: (lease, cursor) => setCursor(db, words, lease, cursor),
    knownMessages: (messageIds) => knownMessages(db, messageIds),
    commitBatch: (lease, batch) => commitBatch(db, words, lease, batch),
    pendingActions: (mailboxId, uidValidity, limit) => pendingActions(db, mailboxId, uidValidity, limit),
    actionsDone: (lease, uidValidity, uids) => actionsDone(db, lease, uidValidity, uids),
  };
}

async function commitBatch(db: Connected, words: DialectWords, lease: Lease, batch: Batch): Promise<void> {
  await inTransaction(db, (transaction) => writeBatch(transaction, words, lease, batch));
}

async function writeBatch(db: Connected, words: DialectWords, lease: Lease, batch: Batch): Promise<void> {
  const { mailboxId } = lease;
  const { uidValidity } = batch.cursor;
  await setCursor(db, words, lease, batch.cursor);
  await touchTickets(db, words, batch);
  const tickets = batch.tickets.map((ticket) => ticketRow(ticket, mailboxId));
  await insertRows(db, words, 'ticket', tickets);
  const messages = batch.messages.map((message) => messageRow(message, mailboxId, words.now));
  await insertRows(db, words, 'message', messages);
  const attachments = batch.messages.flatMap(({ id, parsed }) =>
    parsed.attachments.map((attachment, position) => attachmentRow(attachment, id, position)),
  );
  await insertRows(db, words, 'attachment', attachments);
  const outcomes = batch.outcomes.map((outcome) => outcomeRow(outcome, mailboxId, uidValidity, words.now));
  await insertRows(db, words, 'outcome', outcomes);
}

/** Moves the tickets that get a reply up; it also holds them, so that none can go before the message is in. */
async function touchTickets(db: Connected, words: DialectWords, batch: Batch): Promise<void> {
  const added = new Set(batch.tickets.map((ticket) => ticket.id));
  const named = batch.messages.flatMap(({ ticketId }) => (ticketId === null || added.has(ticketId) ? [] : [ticketId]));
  // In one order for all writers, so that two of them do not wait for each other.
  for (const ids of portions([...new Set(named)].sort())) {
    const result = await db
      .updateTable('ticket')
      .set({ updated_at: words.now })
      .where('id', 'in', ids)
      .executeTakeFirst();
    if (result.numUpdatedRows !== BigInt(ids.length)) {
      throw new Failure('database_conflict', 'A ticket that was to get a reply is gone.', { fields: { key: null } });
    }
  }
}

type KnownRow = Pick<
  Selectable<MessageTable>,
  'id' | 'mailbox_id' | 'message_id_hash' | 'content_hash' | 'received_at'
> & { readonly ticket_id: string | null; readonly ticket_ref: string | null };

/** The ticket of a message is null when somebody has deleted it: a reply then opens a new one. */
async function knownMessages(db: Connected, messageIds: readonly string[]): Promise<readonly KnownMessage[]> {
  const asked = new Map(messageIds.map((messageId) => [hashOf(messageId), messageId]));
  const rows: KnownRow[] = [];
  for (const hashes of portions([...asked.keys()])) {
    const found = await db
      .selectFrom('message')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'message.mailbox_id', 'message_id_hash', 'content_hash', 'received_at'])
      .select(['ticket.id as ticket_id', 'ticket.ref as ticket_ref'])
      .where('message_id_hash', 'in', hashes)
      .execute();
    rows.push(...found);
  }
  rows.sort((a, b) => compare(a.received_at, b.received_at) || compare(a.id, b.id));
  return rows.map((row) => ({
    id: row.id,
    mailboxId: row.mailbox_id,
    messageId: asked.get(row.message_id_hash) ?? '',
    contentHash: row.content_hash,
    ticketId: row.ticket_id,
    ticketRef: row.ticket_ref,
  }));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

async function pendingActions(
  db: Connected,
  mailboxId: string,
  uidValidity: number,
  limit: number,
): Promise<readonly number[]> {
  const rows = await db
    .selectFrom('outcome')
    .select('uid')
    .where('action_pending', '=', 1)
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', uidValidity)
    .orderBy('uid')
    .limit(limit)
    .execute();
  return rows.map((row) => row.uid);
}

async function actionsDone(db: Connected, lease: Lease, uidValidity: number, uids: readonly number[]): Promise<void> {
  for (const portion of portions(uids)) {
    const result = await db
      .updateTable('outcome')
      .set({ action_pending: 0 })
      .where('mailbox_id', '=', lease.mailboxId)
      .where('uid_validity', '=', uidValidity)
      .where('uid', 'in', portion)
      .where((where) =>
        where.exists(
          where
            .selectFrom('mailbox_state')
            .select(sql`1`.as('held'))
            .where((state) => isHeld(state, lease)),
        ),
      )
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw leaseLost(lease);
  }
}
