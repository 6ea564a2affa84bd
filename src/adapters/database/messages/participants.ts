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
import { addressesFrom } from '../rows/json-columns.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { rowsInChunks } from '../sql/statements.ts';
import type { MessageTable, SqlExecutor } from '../sql/tables.ts';

export const peopleColumns = [
  'message.kind',
  'message.from_address',
  'message.from_name',
  'message.reply_to_json',
  'message.to_json',
  'message.cc_json',
] as const;

export type PeopleRow = Pick<
  Selectable<MessageTable>,
  'kind' | 'from_address' | 'from_name' | 'reply_to_json' | 'to_json' | 'cc_json'
>;

export function toPeople(row: PeopleRow): MessagePeople {
  const from = { name: row.from_name, address: row.from_address };
  const [replyTo = [], to = [], cc = []] = [row.reply_to_json, row.to_json, row.cc_json].map(addressesFrom);
  return peopleOf({ kind: row.kind as MessageKind, from, replyTo, to, cc, bounce: null });
}

/** SQLite allows 500 SELECTs in one statement. */
const claimsPerQuery = 100;

/**
 * The true claims: the address is in From, To or Cc of a message of the ticket that a person or a list sent. Compared
 * byte by byte in lower case, because the collation treats ü as u.
 */
export async function participantsOf(
  db: SqlExecutor,
  claims: LookupRequest['claims'],
  tickets: LookupResult['tickets'],
): Promise<LookupResult['participants']> {
  const byRef = new Map(tickets.map(({ ref, ticket }) => [ref, ticket.id]));
  const candidates = claims.flatMap(({ ref, address }) => {
    const ticketId = byRef.get(ref);
    return ticketId === undefined ? [] : [{ ticketId, address }];
  });
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

/** From, Reply-To, To and Cc of all messages that people or lists sent; of open tickets of this mailbox only. */
export async function peopleOfTickets(
  db: SqlExecutor,
  mailboxId: string,
  tickets: readonly LookupTicket[],
): Promise<LookupResult['ticketPeople']> {
  const mergeable = tickets.filter((ticket) => ticket.mailboxId === mailboxId && ticket.status === 'open');
  const ids = [...new Set(mergeable.map(({ id }) => id))];
  const rows = await rowsInChunks(ids, (chunk) => {
    const numbered = db
      .selectFrom('message')
      .select(['id as numbered_id'])
      .select(sql<number>`row_number() over (partition by ticket_id order by received_at)`.as('age_rank'))
      .where('ticket_id', 'in', chunk);
    return db
      .selectFrom(numbered.as('numbered'))
      .innerJoin('message', 'message.id', 'numbered.numbered_id')
      .select(['message.ticket_id'])
      .select(peopleColumns)
      .where('age_rank', '<=', mergedMessagesMax + 1);
  });
  const byTicket = Map.groupBy(rows, (row) => row.ticket_id ?? '');
  return [...byTicket].flatMap(([ticketId, messages]) => {
    if (messages.length > mergedMessagesMax) return [];
    const people = messages.map(toPeople).filter(({ kind }) => participantKinds.includes(kind));
    return [{ ticketId, addresses: people.flatMap(everyoneIn) }];
  });
}

/** A text inside the JSON cannot match: its quotation marks are escaped. */
function claimQuery(dialect: SqlDialect, ticketId: string, address: string, claim: number) {
  const bytes = (text: RawBuilder<unknown>) => (dialect.kind === 'mysql' ? sql`cast(${text} as binary)` : text);
  const written = JSON.stringify({ address }).slice(1, -1);
  const holds = (column: string) => sql`instr(${bytes(sql`lower(${sql.ref(column)})`)}, ${bytes(sql`${written}`)}) > 0`;
  return sql`select ${sql.lit(claim)} as claim, exists(select 1 from message where message.ticket_id = ${ticketId} and message.kind in (${sql.join(participantKinds.map((kind) => sql.lit(kind)))})
    and (${bytes(sql`lower(message.from_address)`)} = ${bytes(sql`${address}`)}
      or ${holds('message.to_json')} or ${holds('message.cc_json')})) as is_true`;
}
