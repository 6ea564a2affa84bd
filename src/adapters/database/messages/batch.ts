/**
 * A batch in one transaction: fence and cursor, tickets, messages, attachments, outcomes, merges. All of it, or nothing.
 *
 * The fence is the first statement, so a worker without the lease writes nothing, and two of them take turns. Rows go
 * in few statements of bounded size. A deadlock or a lock that was held too long is tried again (transactions.ts); then
 * `database_conflict`. A reference that is taken, or a ticket that is gone or merged, is `database_conflict` at once: the caller
 * must think again. When the connection breaks during the commit it is unknown what holds: read the cursor.
 */
import { sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import type { Batch, NewMessage } from '../../../ingest/model.ts';
import type { IngestStore, Lease } from '../../../ingest/stores.ts';
import {
  freeDeadLeases,
  freeLease,
  freeLeasesOf,
  holdMailbox,
  isHeld,
  leaseLost,
  leaseOwner,
  noteVisit,
  readCursor,
  releaseLease,
  renewLeases,
  setCursor,
  takeLease,
} from '../mailboxes/leases.ts';
import { dueMailboxes, hurry, hurryAll, hurryStranded, scheduleOf, watchedRows } from '../mailboxes/schedule.ts';
import { attachmentRow, hashOf, messageRow, outcomeRow, ticketRow } from '../rows/messages.ts';
import type { DialectWords } from '../sql/dialect.ts';
import { insertRows, portions } from '../sql/dialect.ts';
import type { Connected } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';
import { knownStore } from './lookup.ts';
import { recogniseReturned } from './quarantine.ts';
import { addLinks, mergeTickets } from './tickets.ts';

const storing: ReadonlySet<string> = new Set(['ticket_opened', 'reply_added', 'recorded']);

export function ingestStore(db: Connected, words: DialectWords): IngestStore {
  return {
    dueMailboxes: (limit, keyIds, loginRefusalsMax, closed = []) =>
      dueMailboxes(db, words, { limit, keyIds, loginRefusalsMax, closed }),
    scheduleOf: (mailboxId) => scheduleOf(db, words, mailboxId),
    hurry: (codes, host) => hurry(db, words, codes, host),
    hurryAll: () => hurryAll(db, words),
    hurryStranded: (intervalMs) => hurryStranded(db, words, intervalMs),
    watchedRows: (mailboxIds) => watchedRows(db, mailboxIds),
    takeLease: (...from) => takeLease(db, words, ...from),
    leaseOwner: (mailboxId) => leaseOwner(db, words, mailboxId),
    freeLease: (mailboxId, owner) => freeLease(db, words, mailboxId, owner),
    freeLeasesOf: (owner) => freeLeasesOf(db, words, owner),
    freeDeadLeases: (liveMs, me) => freeDeadLeases(db, words, liveMs, me),
    renewLeases: (leases, leaseMs) => renewLeases(db, words, leases, leaseMs),
    noteVisit: (lease, nextPollAfterMs) => noteVisit(db, words, lease, nextPollAfterMs),
    releaseLease: (lease, result, version) => releaseLease(db, words, lease, result, version),
    readCursor: (mailboxId) => readCursor(db, mailboxId),
    setCursor: (lease, cursor) => setCursor(db, words, lease, cursor),
    ...knownStore(db, words),
    commitBatch: (lease, batch) => commitBatch(db, words, lease, batch),
    commitReleased: (mailboxId, batch) => commitReleased(db, words, mailboxId, batch),
    pendingActions: (mailboxId, uidValidity, limit) => pendingActions(db, mailboxId, uidValidity, limit),
    actionsDone: (lease, uidValidity, uids) => actionsDone(db, lease, uidValidity, uids),
  };
}

async function commitBatch(db: Connected, words: DialectWords, lease: Lease, batch: Batch): Promise<void> {
  const { mailboxId } = lease;
  await inTransaction(db, async (transaction) => {
    await setCursor(transaction, words, lease, batch.cursor);
    await writeMails(transaction, words, mailboxId, batch);
    await insertRows(transaction, words, 'outcome', outcomesOf(batch, mailboxId, words));
    await recogniseReturned(transaction, words, mailboxId, batch);
    await mergeTickets(transaction, words, batch.merges);
  });
}

/** A worker may be at the mailbox meanwhile: its batches and this one take turns. */
async function commitReleased(db: Connected, words: DialectWords, mailboxId: string, batch: Batch): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await holdMailbox(transaction, mailboxId);
    await assertUnknown(transaction, mailboxId, batch);
    await writeMails(transaction, words, mailboxId, batch);
    for (const row of outcomesOf(batch, mailboxId, words)) await replaceOutcome(transaction, words, row);
    await mergeTickets(transaction, words, batch.merges);
  });
}

/** Nobody's lease kept others from storing the same mail since it was decided: `database_conflict` then. */
async function assertUnknown(db: Connected, mailboxId: string, { outcomes }: Batch): Promise<void> {
  const identities = outcomes.flatMap(({ outcome, identity }) =>
    identity !== null && storing.has(outcome) ? [identity] : [],
  );
  if (identities.length === 0) return;
  const twin = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', '=', mailboxId)
    .where('identity', 'in', identities)
    .where('outcome', 'in', [...storing])
    .limit(1)
    .executeTakeFirst();
  if (twin !== undefined) throw conflict('The same mail was stored meanwhile.');
}

async function writeMails(db: Connected, words: DialectWords, mailboxId: string, batch: Batch): Promise<void> {
  await touchTickets(db, words, batch);
  const tickets = batch.tickets.map((ticket) => ticketRow(ticket, mailboxId));
  await insertRows(db, words, 'ticket', tickets);
  const messages = batch.messages.map((message) => messageRow(message, mailboxId, words.now));
  await insertRows(db, words, 'message', messages);
  const attachments = batch.messages.flatMap(({ id, parsed }) =>
    parsed.attachments.map((attachment, position) => attachmentRow(attachment, id, position)),
  );
  await insertRows(db, words, 'attachment', attachments);
  const references = batch.messages.flatMap((message) => referenceRows(message, mailboxId));
  await insertRows(db, words, 'message_reference', references);
  await addLinks(db, words, batch.links);
}

function outcomesOf({ outcomes, cursor }: Batch, mailboxId: string, words: DialectWords) {
  return outcomes.map((outcome) => outcomeRow(outcome, mailboxId, cursor.uidValidity, words.now));
}

async function replaceOutcome(db: Connected, words: DialectWords, row: ReturnType<typeof outcomeRow>): Promise<void> {
  const { mailbox_id: mailboxId, uid_validity: uidValidity, uid, created_at: _, ...columns } = row;
  const { numUpdatedRows } = await db
    .updateTable('outcome')
    .set({ ...columns, resolved_at: columns.outcome === 'quarantined' ? null : words.now })
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', uidValidity)
    .where('uid', '=', uid)
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) throw conflict('A mail that was to be taken out of quarantine does not wait any more.');
}

function referenceRows({ id, missing }: NewMessage, mailboxId: string) {
  return [...new Set(missing)].map((named) => ({
    mailbox_id: mailboxId,
    reference_hash: hashOf(named),
    message_id: id,
  }));
}

/**
 * Moves the tickets that get a reply up; it also holds them, and those that are merged, so that none can go before the
 * message is in. A closed one that a person answered is open again.
 */
export async function touchTickets(
  db: Connected,
  words: DialectWords,
  batch: Pick<Batch, 'tickets' | 'messages' | 'merges' | 'answered'>,
): Promise<void> {
  const added = new Set(batch.tickets.map((ticket) => ticket.id));
  const replied = batch.messages.flatMap(({ ticketId }) => ticketId ?? []);
  const merged = batch.merges.flatMap(({ ticketId, intoId }) => [ticketId, intoId]);
  const ids = [...new Set([...replied, ...merged])].filter((id) => !added.has(id));
  // In one order for all writers, so that two of them do not wait for each other.
  for (const portion of portions(ids.sort())) {
    const result = await db
      .updateTable('ticket')
      .set({ ...openAgain(portion.filter((id) => batch.answered.includes(id))), updated_at: words.now })
      .where('id', 'in', portion)
      .where('status', '<>', 'merged')
      .executeTakeFirst();
    if (result.numUpdatedRows !== BigInt(portion.length)) throw conflict('A ticket that was to get a reply is gone.');
  }
}

/** The time comes first: MySQL sets the columns one after the other, and it asks for the status before. */
function openAgain(ids: readonly string[]) {
  if (ids.length === 0) return {};
  const isClosed = sql<boolean>`status = 'closed' and id in (${sql.join(ids)})`;
  return {
    closed_at: sql<string | null>`case when ${isClosed} then null else closed_at end`,
    status: sql<string>`case when ${isClosed} then 'open' else status end`,
  };
}

/** Nobody tries the same again: what to write has to be decided anew. */
function conflict(message: string): Failure {
  return new Failure('database_conflict', message, { fields: { key: null } });
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
