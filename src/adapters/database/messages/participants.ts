/**
 * Participants of tickets: which claimed address takes part in a ticket (tags), and all people of a ticket (merges).
 *
 * Participants are in From, To or Cc of a message that a person or a list sent; a program may name any address.
 */
import { type RawBuilder, type Selectable, sql } from 'kysely';
import type { LookupRequest, LookupResult, LookupTicket } from '../../../ingest/batch-lookup.ts';
import type { MessageKind } from '../../../mail/message.ts';
import { participantKinds } from '../../../mail/thread/match.ts';
import { everyoneIn, type MessagePeople, peopleOf } from '../../../mail/thread/people.ts';
import { textsFrom } from '../rows/json-columns.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { chunks, rowsInChunks } from '../sql/statements.ts';
import type { MessageTable, SqlExecutor } from '../sql/tables.ts';

/** A list of `countedAddresses` is shorter in JSON. */
const listCharactersMax = 40_000;
/** All lists of one lookup: honest messages have some hundred characters each. */
const lookupCharactersMax = 8_000_000;

/**
 * People of these messages, each read once, in that order until their lists have eight million characters in all: the
 * others are absent.
 */
export async function peopleOfMessages(
  db: SqlExecutor,
  ids: readonly string[],
): Promise<ReadonlyMap<string, MessagePeople>> {
  const people = new Map<string, MessagePeople>();
  const list = (column: 'recipients_json' | 'replies_to_json') =>
    sql<string>`substr(${sql.ref(column)}, 1, ${sql.lit(listCharactersMax)})`.as(column);
  let characters = 0;
  for (const chunk of chunks([...new Set(ids)])) {
    if (characters > lookupCharactersMax) break;
    const rows = await db
      .selectFrom('message')
      .select(['id', 'kind', 'from_address', 'from_name', list('recipients_json'), list('replies_to_json')])
      .where('id', 'in', chunk)
      .execute();
    for (const row of rows) people.set(row.id, toPeople(row));
    characters += rows.reduce((sum, row) => sum + lengthOf(row.recipients_json) + lengthOf(row.replies_to_json), 0);
  }
  return people;
}

/** Another program may have changed the type of the column. */
function lengthOf(value: unknown): number {
  return typeof value === 'string' ? value.length : 0;
}

type PeopleRow = Pick<
  Selectable<MessageTable>,
  'kind' | 'from_address' | 'from_name' | 'recipients_json' | 'replies_to_json'
>;

function toPeople(row: PeopleRow): MessagePeople {
  const from = { name: row.from_name, address: row.from_address };
  const [replyTo = [], to = []] = [row.replies_to_json, row.recipients_json].map((json) =>
    textsFrom(json).map((address) => ({ name: '', address })),
  );
  return peopleOf({ kind: row.kind as MessageKind, from, replyTo, to, cc: [], bounce: null });
}

/** Claims by the id of the ticket: of tags, and of the senders of answers to what the helpdesk sent. */
export function claimsByTicket(
  { claims, answers }: Pick<LookupRequest, 'claims' | 'answers'>,
  { tickets, sentMessages }: Pick<LookupResult, 'tickets' | 'sentMessages'>,
): LookupResult['participants'] {
  const byRef = new Map(tickets.map(({ ref, ticket }) => [ref, ticket.id]));
  const byMessageId = new Map(sentMessages.map(({ messageId, ticket }) => [messageId, ticket.id]));
  const all = [
    ...claims.map(({ ref, address }) => ({ ticketId: byRef.get(ref), address })),
    ...answers.flatMap(({ id, senders }) => senders.map((address) => ({ ticketId: byMessageId.get(id), address }))),
  ];
  const claimed = all.flatMap(({ ticketId, address }) => (ticketId === undefined ? [] : [{ ticketId, address }]));
  return [...new Map(claimed.map((claim) => [`${claim.ticketId} ${claim.address}`, claim])).values()];
}

/** SQLite allows 500 SELECTs in one statement. */
const claimsPerQuery = 100;

/**
 * The true claims: the address is in From, To or Cc of a message of the ticket that a person or a list sent. Compared
 * byte by byte in lower case, because the collation treats ü as u.
 */
export async function participantsOf(
  db: SqlExecutor,
  candidates: LookupResult['participants'],
): Promise<LookupResult['participants']> {
  const found: { readonly ticketId: string; readonly address: string }[] = [];
  for (let at = 0; at < candidates.length; at += claimsPerQuery) {
    const some = candidates.slice(at, at + claimsPerQuery);
    const { rows } = await sql<{ claim: number | bigint; is_true: number | bigint }>`${sql.join(
      some.map(({ ticketId, address }, claim) => claimQuery(db.dialect, ticketId, address, claim)),
      sql` union all `,
    )}`.execute(db);
    for (const row of rows) {
      const claim = some[Number(row.claim)];
      if (claim !== undefined && Number(row.is_true) === 1) found.push(claim);
    }
  }
  return found;
}

/** A ticket with more messages is merged into no other one. */
const mergedMessagesMax = 20;

type TicketMessage = { readonly id: string; readonly ticket_id: string | null };

/** All messages of open tickets of this mailbox that have few. */
export async function messagesOfTickets(
  db: SqlExecutor,
  mailboxId: string,
  tickets: readonly LookupTicket[],
): Promise<readonly TicketMessage[]> {
  const mergeable = tickets.filter((ticket) => ticket.mailboxId === mailboxId && ticket.status === 'open');
  const ids = [...new Set(mergeable.map(({ id }) => id))];
  const rows = await rowsInChunks(ids, (chunk) => {
    const numbered = db
      .selectFrom('message')
      .select(['id', 'ticket_id'])
      .select(sql<number>`row_number() over (partition by ticket_id order by received_at)`.as('age_rank'))
      .where('ticket_id', 'in', chunk);
    return db
      .selectFrom(numbered.as('numbered'))
      .select(['id', 'ticket_id'])
      .where('age_rank', '<=', mergedMessagesMax + 1);
  });
  const byTicket = Map.groupBy(rows, (row) => row.ticket_id);
  return [...byTicket.values()].flatMap((messages) => (messages.length > mergedMessagesMax ? [] : messages));
}

/** From, Reply-To, To and Cc of what people or lists sent; no ticket of which the people of a message are absent. */
export function addressesByTicket(
  messages: readonly TicketMessage[],
  people: ReadonlyMap<string, MessagePeople>,
): LookupResult['ticketPeople'] {
  const byTicket = Map.groupBy(messages, (row) => row.ticket_id ?? '');
  return [...byTicket].flatMap(([ticketId, rows]) => {
    const known = rows.flatMap(({ id }) => people.get(id) ?? []);
    const counted = known.filter(({ kind }) => participantKinds.includes(kind));
    return known.length < rows.length ? [] : [{ ticketId, addresses: counted.flatMap(everyoneIn) }];
  });
}

/** Of a ticket, the newest: a flood of messages must not make each claim slow. */
const claimedMessagesMax = 500;

/** A text inside the JSON cannot match: its quotation marks are escaped. */
function claimQuery(dialect: SqlDialect, ticketId: string, address: string, claim: number) {
  const bytes = (text: RawBuilder<unknown>) => (dialect.kind === 'mysql' ? sql`cast(${text} as binary)` : text);
  const written = JSON.stringify([address]).slice(1, -1);
  return sql`select ${sql.lit(claim)} as claim, exists(select 1 from (
      select kind, from_address, recipients_json from message where ticket_id = ${ticketId}
      order by received_at desc limit ${sql.lit(claimedMessagesMax)}
    ) as newest where kind in (${sql.join(participantKinds.map((kind) => sql.lit(kind)))})
    and (${bytes(sql`lower(from_address)`)} = ${bytes(sql`${address}`)}
      or instr(${bytes(sql`recipients_json`)}, ${bytes(sql`${written}`)}) > 0)) as is_true`;
}
