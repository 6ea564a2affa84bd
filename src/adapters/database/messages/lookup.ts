/**
 * Batch lookup: everything stored that the decisions about a batch of messages need, in a fixed number of queries.
 *
 * Messages by Message-ID, messages that reference them, what the helpdesk sent, tickets by reference, dedup keys,
 * counts per sender. The queries run concurrently, lists of more than 500 keys in chunks; what the request does not ask
 * for is not queried.
 */
import { type Selectable, sql } from 'kysely';
import type {
  HandledMessage,
  LookupRequest,
  LookupResult,
  LookupStore,
  LookupTicket,
} from '../../../ingest/batch-lookup.ts';
import { outcomesWhere } from '../../../ingest/model.ts';
import { unknownPeople } from '../../../mail/thread/people.ts';
import { withoutSubaddress } from '../../../mail/thread/reply-token.ts';
import { readReplyKeys } from '../encryption/reply-keys.ts';
import { mailboxColumn } from '../rows/mailbox-columns.ts';
import { toAddresses } from '../rows/mailboxes.ts';
import { hashOf } from '../rows/messages.ts';
import { rowsInChunks } from '../sql/statements.ts';
import {
  compareTexts,
  fromDatabaseTime,
  fromOptionalTime,
  type MessageTable,
  type SqlExecutor,
  type TicketTable,
} from '../sql/tables.ts';
import { copiesIn, copyContents, repeatedNotices } from './copies.ts';
import { createAddedAt, sentCounts, tiedCounts } from './message-counts.ts';
import {
  addressesByTicket,
  claimsByTicket,
  messagesOfTickets,
  participantsOf,
  peopleOfMessages,
} from './participants.ts';
import { linkCopies } from './tickets.ts';

/** Of the messages that claim one Message-ID, of which an attacker can send any number. */
const sameIdMax = 50;
/** The newest of the messages that reference one Message-ID: a circular may have thousands of replies. */
const referencingMax = 20;
/** Rows of one query for 500 Message-IDs, the best of each first. */
const rowsMax = 5_000;

export function lookupStore(db: SqlExecutor): LookupStore {
  const caches = { ownAddresses: createOwnAddresses(db), addedAt: createAddedAt(db) };
  return {
    lookUp: (request) => lookUp(db, request, caches),
    linkCopies: (mailboxId, copies) => linkCopies(db, mailboxId, copies),
  };
}

/** Caches beyond one batch. */
type LookupCaches = {
  readonly ownAddresses: () => Promise<ReadonlySet<string>>;
  readonly addedAt: (mailboxId: string) => Promise<number>;
};

async function lookUp(db: SqlExecutor, request: LookupRequest, caches: LookupCaches): Promise<LookupResult> {
  const { mailboxId, messageIds, people, answers, refs, dedupKeys, senders, closedBeforeMs, needsReplyKeys } = request;
  const { own, repeats } = request;
  const idsByHash = new Map(messageIds.map((messageId) => [hashOf(messageId), messageId]));
  const hashes = [...idsByHash.keys()];
  const [
    claiming,
    referencing,
    sent,
    { handled, accountMailboxes },
    { sent: counts, addedAtMs },
    ownAddresses,
    replyKeys,
    byRef,
    notices,
  ] = await Promise.all([
    messageRows(db, mailboxId, hashes, people),
    referencingRows(db, mailboxId, hashes),
    sentRows(db, answers),
    handledInAccount(db, mailboxId, dedupKeys),
    sentCounts(db, mailboxId, senders, caches.addedAt),
    caches.ownAddresses(),
    needsReplyKeys ? readReplyKeys(db) : [],
    ticketRows(db, 'ref', refs),
    repeatedNotices(db, mailboxId, repeats),
  ]);
  const messages = claiming.toSorted(byArrival);
  const noticeTickets = await ticketRows(db, 'id', [...new Set(notices.map(({ ticketId }) => ticketId))]);
  const noticeTicket = new Map(noticeTickets.map((row) => [row.ticket_id, row]));
  const ticketOf = await ticketResolver(db, [...messages, ...referencing, ...sent, ...byRef, ...noticeTickets]);
  const sentMessages = sentMessagesIn(sent, answers, ticketOf);
  const tickets = ticketsByRef(byRef, ticketOf);
  const all = [
    ...[...messages, ...referencing, ...sent].flatMap((row) => ticketOf(row) ?? []),
    ...tickets.map(({ ticket }) => ticket),
  ];
  const [continuations, participants, tied, ticketMessages] = await Promise.all([
    closedBeforeMs === null ? [] : continuationsOf(db, all, closedBeforeMs),
    participantsOf(db, claimsByTicket(request, { tickets, sentMessages })),
    tiedCounts(db, all, senders),
    messagesOfTickets(db, mailboxId, all),
  ]);
  const ids = [...claiming, ...referencing, ...ticketMessages].map(({ id }) => id);
  const [peopleById, copied] = await Promise.all([
    peopleOfMessages(db, ids),
    copyContents(db, copiesIn(messages, own)),
  ]);
  const peopleIn = ({ id }: { readonly id: string }) => peopleById.get(id) ?? unknownPeople;
  return {
    messages: messages.map((row) => ({
      ...{ id: row.id, mailboxId: row.mailbox_id, messageId: idsByHash.get(row.message_id_hash) ?? '' },
      ...{ contentHash: row.content_hash, people: peopleIn(row), ticket: ticketOf(row) },
      copied: copied.get(row.id) ?? null,
    })),
    naming: referencing
      .toSorted((a, b) => compareTexts(a.id, b.id))
      .map((row) => ({
        named: idsByHash.get(row.reference_hash) ?? '',
        ...{ people: peopleIn(row), ticket: ticketOf(row) },
      })),
    ticketPeople: addressesByTicket(ticketMessages, peopleById),
    ...{ sentMessages, tickets, continuations, participants, tied },
    repeated: notices.flatMap(({ key, ticketId, lastAt, count }) => {
      const row = noticeTicket.get(ticketId);
      const ticket = row === undefined ? null : ticketOf(row);
      return ticket === null ? [] : [{ key, count, atMs: fromDatabaseTime(lastAt), ticket }];
    }),
    ...{ handled, sent: counts, addedAtMs, ownAddresses, replyKeys, accountMailboxes },
  };
}

type LookupMessageRow = Pick<
  Selectable<MessageTable>,
  'id' | 'mailbox_id' | 'message_id_hash' | 'content_hash' | 'received_at' | 'sent_at' | 'thread_rule'
> &
  TicketRow;

/** The best first: from people of the batch, in this mailbox, the oldest. */
async function messageRows(
  db: SqlExecutor,
  mailboxId: string,
  hashes: readonly string[],
  people: readonly string[],
): Promise<readonly LookupMessageRow[]> {
  const from = db.dialect.kind === 'sqlite' ? sql<string>`lower(from_address)` : sql.ref<string>('from_address');
  // A batch may name no person. MySQL takes no constant in the order of a window.
  const isKnownFirst = people.length === 0 ? [] : [sql`(${from} in (${sql.join(people)})) desc`];
  const order = sql.join([...isKnownFirst, sql`(mailbox_id = ${mailboxId}) desc`, sql`id`]);
  return await rowsInChunks(hashes, (chunk) => {
    const claimed = db
      .selectFrom('message')
      .select('id as claimed_id')
      .select(sql<number>`row_number() over (partition by message_id_hash order by ${order})`.as('fit_rank'))
      .where('message_id_hash', 'in', chunk);
    return db
      .selectFrom(claimed.as('claimed'))
      .innerJoin('message', 'message.id', 'claimed.claimed_id')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'message.mailbox_id', 'message_id_hash', 'content_hash', 'received_at'])
      .select(['sent_at', 'thread_rule'])
      .select(ticketColumns)
      .where('fit_rank', '<=', sameIdMax)
      .orderBy('fit_rank')
      .limit(rowsMax);
  });
}

function byArrival(a: LookupMessageRow, b: LookupMessageRow): number {
  return compareTexts(a.received_at, b.received_at) || compareTexts(a.id, b.id);
}

type ReferencingRow = Pick<Selectable<MessageTable>, 'id'> & TicketRow & { readonly reference_hash: string };

/** The newest of each Message-ID first. */
async function referencingRows(
  db: SqlExecutor,
  mailboxId: string,
  hashes: readonly string[],
): Promise<readonly ReferencingRow[]> {
  return await rowsInChunks(hashes, (chunk) => {
    const named = db
      .selectFrom('message_reference')
      .select(['reference_hash', 'message_id'])
      .select(sql<number>`row_number() over (partition by reference_hash order by message_id desc)`.as('age_rank'))
      .where('mailbox_id', '=', mailboxId)
      .where('reference_hash', 'in', chunk);
    return db
      .selectFrom(named.as('named'))
      .innerJoin('message', 'message.id', 'named.message_id')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'reference_hash'])
      .select(ticketColumns)
      .where('age_rank', '<=', referencingMax)
      .orderBy('age_rank')
      .limit(rowsMax);
  });
}

type SentRow = TicketRow & { readonly sent_id: string };

/** A Message-ID that the column can hold. MySQL would compare any other id with each row of the table. */
const sentIdForm = /^[!-~]{1,998}$/;

/** The helpdesk wrote the id with or without angle brackets. */
const sentForms = (id: string): readonly string[] => (sentIdForm.test(id) ? [id, `<${id}>`] : []);

async function sentRows(db: SqlExecutor, answers: LookupRequest['answers']): Promise<readonly SentRow[]> {
  return await rowsInChunks(
    answers.flatMap(({ id }) => sentForms(id)),
    (chunk) =>
      db
        .selectFrom('sent_message')
        .innerJoin('ticket', 'ticket.id', 'sent_message.ticket_id')
        .select('sent_message.message_id as sent_id')
        .select(ticketColumns)
        .where('sent_message.message_id', 'in', chunk),
  );
}

/** A comparison in MySQL ignores blanks at the end. */
function sentMessagesIn(
  rows: readonly SentRow[],
  answers: LookupRequest['answers'],
  ticketOf: (row: TicketRow) => LookupTicket | null,
): LookupResult['sentMessages'] {
  const byId = new Map(rows.map((row) => [row.sent_id.trimEnd(), row]));
  return answers.flatMap(({ id }) => {
    const row = sentForms(id).flatMap((form) => byId.get(form) ?? [])[0];
    const ticket = row === undefined ? null : ticketOf(row);
    return ticket === null ? [] : [{ messageId: id, ticket }];
  });
}

const unhandledOutcomes = outcomesWhere(({ handledAs }) => handledAs === null);
const quarantinedOutcomes: readonly string[] = outcomesWhere(({ handledAs }) => handledAs === 'quarantined');

/** The other mailboxes of the account, and what was handled in any of them. */
async function handledInAccount(
  db: SqlExecutor,
  mailboxId: string,
  dedupKeys: readonly string[],
): Promise<Pick<LookupResult, 'accountMailboxes' | 'handled'>> {
  const rows = await db
    .selectFrom('mailbox_state as me')
    .innerJoin('mailbox_state as other', 'other.account_hash', 'me.account_hash')
    .select('other.mailbox_id')
    .where('me.mailbox_id', '=', mailboxId)
    .whereRef('other.mailbox_id', '<>', 'me.mailbox_id')
    .execute();
  const others = rows.map((row) => row.mailbox_id);
  return { accountMailboxes: new Set(others), handled: await handledBefore(db, [mailboxId, ...others], dedupKeys) };
}

/** An outcome of a newer version counts as stored. */
async function handledBefore(
  db: SqlExecutor,
  mailboxIds: readonly string[],
  dedupKeys: readonly string[],
): Promise<readonly HandledMessage[]> {
  const rows = await rowsInChunks(dedupKeys, (chunk) =>
    db
      .selectFrom('outcome')
      .select(['dedup_key', 'outcome'])
      .distinct()
      .where('mailbox_id', 'in', mailboxIds)
      .where('dedup_key', 'in', chunk)
      .where('outcome', 'not in', unhandledOutcomes),
  );
  return rows.flatMap(({ dedup_key: dedupKey, outcome }) =>
    dedupKey === null ? [] : [{ dedupKey, isQuarantined: quarantinedOutcomes.includes(outcome) }],
  );
}

/* Tickets for threading: a merged ticket stands for the one it was merged into, a deleted one is null. */

/** Length of a chain of merges that is followed. */
const mergesMax = 5;
/** Length of a chain of continuations that is followed. */
const continuationsMax = 10;

const ticketColumns = [
  'ticket.id as ticket_id',
  'ticket.ref',
  'ticket.mailbox_id as ticket_mailbox_id',
  'ticket.status',
  'ticket.created_at as ticket_created_at',
  'ticket.updated_at as ticket_updated_at',
  'ticket.closed_at',
  'ticket.merged_into',
  'ticket.is_orphan',
  'ticket.requester_address',
] as const;

type Ticket = Selectable<TicketTable>;

/** `ticketColumns` of a left join: all null without a ticket. */
type TicketRow = {
  readonly [K in 'ref' | 'status' | 'closed_at' | 'merged_into' | 'is_orphan' | 'requester_address']: Ticket[K] | null;
} & {
  readonly ticket_id: string | null;
  readonly ticket_mailbox_id: string | null;
  readonly ticket_created_at: string | null;
  readonly ticket_updated_at: string | null;
};

async function ticketRows(
  db: SqlExecutor,
  column: 'id' | 'ref',
  values: readonly string[],
): Promise<readonly TicketRow[]> {
  return await rowsInChunks(values, (chunk) =>
    db.selectFrom('ticket').select(ticketColumns).where(`ticket.${column}`, 'in', chunk),
  );
}

function ticketsByRef(
  rows: readonly TicketRow[],
  ticketOf: (row: TicketRow) => LookupTicket | null,
): LookupResult['tickets'] {
  return rows.flatMap((row) => {
    const ticket = ticketOf(row);
    return ticket === null ? [] : [{ ref: (row.ref ?? '').toUpperCase(), ticket }];
  });
}

/** Resolves the ticket of a row through its merges; queries only for merged tickets. */
async function ticketResolver(
  db: SqlExecutor,
  rows: readonly TicketRow[],
): Promise<(row: TicketRow) => LookupTicket | null> {
  const byId = new Map<string, TicketRow>();
  let added = rows;
  for (let merges = 0; merges <= mergesMax; merges += 1) {
    for (const row of added) if (row.ticket_id !== null) byId.set(row.ticket_id, row);
    const wanted = added.flatMap(({ status, merged_into: into }) =>
      status === 'merged' && into !== null ? [into] : [],
    );
    const unknown = [...new Set(wanted)].filter((id) => !byId.has(id));
    if (unknown.length === 0) break;
    added = await ticketRows(db, 'id', unknown);
  }
  return (row) => {
    let now: TicketRow | undefined = row;
    for (let merges = 0; now?.status === 'merged' && merges <= mergesMax; merges += 1)
      now = byId.get(now.merged_into ?? '');
    return now === undefined || now.status === 'merged' ? null : toTicket(now);
  };
}

function toTicket(row: TicketRow): LookupTicket | null {
  if (row.ticket_id === null) return null;
  return {
    id: row.ticket_id,
    ref: row.ref ?? '',
    mailboxId: row.ticket_mailbox_id ?? '',
    status: row.status ?? '',
    createdAtMs: fromDatabaseTime(row.ticket_created_at ?? ''),
    // A helpdesk that writes the status need not write the time.
    closedAtMs: row.status === 'closed' ? fromOptionalTime(row.closed_at ?? row.ticket_updated_at) : null,
    isOrphan: row.is_orphan === 1,
    requesterAddress: row.requester_address ?? '',
  };
}

/**
 * The tickets that continue those closed before `closedBeforeMs`, followed along the chain; no query without such a
 * ticket.
 */
async function continuationsOf(
  db: SqlExecutor,
  tickets: readonly LookupTicket[],
  closedBeforeMs: number,
): Promise<LookupResult['continuations']> {
  const found: { readonly closedId: string; readonly ticket: LookupTicket }[] = [];
  const followed = new Set<string>();
  let added = tickets;
  for (let step = 0; step < continuationsMax; step += 1) {
    const closed = added.filter(
      ({ id, closedAtMs }) => closedAtMs !== null && closedAtMs < closedBeforeMs && !followed.has(id),
    );
    const ids = [...new Set(closed.map(({ id }) => id))];
    if (ids.length === 0) break;
    for (const id of ids) followed.add(id);
    const next = await continuing(db, ids);
    found.push(...next);
    added = next.map(({ ticket }) => ticket);
  }
  return found;
}

async function continuing(db: SqlExecutor, ids: readonly string[]): Promise<LookupResult['continuations']> {
  const rows = await rowsInChunks(ids, (chunk) =>
    db
      .selectFrom('ticket_link')
      .innerJoin('ticket', 'ticket.id', 'ticket_link.ticket_id')
      .select('ticket_link.other_id as closed_id')
      .select(ticketColumns)
      .where('ticket_link.other_id', 'in', chunk)
      .where('ticket_link.reason', '=', 'continues')
      .orderBy('ticket.created_at')
      .orderBy('ticket.id'),
  );
  const ticketOf = await ticketResolver(db, rows);
  return rows.flatMap((row) => {
    const ticket = ticketOf(row);
    return ticket === null ? [] : [{ closedId: row.closed_id, ticket }];
  });
}

/* The addresses of all mailboxes, cached so that thousands of mailboxes are not read for every batch. */

const ownAddressesMaxAgeMs = 10_000;

function createOwnAddresses(db: SqlExecutor): () => Promise<ReadonlySet<string>> {
  let read: { readonly atMs: number; readonly addresses: Promise<ReadonlySet<string>> } | null = null;
  return async () => {
    if (read === null || performance.now() - read.atMs > ownAddressesMaxAgeMs) {
      const reading = { atMs: performance.now(), addresses: readOwnAddresses(db) };
      read = reading;
      reading.addresses.catch(() => {
        if (read === reading) read = null;
      });
    }
    return await read.addresses;
  };
}

async function readOwnAddresses(db: SqlExecutor): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([mailboxColumn('addresses'), mailboxColumn('username')])
    .execute();
  return new Set(rows.flatMap((row) => toAddresses(row).map(withoutSubaddress)));
}
