/**
 * What is stored already of the mails of a window: messages, who names them, tickets, what was handled, who sent how much.
 *
 * A fixed number of queries for a window of any size (but for lists of more than 500 keys, which go in portions), at the
 * same time where there are several connections; what nobody asks for is not queried.
 */
import { type Selectable, sql } from 'kysely';
import type {
  Handled,
  Known,
  KnownMessage,
  KnownStore,
  KnownTicket,
  NamingMessage,
  Question,
  SentCount,
} from '../../ingest/model.ts';
import type { DialectWords } from './dialect-words.ts';
import {
  continuationsOf,
  knownTickets,
  participantsOf,
  type TicketRows,
  ticketColumns,
  ticketRows,
} from './known-tickets.ts';
import { hashOf } from './message-rows.ts';
import { createOwnAddresses } from './own-addresses.ts';
import { portions } from './portions.ts';
import { readReplyKey } from './reply-key.ts';
import type { Connected, MessageTable } from './tables.ts';
import { linkCopies } from './ticket-links.ts';
import { fromDatabaseTime, fromOptionalTime, toDatabaseTime } from './times.ts';

/** Of the messages that name one Message-ID, the newest: thousands may answer to one circular. */
const namingMax = 20;
const minuteCharacters = 16;

export function knownStore(db: Connected, words: DialectWords): KnownStore {
  const memory = { ownAddresses: createOwnAddresses(db), addedAt: createAddedAt(db) };
  return {
    lookUp: (question) => lookUp(db, words, question, memory),
    linkCopies: (mailboxId, copies) => linkCopies(db, words, mailboxId, copies),
  };
}

/** What is not read again for every window. */
type Memory = {
  readonly ownAddresses: () => Promise<ReadonlySet<string>>;
  readonly addedAt: (mailboxId: string) => Promise<number>;
};

async function lookUp(db: Connected, words: DialectWords, question: Question, memory: Memory): Promise<Known> {
  const { mailboxId, messageIds, refs, claims, identities, senders, overBeforeMs, asksKey } = question;
  const asked = new Map(messageIds.map((messageId) => [hashOf(messageId), messageId]));
  const hashes = [...asked.keys()];
  const [messages, naming, handled, { sent, addedAtMs }, own, replyKey, named] = await Promise.all([
    messageRows(db, hashes),
    namingRows(db, mailboxId, hashes),
    handledBefore(db, mailboxId, identities),
    sentCounts(db, words, mailboxId, senders, memory.addedAt),
    memory.ownAddresses(),
    asksKey ? readReplyKey(db) : null,
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
    continuations: overBeforeMs === null ? [] : await continuationsOf(db, all, overBeforeMs),
    participants: await participantsOf(db, words, claims, tickets),
    ...{ handled, sent, addedAtMs, ownAddresses: own, replyKey },
  };
}

type TicketOf = (row: TicketRows) => KnownTicket | null;

type MessageRow = Pick<
  Selectable<MessageTable>,
  'id' | 'mailbox_id' | 'message_id_hash' | 'content_hash' | 'received_at'
> &
  TicketRows;

async function messageRows(db: Connected, hashes: readonly string[]): Promise<readonly MessageRow[]> {
  const rows: MessageRow[] = [];
  for (const portion of portions(hashes)) {
    const found = await db
      .selectFrom('message')
      .leftJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message.id', 'message.mailbox_id', 'message_id_hash', 'content_hash', 'received_at'])
      .select(ticketColumns)
      .where('message_id_hash', 'in', portion)
      .execute();
    rows.push(...found);
  }
  return rows.sort((a, b) => compare(a.received_at, b.received_at) || compare(a.id, b.id));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function toKnown(row: MessageRow, asked: ReadonlyMap<string, string>, ticketOf: TicketOf): KnownMessage {
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

async function namingRows(db: Connected, mailboxId: string, hashes: readonly string[]): Promise<readonly NamingRow[]> {
  const rows: NamingRow[] = [];
  for (const portion of portions(hashes)) {
    const named = db
      .selectFrom('message_reference')
      .select(['reference_hash', 'message_id'])
      .select(sql<number>`row_number() over (partition by reference_hash order by message_id desc)`.as('place'))
      .where('mailbox_id', '=', mailboxId)
      .where('reference_hash', 'in', portion);
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

function toNaming(row: NamingRow, asked: ReadonlyMap<string, string>, ticketOf: TicketOf): NamingMessage {
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
  db: Connected,
  mailboxId: string,
  identities: readonly string[],
): Promise<readonly Handled[]> {
  const handled: Handled[] = [];
  for (const portion of portions(identities)) {
    const rows = await db
      .selectFrom('outcome')
      .select(['identity', 'outcome'])
      .where('mailbox_id', '=', mailboxId)
      .where('identity', 'in', portion)
      .where('outcome', '<>', 'duplicate')
      .execute();
    for (const row of rows)
      if (row.identity !== null) handled.push({ identity: row.identity, isKept: row.outcome === 'quarantined' });
  }
  return handled;
}

type Sent = { readonly sent: readonly SentCount[]; readonly addedAtMs: number };

/** By the minute; in any case of letters, but letter by letter: the collation of MySQL takes ü for u. */
async function sentCounts(
  db: Connected,
  words: DialectWords,
  mailboxId: string,
  senders: Question['senders'],
  addedAt: (mailboxId: string) => Promise<number>,
): Promise<Sent> {
  if (senders === null) return { sent: [], addedAtMs: 0 };
  const addedAtMs = await addedAt(mailboxId);
  const sent: SentCount[] = [];
  if (senders.toMs < addedAtMs) return { sent, addedAtMs };
  const isSqlite = words.kind === 'sqlite';
  const address = isSqlite ? sql<string>`from_address collate nocase` : sql.ref<string>('from_address');
  const written = isSqlite ? sql<string>`lower(from_address)` : sql<string>`lower(from_address) collate utf8mb4_bin`;
  const minute = sql<string>`substr(received_at, 1, ${sql.lit(minuteCharacters)})`;
  for (const addresses of portions(senders.addresses)) {
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
function createAddedAt(db: Connected): (mailboxId: string) => Promise<number> {
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
