/**
 * Ticket reader: tickets with their messages, outcomes page by page (keyset pagination), and the counts of `reconcile`.
 *
 * Only the messages of one ticket are read without a bound. A page costs the same anywhere in the table.
 */
import { sql } from 'kysely';
import type {
  MessageDetails,
  Outcome,
  OutcomeRow,
  StoredSource,
  TicketLinkView,
  TicketSummary,
} from '../../../ingest/model.ts';
import type { TicketReader } from '../../../ingest/stores.ts';
import { epochAfter } from '../mailboxes/folders.ts';
import { toStoredMessage, toStoredSource } from '../rows/messages.ts';
import { bindDatabase, rowsInChunks } from '../sql/statements.ts';
import { fromDatabaseTime, fromOptionalTime, type MessageRow, type SqlExecutor } from '../sql/tables.ts';
import { reconcile } from './reconcile.ts';
import { linksOf, noTicket } from './tickets.ts';

const outcomesPerPage = 500;
/** Messages with their texts, megabytes each at worst. */
const messagesPerPage = 20;

export function ticketReader(db: SqlExecutor): TicketReader {
  return bindDatabase(db, { listTickets, ticketByRef, outcomes, reconcile, unreferencedBlobs, retainedSegments });
}

function summaries(db: SqlExecutor) {
  return db
    .selectFrom('ticket')
    .leftJoin('mailboxes', 'mailboxes.id', 'ticket.mailbox_id')
    .leftJoin('ticket as into', 'into.id', 'ticket.merged_into')
    .select([
      'ticket.id',
      'ticket.ref',
      'ticket.subject',
      'ticket.subject_full',
      'ticket.requester_name',
      'ticket.requester_address',
      'ticket.status',
      'ticket.closed_at',
      'into.ref as merged_into_ref',
      'ticket.created_at',
      'ticket.updated_at',
      'mailboxes.name as mailbox_name',
    ])
    .select((ticket) =>
      ticket
        .selectFrom('message')
        .whereRef('message.ticket_id', '=', 'ticket.id')
        .select((message) => message.fn.countAll<number>().as('count'))
        .as('message_count'),
    );
}

type SummaryRow = Awaited<ReturnType<ReturnType<typeof summaries>['execute']>>[number];

function toSummary(row: SummaryRow, links: ReadonlyMap<string, readonly TicketLinkView[]>): TicketSummary {
  return {
    ref: row.ref,
    subject: row.subject_full ?? row.subject,
    requester: { name: row.requester_name, address: row.requester_address },
    status: row.status,
    closedAtMs: row.status === 'closed' ? fromOptionalTime(row.closed_at) : null,
    mergedInto: row.merged_into_ref,
    links: links.get(row.id) ?? [],
    mailbox: row.mailbox_name,
    messageCount: Number(row.message_count ?? 0),
    createdAtMs: fromDatabaseTime(row.created_at),
    updatedAtMs: fromDatabaseTime(row.updated_at),
  };
}

async function listTickets(db: SqlExecutor, limit: number): Promise<readonly TicketSummary[]> {
  const rows = await summaries(db)
    .orderBy('ticket.created_at', 'desc')
    .orderBy('ticket.id', 'desc')
    .limit(limit)
    .execute();
  const links = await linksOf(
    db,
    rows.map(({ id }) => id),
  );
  return rows.map((row) => toSummary(row, links));
}

async function ticketByRef(db: SqlExecutor, ref: string) {
  const row = await summaries(db).where('ticket.ref', '=', ref).executeTakeFirst();
  if (row === undefined) throw noTicket(ref);
  const rows = await db
    .selectFrom('message')
    .selectAll()
    .where('ticket_id', '=', row.id)
    .orderBy('received_at')
    .orderBy('id')
    .execute();
  const messages = await withAttachments(db, rows);
  const links = await linksOf(db, [row.id]);
  return { ...toSummary(row, links), messages: rows.flatMap(({ id }) => messages.get(id) ?? []) };
}

async function withAttachments(
  db: SqlExecutor,
  rows: readonly MessageRow[],
): Promise<ReadonlyMap<string, MessageDetails>> {
  const messageIds = rows.map(({ id }) => id);
  const attachments = await rowsInChunks(messageIds, (ids) =>
    db.selectFrom('attachment').selectAll().where('message_id', 'in', ids).orderBy('message_id').orderBy('position'),
  );
  const byMessage = Map.groupBy(attachments, (attachment) => attachment.message_id);
  return new Map(rows.map((row) => [row.id, toStoredMessage(row, byMessage.get(row.id) ?? [])]));
}

async function* outcomes(db: SqlExecutor, mailboxId: string, full: boolean): AsyncIterable<OutcomeRow> {
  let folderEpoch = await epochAfter(db, mailboxId, -1);
  while (folderEpoch !== null) {
    yield* outcomesIn(db, mailboxId, folderEpoch, full);
    folderEpoch = await epochAfter(db, mailboxId, folderEpoch);
  }
}

async function* outcomesIn(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
  full: boolean,
): AsyncIterable<OutcomeRow> {
  const pageSize = full ? messagesPerPage : outcomesPerPage;
  let after: number | undefined = -1;
  while (after !== undefined) {
    const rows = await outcomePage(db, mailboxId, folderEpoch, after, pageSize);
    const messages = full ? await messagesOf(db, rows) : new Map<string, MessageDetails>();
    for (const row of rows) {
      yield {
        folderEpoch,
        uid: row.uid,
        outcome: row.outcome as Outcome,
        reason: row.reason,
        ticket: row.ref,
        atMs: fromDatabaseTime(row.created_at),
        resolvedAtMs: fromOptionalTime(row.resolved_at),
        sizeBytes: row.size_bytes,
        quarantinedSource: row.outcome === 'quarantined' ? toStoredSource(row) : null,
        message: messages.get(row.message_id ?? '') ?? null,
      };
    }
    after = rows.length < pageSize ? undefined : rows.at(-1)?.uid;
  }
}

function outcomePage(db: SqlExecutor, mailboxId: string, folderEpoch: number, after: number, limit: number) {
  return db
    .selectFrom('outcome')
    .leftJoin('ticket', 'ticket.id', 'outcome.ticket_id')
    .select(['outcome.uid', 'outcome.outcome', 'outcome.reason', 'outcome.message_id'])
    .select(['outcome.created_at', 'outcome.resolved_at', 'outcome.size_bytes', 'ticket.ref'])
    .select(['outcome.raw_segment', 'outcome.raw_offset', 'outcome.raw_length', 'outcome.raw_sha256'])
    .where('outcome.mailbox_id', '=', mailboxId)
    .where('outcome.folder_epoch', '=', folderEpoch)
    .where('outcome.uid', '>', after)
    .orderBy('outcome.uid')
    .limit(limit)
    .execute();
}

async function messagesOf(
  db: SqlExecutor,
  rows: readonly { readonly message_id: string | null }[],
): Promise<ReadonlyMap<string, MessageDetails>> {
  const ids = rows.flatMap((row) => row.message_id ?? []);
  if (ids.length === 0) return new Map();
  return withAttachments(db, await db.selectFrom('message').selectAll().where('id', 'in', ids).execute());
}

async function unreferencedBlobs(db: SqlExecutor, hashes: readonly string[]): Promise<readonly string[]> {
  const rows = await rowsInChunks(hashes, (chunk) =>
    db.selectFrom('attachment').select('sha256').distinct().where('sha256', 'in', chunk),
  );
  const named = new Set(rows.map(({ sha256 }) => sha256));
  return hashes.filter((hash) => !named.has(hash));
}

async function retainedSegments(db: SqlExecutor, segments: readonly string[]): Promise<readonly string[]> {
  const rows = await rowsInChunks(segments, (chunk) =>
    db
      .selectFrom('outcome')
      .select('raw_segment')
      .distinct()
      .where('raw_segment', 'in', chunk)
      .where('outcome', '=', 'quarantined')
      .where('resolved_at', 'is', sql<null>`null`),
  );
  const needed = new Set(rows.map((row) => row.raw_segment));
  return segments.filter((segment) => needed.has(segment));
}

export async function storedSources(
  db: SqlExecutor,
  mailboxId: string,
  uids: readonly number[],
): Promise<readonly StoredSource[]> {
  const rows = await rowsInChunks(uids, (chunk) =>
    db
      .selectFrom('outcome')
      .select(['uid', 'raw_segment', 'raw_offset', 'raw_length', 'raw_sha256'])
      .where('mailbox_id', '=', mailboxId)
      .where('uid', 'in', chunk)
      .orderBy('folder_epoch'),
  );
  const sources = new Map<number, StoredSource>();
  for (const row of rows) {
    const source = toStoredSource(row);
    if (source !== null) sources.set(row.uid, source);
  }
  return uids.flatMap((uid) => sources.get(uid) ?? []);
}
