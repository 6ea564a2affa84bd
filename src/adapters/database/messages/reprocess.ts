/**
 * Reprocess store: stored messages with the location of their sources, and their replacement after a new parse.
 *
 * The row keeps its id, its mailbox and its times of arrival and insertion. The result names the changed columns;
 * without a change nothing is written.
 */
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../../../errors.ts';
import { type NewMessage, type Outcome, storedOutcomes } from '../../../ingest/model.ts';
import type { MessageReplacement, ReprocessStore, ReprocessTarget } from '../../../ingest/stores.ts';
import { dedupKey } from '../../../mail/fingerprint.ts';
import { attachmentRow, messageRow, ticketRow, toStoredSource } from '../rows/messages.ts';
import { bindDatabase, insertRows, inTransaction } from '../sql/statements.ts';
import {
  type AttachmentRow,
  fromDatabaseTime,
  type MessageRow,
  type SqlExecutor,
  toDatabaseTime,
} from '../sql/tables.ts';
import { referenceRows, touchTickets } from './batch.ts';
import { addLinks, mergeTickets } from './tickets.ts';

const rowsPerPage = 500;
/** Columns that a new parse of the source never changes. */
const unchangedColumns: ReadonlySet<string> = new Set([
  'id',
  'mailbox_id',
  'ticket_id',
  'thread_rule',
  'repeat_key',
  'received_at',
  'created_at',
]);

export function reprocessStore(db: SqlExecutor): ReprocessStore {
  return {
    replaceMessage: (target, replacement) =>
      inTransaction(db, (transaction) => replaceMessage(transaction, target, replacement)),
    ...bindDatabase(db, { reprocessTarget, messageIdsSince }),
  };
}

async function reprocessTarget(db: SqlExecutor, id: string): Promise<ReprocessTarget> {
  const row = await db
    .selectFrom('message')
    .select(['id', 'mailbox_id', 'ticket_id', 'received_at'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) {
    const hint = 'It is the "id" that message list --full --json and ticket show --json print.';
    throw new Failure('not_found', `There is no message ${JSON.stringify(id)}.`, { hint });
  }
  return {
    id,
    mailboxId: row.mailbox_id,
    ticketId: row.ticket_id,
    receivedAtMs: fromDatabaseTime(row.received_at),
    source: await sourceOf(db, id),
  };
}

/** The source of its own outcome, or that of the same message under another UID. */
async function sourceOf(db: SqlExecutor, id: string): Promise<ReprocessTarget['source']> {
  const rows = await db
    .selectFrom('outcome')
    .select(['folder_epoch', 'uid', 'outcome', 'size_bytes', 'raw_segment', 'raw_offset', 'raw_length', 'raw_sha256'])
    .where('message_id', '=', id)
    .orderBy('created_at')
    .limit(rowsPerPage)
    .execute();
  const withSource = rows.flatMap((row) => {
    const raw = toStoredSource(row);
    return raw === null ? [] : [{ row, raw }];
  });
  const own = rows.find(({ outcome }) => storedOutcomes.some((stored) => stored === outcome));
  const last = withSource.at(-1);
  if (own === undefined || last === undefined) return null;
  const { raw } = withSource.find(({ row }) => row === own) ?? last;
  const { folder_epoch: folderEpoch, uid, size_bytes: sizeBytes } = own;
  return { folderEpoch, uid, outcome: own.outcome as Outcome, sizeBytes, raw };
}

async function* messageIdsSince(db: SqlExecutor, mailboxId: string, sinceMs: number | null): AsyncGenerator<string> {
  let last: { readonly id: string; readonly received_at: string } | undefined;
  do {
    let query = db
      .selectFrom('message')
      .select(['id', 'received_at'])
      .where('mailbox_id', '=', mailboxId)
      .orderBy('received_at')
      .orderBy('id')
      .limit(rowsPerPage);
    if (sinceMs !== null) query = query.where('received_at', '>=', toDatabaseTime(sinceMs));
    const after = last;
    if (after !== undefined) {
      query = query.where((where) =>
        where.or([
          where('received_at', '>', after.received_at),
          where.and([where('received_at', '=', after.received_at), where('id', '>', after.id)]),
        ]),
      );
    }
    const rows = await query.execute();
    yield* rows.map(({ id }) => id);
    last = rows.length < rowsPerPage ? undefined : rows.at(-1);
  } while (last !== undefined);
}

async function replaceMessage(
  db: SqlExecutor,
  target: ReprocessTarget,
  { parsed, joined }: MessageReplacement,
): Promise<readonly string[]> {
  const { id, mailboxId, receivedAtMs } = target;
  const before = await lockMessage(db, target);
  const [inTicket] = joined?.messages ?? [];
  const recorded = { id, ticketId: null, threadRule: null, receivedAtMs, parsed, missing: [], repeatKey: null };
  const message: NewMessage = inTicket ?? recorded;
  const after = messageRow(message, mailboxId, db.dialect.now);
  const attachments = parsed.attachments.map((one, position) => attachmentRow(one, id, position));
  const changed = changedColumns(before, after);
  const hasOther = !isDeepStrictEqual(await attachmentsOf(db, id), attachments);
  if (hasOther) {
    await db.deleteFrom('attachment').where('message_id', '=', id).execute();
    await insertRows(db, 'attachment', attachments);
  }
  if (joined !== null) await joinTicket(db, mailboxId, joined);
  const into = inTicket === undefined ? {} : { ticket_id: inTicket.ticketId, thread_rule: inTicket.threadRule };
  const columns = { ...Object.fromEntries(changed.map((name) => [name, after[name as keyof typeof after]])), ...into };
  if (Object.keys(columns).length > 0) {
    await db.updateTable('message').set(columns).where('id', '=', id).execute();
    await updateOutcome(db, id, message, joined);
  }
  if (joined !== null) await mergeTickets(db, joined.merges);
  return [...changed.map(fieldName), ...(hasOther ? ['attachments'] : []), ...(joined === null ? [] : ['ticket'])];
}

/** The row, locked until the commit. */
async function lockMessage(db: SqlExecutor, { id, ticketId }: ReprocessTarget): Promise<MessageRow> {
  const locked = await db
    .updateTable('message')
    .set((row) => ({ kind: row.ref('kind') }))
    .where('id', '=', id)
    .executeTakeFirst();
  const row = await db.selectFrom('message').selectAll().where('id', '=', id).executeTakeFirst();
  if (locked.numUpdatedRows === 1n && row !== undefined && row.ticket_id === ticketId) return row;
  throw new Failure('database_conflict', 'A message was changed meanwhile.', { fields: { key: null } });
}

function changedColumns(before: MessageRow, after: ReturnType<typeof messageRow>): readonly string[] {
  return Object.keys(after).filter(
    (name) => !unchangedColumns.has(name) && before[name as keyof MessageRow] !== after[name as keyof typeof after],
  );
}

/** The name of the field in `--json`. */
function fieldName(column: string): string {
  return column.replace(/_json$|_full$|^body_|_hash$/u, '');
}

async function attachmentsOf(db: SqlExecutor, id: string): Promise<readonly AttachmentRow[]> {
  const rows = await db.selectFrom('attachment').selectAll().where('message_id', '=', id).orderBy('position').execute();
  // Rows of the drivers are no plain objects.
  return rows.map((row) => ({ ...row }));
}

async function joinTicket(
  db: SqlExecutor,
  mailboxId: string,
  joined: NonNullable<MessageReplacement['joined']>,
): Promise<void> {
  await touchTickets(db, joined);
  await insertRows(
    db,
    'ticket',
    joined.tickets.map((ticket) => ticketRow(ticket, mailboxId)),
  );
  for (const { id, missing } of joined.messages) {
    await db.deleteFrom('message_reference').where('mailbox_id', '=', mailboxId).where('message_id', '=', id).execute();
    await insertRows(db, 'message_reference', referenceRows({ id, missing }, mailboxId));
  }
  await addLinks(db, joined.links);
}

/** The reason of a recorded message is its kind. */
async function updateOutcome(
  db: SqlExecutor,
  id: string,
  { parsed }: NewMessage,
  joined: MessageReplacement['joined'],
): Promise<void> {
  const dedup = { dedup_key: dedupKey(parsed) };
  const [next] = joined?.outcomes ?? [];
  const rows = db.updateTable('outcome').where('message_id', '=', id);
  if (next !== undefined) {
    const { outcome, reason, ticketId } = next;
    await rows
      .set({ outcome, reason, ticket_id: ticketId, ...dedup })
      .where('outcome', 'in', storedOutcomes)
      .execute();
    await rows.set({ ticket_id: ticketId }).where('outcome', '=', 'duplicate').execute();
    return;
  }
  await rows.set(dedup).where('outcome', 'in', storedOutcomes).execute();
  await rows.set({ reason: parsed.kind }).where('outcome', '=', 'recorded').where('reason', '<>', 'own_mail').execute();
}
