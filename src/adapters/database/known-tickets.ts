/**
 * Tickets as threading asks for them: a merged one leads to the one that it went into, one that is gone is null.
 */
import { type RawBuilder, type Selectable, sql } from 'kysely';
import type { Known, KnownTicket, Question } from '../../ingest/model.ts';
import { peopleKinds } from '../../mail/thread/match.ts';
import type { DialectWords } from './dialect-words.ts';
import { portions } from './portions.ts';
import type { Connected, TicketTable } from './tables.ts';
import { fromDatabaseTime, fromOptionalTime } from './times.ts';

/** A ticket that was merged into one that was merged …: as many times as anybody would follow. */
const mergesMax = 5;
/** A ticket that is continued by one that is continued by one …: likewise. */
const continuationsMax = 10;
/** SQLite takes 500 SELECTs in one statement. */
const claimsPerQuery = 100;

export const ticketColumns = [
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
export type TicketRows = {
  readonly [K in 'ref' | 'status' | 'closed_at' | 'merged_into' | 'is_orphan' | 'requester_address']: Ticket[K] | null;
} & {
  readonly ticket_id: string | null;
  readonly ticket_mailbox_id: string | null;
  readonly ticket_created_at: string | null;
  readonly ticket_updated_at: string | null;
};

export async function ticketRows(
  db: Connected,
  column: 'id' | 'ref',
  values: readonly string[],
): Promise<readonly TicketRows[]> {
  const rows: TicketRows[] = [];
  for (const portion of portions(values)) {
    rows.push(
      ...(await db.selectFrom('ticket').select(ticketColumns).where(`ticket.${column}`, 'in', portion).execute()),
    );
  }
  return rows;
}

/** The ticket that a row is about by now. Queries only when there are merged ones. */
export async function knownTickets(
  db: Connected,
  rows: readonly TicketRows[],
): Promise<(row: TicketRows) => KnownTicket | null> {
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

function toTicket(row: TicketRows): KnownTicket | null {
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
 * What continues those of `tickets` that were closed before `overBeforeMs`, and what continues that if it was as well: one
 * query for a closed ticket, and none where there is no such ticket.
 */
export async function continuationsOf(
  db: Connected,
  tickets: readonly KnownTicket[],
  overBeforeMs: number,
): Promise<Known['continuations']> {
  const found: { readonly closedId: string; readonly ticket: KnownTicket }[] = [];
  const asked = new Set<string>();
  let added = tickets;
  for (let turn = 0; turn < continuationsMax; turn += 1) {
    const over = added.filter(
      ({ id, closedAtMs }) => closedAtMs !== null && closedAtMs < overBeforeMs && !asked.has(id),
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

async function continuing(db: Connected, ids: readonly string[]): Promise<Known['continuations']> {
  const found: { readonly closedId: string; readonly ticket: KnownTicket }[] = [];
  for (const portion of portions(ids)) {
    const rows = await db
      .selectFrom('ticket_link')
      .innerJoin('ticket', 'ticket.id', 'ticket_link.ticket_id')
      .select('ticket_link.other_id as closed_id')
      .select(ticketColumns)
      .where('ticket_link.other_id', 'in', portion)
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
export async function participantsOf(
  db: Connected,
  words: DialectWords,
  claims: Question['claims'],
  tickets: Known['tickets'],
): Promise<Known['participants']> {
  const byRef = new Map(tickets.map(({ ref, ticket }) => [ref, ticket.id]));
  const asked = claims.flatMap(({ ref, address }) => {
    const ticketId = byRef.get(ref);
    return ticketId === undefined ? [] : [{ ticketId, address }];
  });
  const found: { readonly ticketId: string; readonly address: string }[] = [];
  for (let at = 0; at < asked.length; at += claimsPerQuery) {
    const some = asked.slice(at, at + claimsPerQuery);
    const { rows } = await sql<{ claim: number | bigint; is_true: number | bigint }>`${sql.join(
      some.map(({ ticketId, address }, claim) => exists(words, ticketId, address, claim)),
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
function exists(words: DialectWords, ticketId: string, address: string, claim: number) {
  const bytes = (text: RawBuilder<unknown>) => (words.kind === 'mysql' ? sql`cast(${text} as binary)` : text);
  const written = JSON.stringify({ address }).slice(1, -1);
  const holds = (column: string) => sql`instr(${bytes(sql`lower(${sql.ref(column)})`)}, ${bytes(sql`${written}`)}) > 0`;
  return sql`select ${sql.lit(claim)} as claim, exists(select 1 from message where message.ticket_id = ${ticketId} and message.kind in (${sql.join(peopleKinds.map((kind) => sql.lit(kind)))})
    and (${bytes(sql`lower(message.from_address)`)} = ${bytes(sql`${address}`)}
      or ${holds('message.to_json')} or ${holds('message.cc_json')})) as is_true`;
}
