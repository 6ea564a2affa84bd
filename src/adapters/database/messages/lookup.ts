/**
 * What is stored already of the mails of a window: messages, who names them, tickets, what was handled, who sent how much.
 *
 * A fixed number of queries for a window of any size (but for lists of more than 500 keys, which go in portions), at the
 * same time where there are several connections; what nobody asks for is not queried.
 */

import { type RawBuilder, type Selectable, sql } from 'kysely';
import type {
  HandledMessage,
  LookupMessage,
  LookupRequest,
  LookupResult,
  LookupStore,
  LookupTicket,
  ReferencingMessage,
  SentCount,
} from '../../../ingest/model.ts';
import { participantKinds } from '../../../mail/thread/match.ts';
import { withoutSubaddress } from '../../../mail/thread/reply-token.ts';
import { mailboxColumn } from '../rows/mailbox-columns.ts';
import { toAddresses } from '../rows/mailboxes.ts';
import { hashOf } from '../rows/messages.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { chunks } from '../sql/statements.ts';
import type { MessageTable, SqlExecutor, TicketTable } from '../sql/tables.ts';
import { fromDatabaseTime, fromOptionalTime, toDatabaseTime } from '../sql/values.ts';
import { linkCopies, readReplyKey } from './tickets.ts';

/** Of the messages that name one Message-ID, the newest: thousands may answer to one circular. */
const namingMax = 20;
const minuteCharacters = 16;

export function lookupStore(db: SqlExecutor, dialect: SqlDialect): LookupStore {
  const memory = { ownAddresses: createOwnAddresses(db), addedAt: createAddedAt(db) };
  return {
    lookUp: (question) => lookUp(db, dialect, question, memory),
    linkCopies: (mailboxId, copies) => linkCopies(db, dialect, mailboxId, copies),
  };
}

/** What is not read again for every window. */
type Memory = {
  readonly ownAddresses: () => Promise<ReadonlySet<string>>;
  readonly addedAt: (mailboxId: string) => Promise<number>;
};

async function lookUp(
  db: SqlExecutor,
  dialect: SqlDialect,
  question: LookupRequest,
  memory: Memory,
): Promise<LookupResult> {
  const { mailboxId, messageIds, refs, claims, dedupKeys, senders, closedBeforeMs, needsReplyKey } = question;
  const asked = new Map(messageIds.map((messageId) => [hashOf(messageId), messageId]));
  const hashes = [...asked.keys()];
  const [messages, naming, handled, { sent, addedAtMs }, own, replyKey, named] = await Promise.all([
    messageRows(db, hashes),
    namingRows(db, mailboxId, hashes),
    handledBefore(db, mailboxId, dedupKeys),
    sentCounts(db, dialect, mailboxId, senders, memory.addedAt),
    memory.ownAddresses(),
    needsReplyKey ? readReplyKey(db) : null,
    ticketRows(db, 'ref', refs),
  ]);
  const ticketOf = await knownTickets(db, [...messages, ...naming, ...named]);
  const tickets = named.flatMap((row) => {
    const ticket = ticketOf(row);
    return ticket === null ? [] : [{ ref: (row.ref ?? '').toUpperCase(), ticket }];
  });
  const found = {
    messages: messages.map((row) => toKnown(row, asked, ticketOf)),
    naming: naming.map((row) => toNaming(row, asked, ticketOf)),
    tickets,
  };
  const all = [...found.messages, ...found.naming, ...tickets].flatMap(({ ticket }) => ticket ?? []);
  return {
    ...found,
    continuations: closedBeforeMs === null ? [] : await continuationsOf(db, all, closedBeforeMs),
    participants: await participantsOf(db, dialect, claims, tickets),
    ...{ handled, sent, addedAtMs, ownAddresses: own, replyKey },
  };
}

type TicketOf = (row: TicketRows) => LookupTicket | null;

type MessageRow = Pick<
  Selectable<MessageTable>,
  'id' | 'mailbox_id' | 'message_id_hash' | 'content_hash' | 'received_at'
> &
  TicketRows;

async function messageRows(db: SqlExecutor, hashes: readonly string[]): Promise<readonly MessageRow[]> {
  const rows: MessageRow[] = [];
  for (const chunk of chunks(hashes)) {
    const found = await db
      .selectFrom('message')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'message.mailbox_id', 'message_id_hash', 'content_hash', 'received_at'])
      .select(ticketColumns)
      .where('message_id_hash', 'in', chunk)
      .execute();
    rows.push(...found);
  }
  return rows.sort((a, b) => compare(a.received_at, b.received_at) || compare(a.id, b.id));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function toKnown(row: MessageRow, asked: ReadonlyMap<string, string>, ticketOf: TicketOf): LookupMessage {
  return {
    id: row.id,
    mailboxId: row.mailbox_id,
    messageId: asked.get(row.message_id_hash) ?? '',
    contentHash: row.content_hash,
    ticket: ticketOf(row),
  };
}

type NamingRow = Pick<Selectable<MessageTable>, 'id' | 'from_address' | 'to_json' | 'cc_json'> &
  TicketRows & { readonly reference_hash: string };

async function namingRows(
  db: SqlExecutor,
  mailboxId: string,
  hashes: readonly string[],
): Promise<readonly NamingRow[]> {
  const rows: NamingRow[] = [];
  for (const chunk of chunks(hashes)) {
    const named = db
      .selectFrom('message_reference')
      .select(['reference_hash', 'message_id'])
      .select(sql<number>`row_number() over (partition by reference_hash order by message_id desc)`.as('place'))
      .where('mailbox_id', '=', mailboxId)
      .where('reference_hash', 'in', chunk);
    const found = await db
      .selectFrom(named.as('named'))
      .innerJoin('message', 'message.id', 'named.message_id')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'reference_hash', 'from_address', 'to_json', 'cc_json'])
      .select(ticketColumns)
      .where('place', '<=', namingMax)
      .execute();
    rows.push(...found);
  }
  return rows.sort((a, b) => compare(a.id, b.id));
}

function toNaming(row: NamingRow, asked: ReadonlyMap<string, string>, ticketOf: TicketOf): ReferencingMessage {
  return {
    named: asked.get(row.reference_hash) ?? '',
    ticket: ticketOf(row),
    from: row.from_address.toLowerCase(),
    recipients: [...addressesIn(row.to_json), ...addressesIn(row.cc_json)],
  };
}

/** Only what this program wrote into the column. */
function addressesIn(json: string): readonly string[] {
  return (JSON.parse(json) as { readonly address: string }[]).map(({ address }) => address.toLowerCase());
}

/** Duplicates are left out: what they repeat has an outcome of its own. */
async function handledBefore(
  db: SqlExecutor,
  mailboxId: string,
  dedupKeys: readonly string[],
): Promise<readonly HandledMessage[]> {
  const handled: HandledMessage[] = [];
  for (const chunk of chunks(dedupKeys)) {
    const rows = await db
      .selectFrom('outcome')
      .select(['dedup_key', 'outcome'])
      .where('mailbox_id', '=', mailboxId)
      .where('dedup_key', 'in', chunk)
      .where('outcome', '<>', 'duplicate')
      .execute();
    for (const row of rows)
      if (row.dedup_key !== null)
        handled.push({ dedupKey: row.dedup_key, isQuarantined: row.outcome === 'quarantined' });
  }
  return handled;
}

type Sent = { readonly sent: readonly SentCount[]; readonly addedAtMs: number };

/** By the minute; in any case of letters, but letter by letter: the collation of MySQL takes ü for u. */
async function sentCounts(
  db: SqlExecutor,
  dialect: SqlDialect,
  mailboxId: string,
  senders: LookupRequest['senders'],
  addedAt: (mailboxId: string) => Promise<number>,
): Promise<Sent> {
  if (senders === null) return { sent: [], addedAtMs: 0 };
  const addedAtMs = await addedAt(mailboxId);
  const sent: SentCount[] = [];
  if (senders.toMs < addedAtMs) return { sent, addedAtMs };
  const isSqlite = dialect.kind === 'sqlite';
  const address = isSqlite ? sql<string>`from_address collate nocase` : sql.ref<string>('from_address');
  const written = isSqlite ? sql<string>`lower(from_address)` : sql<string>`lower(from_address) collate utf8mb4_bin`;
  const minute = sql<string>`substr(received_at, 1, ${sql.lit(minuteCharacters)})`;
  for (const addresses of chunks(senders.addresses)) {
    const rows = await db
      .selectFrom('message')
      .select([written.as('address'), minute.as('minute'), (message) => message.fn.countAll<number>().as('count')])
      .where('mailbox_id', '=', mailboxId)
      .where(address, 'in', addresses)
      .where('received_at', '>=', toDatabaseTime(Math.max(senders.fromMs, addedAtMs)))
      .where('received_at', '<=', toDatabaseTime(senders.toMs))
      .groupBy([written, minute])
      .execute();
    for (const row of rows) {
      const atMs = fromDatabaseTime(`${row.minute}:00.000`);
      sent.push({ address: row.address, atMs, count: Number(row.count) });
    }
  }
  return { sent, addedAtMs };
}

/** It never changes, so each is read once. */
function createAddedAt(db: SqlExecutor): (mailboxId: string) => Promise<number> {
  const known = new Map<string, number>();
  return async (mailboxId) => {
    const before = known.get(mailboxId);
    if (before !== undefined) return before;
    const row = await db.selectFrom('mailboxes').select('created_at').where('id', '=', mailboxId).executeTakeFirst();
    const addedAtMs = fromOptionalTime(row?.created_at ?? null) ?? 0;
    known.set(mailboxId, addedAtMs);
    return addedAtMs;
  };
}

/**
 * Tickets as threading asks for them: a merged one leads to the one that it went into, one that is gone is null.
 */

/** A ticket that was merged into one that was merged …: as many times as anybody would follow. */
const mergesMax = 5;
/** A ticket that is continued by one that is continued by one …: likewise. */
const continuationsMax = 10;
/** SQLite takes 500 SELECTs in one statement. */
const claimsPerQuery = 100;

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

/** `ticketColumns` of a left join: all null where there is no ticket. */
type TicketRows = {
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
): Promise<readonly TicketRows[]> {
  const rows: TicketRows[] = [];
  for (const chunk of chunks(values)) {
    rows.push(
      ...(await db.selectFrom('ticket').select(ticketColumns).where(`ticket.${column}`, 'in', chunk).execute()),
    );
  }
  return rows;
}

/** The ticket that a row is about by now. Queries only when there are merged ones. */
async function knownTickets(
  db: SqlExecutor,
  rows: readonly TicketRows[],
): Promise<(row: TicketRows) => LookupTicket | null> {
  const byId = new Map<string, TicketRows>();
  let added = rows;
  for (let turn = 0; turn <= mergesMax; turn += 1) {
    for (const row of added) if (row.ticket_id !== null) byId.set(row.ticket_id, row);
    const wanted = added.flatMap(({ status, merged_into: into }) =>
      status === 'merged' && into !== null ? [into] : [],
    );
    const unknown = [...new Set(wanted)].filter((id) => !byId.has(id));
    if (unknown.length === 0) break;
    added = await ticketRows(db, 'id', unknown);
  }
  return (row) => {
    let now: TicketRows | undefined = row;
    for (let turn = 0; now?.status === 'merged' && turn <= mergesMax; turn += 1) now = byId.get(now.merged_into ?? '');
    return now === undefined || now.status === 'merged' ? null : toTicket(now);
  };
}

function toTicket(row: TicketRows): LookupTicket | null {
  if (row.ticket_id === null) return null;
  return {
    id: row.ticket_id,
    ref: row.ref ?? '',
    mailboxId: row.ticket_mailbox_id ?? '',
    status: row.status ?? '',
    createdAtMs: fromDatabaseTime(row.ticket_created_at ?? ''),
    // Whoever writes the status need not write the time.
    closedAtMs: row.status === 'closed' ? fromOptionalTime(row.closed_at ?? row.ticket_updated_at) : null,
    isOrphan: row.is_orphan === 1,
    requesterAddress: row.requester_address ?? '',
  };
}

/**
 * What continues those of `tickets` that were closed before `closedBeforeMs`, and what continues that if it was as well: one
 * query for a closed ticket, and none where there is no such ticket.
 */
async function continuationsOf(
  db: SqlExecutor,
  tickets: readonly LookupTicket[],
  closedBeforeMs: number,
): Promise<LookupResult['continuations']> {
  const found: { readonly closedId: string; readonly ticket: LookupTicket }[] = [];
  const asked = new Set<string>();
  let added = tickets;
  for (let turn = 0; turn < continuationsMax; turn += 1) {
    const over = added.filter(
      ({ id, closedAtMs }) => closedAtMs !== null && closedAtMs < closedBeforeMs && !asked.has(id),
    );
    const ids = [...new Set(over.map(({ id }) => id))];
    if (ids.length === 0) break;
    for (const id of ids) asked.add(id);
    const next = await continuing(db, ids);
    found.push(...next);
    added = next.map(({ ticket }) => ticket);
  }
  return found;
}

async function continuing(db: SqlExecutor, ids: readonly string[]): Promise<LookupResult['continuations']> {
  const found: { readonly closedId: string; readonly ticket: LookupTicket }[] = [];
  for (const chunk of chunks(ids)) {
    const rows = await db
      .selectFrom('ticket_link')
      .innerJoin('ticket', 'ticket.id', 'ticket_link.ticket_id')
      .select('ticket_link.other_id as closed_id')
      .select(ticketColumns)
      .where('ticket_link.other_id', 'in', chunk)
      .where('ticket_link.reason', '=', 'continues')
      .orderBy('ticket.created_at')
      .orderBy('ticket.id')
      .execute();
    const ticketOf = await knownTickets(db, rows);
    for (const row of rows) {
      const ticket = ticketOf(row);
      if (ticket !== null) found.push({ closedId: row.closed_id, ticket });
    }
  }
  return found;
}

/**
 * Which of the claims are true: the address is in From, To or Cc of a message of the ticket that a person or a list sent, letter by letter (but for
 * their case), since the collation takes ü for u.
 */
async function participantsOf(
  db: SqlExecutor,
  dialect: SqlDialect,
  claims: LookupRequest['claims'],
  tickets: LookupResult['tickets'],
): Promise<LookupResult['participants']> {
  const byRef = new Map(tickets.map(({ ref, ticket }) => [ref, ticket.id]));
  const asked = claims.flatMap(({ ref, address }) => {
    const ticketId = byRef.get(ref);
    return ticketId === undefined ? [] : [{ ticketId, address }];
  });
  const found: { readonly ticketId: string; readonly address: string }[] = [];
  for (let at = 0; at < asked.length; at += claimsPerQuery) {
    const some = asked.slice(at, at + claimsPerQuery);
    const { rows } = await sql<{ claim: number | bigint; is_true: number | bigint }>`${sql.join(
      some.map(({ ticketId, address }, claim) => exists(dialect, ticketId, address, claim)),
      sql` union all `,
    )}`.execute(db);
    for (const row of rows) {
      const claim = some[Number(row.claim)];
      if (claim !== undefined && Number(row.is_true) === 1) found.push(claim);
    }
  }
  return found;
}

/** What is inside a text of the JSON cannot look like this: its quotation marks are escaped. */
function exists(dialect: SqlDialect, ticketId: string, address: string, claim: number) {
  const bytes = (text: RawBuilder<unknown>) => (dialect.kind === 'mysql' ? sql`cast(${text} as binary)` : text);
  const written = JSON.stringify({ address }).slice(1, -1);
  const holds = (column: string) => sql`instr(${bytes(sql`lower(${sql.ref(column)})`)}, ${bytes(sql`${written}`)}) > 0`;
  return sql`select ${sql.lit(claim)} as claim, exists(select 1 from message where message.ticket_id = ${ticketId} and message.kind in (${sql.join(participantKinds.map((kind) => sql.lit(kind)))})
    and (${bytes(sql`lower(message.from_address)`)} = ${bytes(sql`${address}`)}
      or ${holds('message.to_json')} or ${holds('message.cc_json')})) as is_true`;
}

/**
 * The addresses of all mailboxes: who writes from one of them is one of us.
 *
 * They are read again when they are some seconds old, so that thousands of mailboxes are not read for every window; a
 * visit knows the addresses of its own mailbox besides.
 */

const freshMs = 10_000;

function createOwnAddresses(db: SqlExecutor): () => Promise<ReadonlySet<string>> {
  let read: { readonly atMs: number; readonly addresses: Promise<ReadonlySet<string>> } | null = null;
  return async () => {
    if (read === null || performance.now() - read.atMs > freshMs) {
      const reading = { atMs: performance.now(), addresses: readAll(db) };
      read = reading;
      reading.addresses.catch(() => {
        if (read === reading) read = null;
      });
    }
    return await read.addresses;
  };
}

async function readAll(db: SqlExecutor): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([mailboxColumn('addresses'), mailboxColumn('username')])
    .execute();
  return new Set(rows.flatMap((row) => toAddresses(row).map(withoutSubaddress)));
}
