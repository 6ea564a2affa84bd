/**
 * Reconcile store: outcomes to compare with a folder on the server, files that rows refer to, lost messages, and
 * counts.
 *
 * A message that the server has and no outcome names is quarantined as `missed`. A lost message, whose row was deleted
 * without its ticket, is restored from its source.
 */
import { sql } from 'kysely';
import { type ConsistencyCounts, type Outcome, storedOutcomes } from '../../../ingest/model.ts';
import type {
  ComparedOutcome,
  InconsistentRow,
  LostMessage,
  ReconcileStore,
  ReferencedBlob,
  ReferencedSegment,
} from '../../../ingest/stores.ts';
import type { ParsedMessage } from '../../../mail/message.ts';
import { lockMailbox } from '../mailboxes/leases.ts';
import { attachmentRow, messageRow, outcomeRow, toStoredSource } from '../rows/messages.ts';
import { isDuplicateKey } from '../sql/errors.ts';
import { bindDatabase, insertRows, inTransaction } from '../sql/statements.ts';
import { fromDatabaseTime, fromOptionalTime, type SqlExecutor } from '../sql/tables.ts';

const rowsPerPage = 5000;
const mergesMax = 20;

export function reconcileStore(db: SqlExecutor): ReconcileStore {
  return {
    restoreMessage: (lost, parsed) => inTransaction(db, (transaction) => restoreMessage(transaction, lost, parsed)),
    ...bindDatabase(db, {
      countReferencedBlobs,
      referencedBlobs,
      referencedSegments,
      comparedOutcomes,
      inconsistentRows,
      lostMessages,
      quarantineMissed,
    }),
  };
}

async function countReferencedBlobs(db: SqlExecutor): Promise<number> {
  const row = await db
    .selectFrom('attachment')
    .select((of) => of.fn.count<number>('sha256').distinct().as('count'))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

async function* referencedBlobs(db: SqlExecutor): AsyncGenerator<ReferencedBlob> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const rows: readonly { sha256: string; size: number; message: string }[] = await db
      .selectFrom('attachment')
      .select((of) => ['sha256', of.fn.max('size_bytes').as('size'), of.fn.min('message_id').as('message')])
      .where('sha256', '>', after)
      .groupBy('sha256')
      .orderBy('sha256')
      .limit(rowsPerPage)
      .execute();
    for (const { sha256, size, message } of rows) yield { sha256, sizeBytes: Number(size), messageId: message };
    after = rows.length < rowsPerPage ? undefined : rows.at(-1)?.sha256;
  }
}

async function referencedSegments(db: SqlExecutor): Promise<readonly ReferencedSegment[]> {
  const rows = await db
    .selectFrom('outcome')
    .select((of) => [
      'raw_segment',
      of.fn.max(sql<number>`raw_offset + raw_length`).as('end'),
      of.fn.countAll<number>().as('messages'),
      of.fn
        .sum<number>(sql<number>`case when outcome = 'quarantined' and resolved_at is null then 1 else 0 end`)
        .as('waiting'),
    ])
    .where('raw_segment', 'is not', null)
    .groupBy('raw_segment')
    .orderBy('raw_segment')
    .execute();
  return rows.map(({ raw_segment: segment, end, messages, waiting }) => ({
    ...{ segment: segment ?? '', endOffset: Number(end) },
    ...{ messages: Number(messages), waiting: Number(waiting) },
  }));
}

async function* comparedOutcomes(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
): AsyncGenerator<ComparedOutcome> {
  let after: number | undefined = -1;
  while (after !== undefined) {
    const rows: readonly ComparedRow[] = await db
      .selectFrom('outcome')
      .select(['uid', 'outcome', 'resolved_at', 'action_pending'])
      .where('mailbox_id', '=', mailboxId)
      .where('folder_epoch', '=', folderEpoch)
      .where('uid', '>', after)
      .orderBy('uid')
      .limit(rowsPerPage)
      .execute();
    yield* rows.map(toCompared);
    after = rows.length < rowsPerPage ? undefined : rows.at(-1)?.uid;
  }
}

type ComparedRow = {
  readonly uid: number;
  readonly outcome: string;
  readonly resolved_at: string | null;
  readonly action_pending: number;
};

function toCompared(row: ComparedRow): ComparedOutcome {
  return {
    uid: row.uid,
    outcome: row.outcome as Outcome,
    waits: row.outcome === 'quarantined' && row.resolved_at === null,
    actionPending: row.action_pending === 1,
  };
}

/** The primary key admits one row per UID: of two concurrent calls one inserts it. */
async function quarantineMissed(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number,
  message: Parameters<ReconcileStore['quarantineMissed']>[2],
): Promise<boolean> {
  const row = outcomeRow(
    {
      ...message,
      ...{ outcome: 'quarantined', reason: 'missed', ticketId: null, messageId: null },
      ...{ raw: null, actionPending: false, dedupKey: null },
    },
    mailboxId,
    folderEpoch,
    db.dialect.now,
  );
  try {
    await db.insertInto('outcome').values(row).execute();
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

function lost(db: SqlExecutor, mailboxId: string) {
  return db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .leftJoin('ticket', 'ticket.id', 'outcome.ticket_id')
    .select(['outcome.folder_epoch', 'outcome.uid', 'outcome.ticket_id', 'outcome.message_id', 'ticket.ref'])
    .select(['outcome.size_bytes', 'outcome.received_at', 'outcome.created_at', 'outcome.dedup_key'])
    .select(['outcome.raw_segment', 'outcome.raw_offset', 'outcome.raw_length', 'outcome.raw_sha256'])
    .where('outcome.mailbox_id', '=', mailboxId)
    .where('outcome.outcome', 'in', storedOutcomes)
    .where('outcome.message_id', 'is not', null)
    .where('message.id', 'is', null)
    .where((where) => where.or([where('outcome.ticket_id', 'is', null), where('ticket.id', 'is not', null)]))
    .orderBy('outcome.folder_epoch')
    .orderBy('outcome.uid');
}

async function* lostMessages(db: SqlExecutor, mailboxId: string): AsyncGenerator<LostMessage> {
  let after: { readonly folder_epoch: number; readonly uid: number } = { folder_epoch: -1, uid: -1 };
  for (let isMore = true; isMore; ) {
    const { folder_epoch: folderEpoch, uid } = after;
    const rows = await lost(db, mailboxId)
      .where(
        sql<boolean>`(outcome.folder_epoch > ${folderEpoch} or (outcome.folder_epoch = ${folderEpoch} and outcome.uid > ${uid}))`,
      )
      .limit(rowsPerPage)
      .execute();
    yield* rows.map((row) => toLost(row, mailboxId));
    isMore = rows.length === rowsPerPage;
    after = rows.at(-1) ?? after;
  }
}

type LostRow = Awaited<ReturnType<ReturnType<typeof lost>['execute']>>[number];

function toLost(row: LostRow, mailboxId: string): LostMessage {
  return {
    mailboxId,
    folderEpoch: row.folder_epoch,
    uid: row.uid,
    ticketId: row.ticket_id,
    ticket: row.ref,
    messageId: row.message_id ?? '',
    sizeBytes: row.size_bytes,
    receivedAtMs: fromOptionalTime(row.received_at) ?? fromDatabaseTime(row.created_at),
    raw: toStoredSource(row),
    dedupKey: row.dedup_key,
  };
}

/** The mailbox is locked, so that of two concurrent restores one succeeds. */
async function restoreMessage(
  db: SqlExecutor,
  { mailboxId, folderEpoch, uid, messageId: id, ticketId, receivedAtMs }: LostMessage,
  parsed: ParsedMessage,
): Promise<boolean> {
  await lockMailbox(db, mailboxId);
  const [still] = await lost(db, mailboxId)
    .where('outcome.folder_epoch', '=', folderEpoch)
    .where('outcome.uid', '=', uid)
    .where('outcome.message_id', '=', id)
    .execute();
  if (still === undefined || still.ticket_id !== ticketId) return false;
  const into = ticketId === null ? null : await mergedInto(db, ticketId);
  if (into !== ticketId)
    await db.updateTable('outcome').set({ ticket_id: into }).where('message_id', '=', id).execute();
  const message = { id, ticketId: into, threadRule: null, receivedAtMs, parsed, missing: [], repeatKey: null };
  await insertRows(db, 'message', [messageRow(message, mailboxId, db.dialect.now)]);
  await db.deleteFrom('attachment').where('message_id', '=', id).execute();
  const attachments = parsed.attachments.map((one, position) => attachmentRow(one, id, position));
  await insertRows(db, 'attachment', attachments);
  return true;
}

/** The ticket that `id` was merged into, followed to the end. */
async function mergedInto(db: SqlExecutor, id: string): Promise<string> {
  for (let [now, steps] = [id, 0]; ; steps += 1) {
    const row = await db.selectFrom('ticket').select('merged_into').where('id', '=', now).executeTakeFirst();
    const next = row?.merged_into ?? null;
    if (next === null || steps === mergesMax) return now;
    now = next;
  }
}

/*
 * Consistency counts: inconsistent outcomes, messages, tickets and cursors, which are 0 in a healthy database, and
 * totals. Rows that refer to tickets or messages that a helpdesk deleted on purpose are counted apart and are no
 * inconsistency.
 */

/** An outcome whose message row is missing. */
const namesNoMessage = sql`message.id is null and (outcome.message_id is not null
  or outcome.outcome in (${sql.join(storedOutcomes.map((outcome) => sql.lit(outcome)))}))`;
/** Its ticket was deleted as well. */
const isDeleted = sql`outcome.ticket_id is not null
  and not exists (select 1 from ticket where ticket.id = outcome.ticket_id)`;

/** Inconsistencies: the rows of each, and the columns that describe them. */
const inconsistencies = {
  outcomesWithoutMessage: {
    from: sql`outcome left join message on message.id = outcome.message_id
      left join mailboxes on mailboxes.id = outcome.mailbox_id left join ticket on ticket.id = outcome.ticket_id
      where ${namesNoMessage} and not (${isDeleted})`,
    columns: sql`mailboxes.name as mailbox, outcome.uid as uid, ticket.ref as ticket, outcome.message_id as message`,
  },
  // The outcomes of a removed mailbox were deleted with it.
  messagesWithoutOutcome: {
    from: sql`message inner join mailboxes on mailboxes.id = message.mailbox_id
      left join ticket on ticket.id = message.ticket_id
      where not exists (select 1 from outcome where outcome.message_id = message.id)`,
    columns: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, message.id as message`,
  },
  // The messages of a merged ticket belong to another ticket.
  ticketsWithoutMessage: {
    from: sql`ticket left join mailboxes on mailboxes.id = ticket.mailbox_id
      where merged_into is null and status <> 'merged'
        and not exists (select 1 from message where message.ticket_id = ticket.id)`,
    columns: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, null as message`,
  },
  mergedTicketsWithMessage: {
    from: sql`ticket left join mailboxes on mailboxes.id = ticket.mailbox_id
      where merged_into is not null and exists (select 1 from message where message.ticket_id = ticket.id)`,
    columns: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, null as message`,
  },
  outcomesAboveCursor: {
    from: sql`outcome inner join mailbox_state on mailbox_state.mailbox_id = outcome.mailbox_id
      left join mailboxes on mailboxes.id = outcome.mailbox_id left join ticket on ticket.id = outcome.ticket_id
      where outcome.folder_epoch = mailbox_state.cursor_folder_epoch and outcome.uid > mailbox_state.cursor_uid`,
    columns: sql`mailboxes.name as mailbox, outcome.uid as uid, ticket.ref as ticket, outcome.message_id as message`,
  },
} as const;

type InconsistencyName = keyof typeof inconsistencies;

/** One query for each total. */
const counts: Readonly<Record<Exclude<keyof ConsistencyCounts, InconsistencyName>, ReturnType<typeof sql>>> = {
  outcomes: sql`select count(*) as count from outcome`,
  messages: sql`select count(*) as count from message`,
  links: sql`select count(*) as count from ticket_link`,
  references: sql`select count(*) as count from message_reference`,
  mergedTickets: sql`select count(*) as count from ticket where merged_into is not null`,
  deletedMessages: sql`select count(*) as count from outcome
    left join message on message.id = outcome.message_id where ${namesNoMessage} and ${isDeleted}`,
  linksWithoutTicket: sql`select count(*) as count from ticket_link
    where not exists (select 1 from ticket where ticket.id = ticket_link.ticket_id)
      or not exists (select 1 from ticket where ticket.id = ticket_link.other_id)`,
  referencesWithoutMessage: sql`select count(*) as count from message_reference
    where not exists (select 1 from message where message.id = message_reference.message_id)`,
};

export async function reconcile(db: SqlExecutor): Promise<ConsistencyCounts> {
  const found: [string, number][] = [];
  for (const [name, { from }] of Object.entries(inconsistencies))
    found.push([name, await count(db, sql`select count(*) as count from ${from}`)]);
  for (const [name, query] of Object.entries(counts)) found.push([name, await count(db, query)]);
  return Object.fromEntries(found) as ConsistencyCounts;
}

/** The first rows of each inconsistency among `names`. */
async function inconsistentRows(
  db: SqlExecutor,
  names: readonly (keyof ConsistencyCounts)[],
  limit: number,
): Promise<readonly InconsistentRow[]> {
  const found: InconsistentRow[] = [];
  for (const name of names) {
    if (!isInconsistency(name)) continue;
    const { from, columns } = inconsistencies[name];
    const { rows } = await sql<
      Omit<InconsistentRow, 'count'>
    >`select ${columns} from ${from} limit ${sql.lit(limit)}`.execute(db);
    for (const { mailbox, uid, ticket, message } of rows) found.push({ count: name, mailbox, uid, ticket, message });
  }
  return found;
}

function isInconsistency(name: keyof ConsistencyCounts): name is InconsistencyName {
  return Object.hasOwn(inconsistencies, name);
}

async function count(db: SqlExecutor, query: ReturnType<typeof sql>): Promise<number> {
  const { rows } = await query.execute(db);
  const [row] = rows as readonly { readonly count: number }[];
  return Number(row?.count ?? 0);
}
