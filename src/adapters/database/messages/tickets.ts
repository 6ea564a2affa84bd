/**
 * Ticket store: links between tickets, merges, and the state of a ticket.
 */
import { sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import type { MessageCopy } from '../../../ingest/batch-lookup.ts';
import type { LinkReason, TicketLink, TicketLinkView, TicketMerge } from '../../../ingest/model.ts';
import type { TicketHeader, TicketStore } from '../../../ingest/stores.ts';
import { mailboxColumn } from '../rows/mailbox-columns.ts';
import { toAddresses } from '../rows/mailboxes.ts';
import { hashOf } from '../rows/messages.ts';
import { bindDatabase, chunks, rowsInChunks } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';

export function ticketStore(db: SqlExecutor): TicketStore {
  return bindDatabase(db, { ticketHeader, setTicketState });
}

async function ticketHeader(db: SqlExecutor, ref: string): Promise<TicketHeader> {
  const row = await db
    .selectFrom('ticket')
    .leftJoin('mailboxes', 'mailboxes.id', 'ticket.mailbox_id')
    .leftJoin('ticket as other', 'other.id', 'ticket.merged_into')
    .select(['ticket.id', 'ticket.ref', 'ticket.status', 'other.ref as merged_into_ref'])
    .select([
      'mailboxes.id as mailbox_id',
      mailboxColumn('name'),
      mailboxColumn('addresses'),
      mailboxColumn('username'),
    ])
    .where('ticket.ref', '=', ref)
    .executeTakeFirst();
  if (row === undefined) throw noTicket(ref);
  return {
    ...{ id: row.id, ref: row.ref, status: row.status, mergedInto: row.merged_into_ref },
    mailbox: row.mailbox_id === null ? null : { name: row.name, addresses: toAddresses(row) },
  };
}

async function setTicketState(db: SqlExecutor, id: string, state: 'open' | 'closed'): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('ticket')
    .set({ status: state, closed_at: state === 'closed' ? db.dialect.now : null, updated_at: db.dialect.now })
    .where('id', '=', id)
    .where('status', 'not in', [state, 'merged'])
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

export function noTicket(ref: string): Failure {
  return new Failure('not_found', `There is no ticket ${JSON.stringify(ref)}.`, {
    fields: { ticket: ref },
    hint: 'See ticketmaild ticket list.',
  });
}

/* Links and merges. */

/** An existing link stays. */
export async function addLinks(db: SqlExecutor, links: readonly TicketLink[]): Promise<void> {
  for (const chunk of chunks(links)) {
    const rows = chunk.map(({ ticketId, otherId, reason }) => ({
      ...{ ticket_id: ticketId, other_id: otherId, reason },
      created_at: db.dialect.now,
    }));
    const insert = db.insertInto('ticket_link').values(rows);
    await (db.dialect.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
  }
}

/** The caller has locked the tickets (batch.ts). `database_conflict` when one of them is no longer open. */
export async function mergeTickets(db: SqlExecutor, merges: readonly TicketMerge[]): Promise<void> {
  for (const { ticketId, intoId } of merges) {
    const { numUpdatedRows } = await db
      .updateTable('ticket')
      .set({ status: 'merged', merged_into: intoId, updated_at: db.dialect.now })
      .where('id', '=', ticketId)
      .where('status', '=', 'open')
      .executeTakeFirst();
    if (numUpdatedRows !== 1n)
      throw new Failure('database_conflict', 'A ticket to merge is not open.', { fields: { key: null } });
    await moveMessages(db, ticketId, intoId);
  }
}

/** Outcomes are found by their messages: they have no index by ticket. */
async function moveMessages(db: SqlExecutor, ticketId: string, intoId: string): Promise<void> {
  const rows = await db.selectFrom('message').select('id').where('ticket_id', '=', ticketId).execute();
  const moved = { ticket_id: intoId };
  for (const ids of chunks(rows.map(({ id }) => id))) {
    await db.updateTable('message').set(moved).where('id', 'in', ids).execute();
    await db.updateTable('outcome').set(moved).where('message_id', 'in', ids).execute();
  }
}

/** Copies that are linked with the messages of a batch: an attacker can send any number. */
const copiesMax = 1000;

export async function linkCopies(db: SqlExecutor, mailboxId: string, copies: readonly MessageCopy[]): Promise<void> {
  const ticketIds = new Map(copies.map((copy) => [`${hashOf(copy.messageId)} ${copy.contentHash}`, copy.ticketId]));
  const hashes = [...new Set(copies.map(({ messageId }) => hashOf(messageId)))];
  const contents = [...new Set(copies.map(({ contentHash }) => contentHash))];
  const rows = await rowsInChunks(hashes, (chunk) =>
    db
      .selectFrom('message')
      .innerJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message_id_hash', 'content_hash', 'ticket.id'])
      .where('message_id_hash', 'in', chunk)
      .where('content_hash', 'in', contents)
      .where('message.mailbox_id', '<>', mailboxId)
      .where('ticket.status', '<>', sql.lit('merged'))
      .orderBy('message.id')
      .limit(copiesMax),
  );
  const links = rows.flatMap(({ message_id_hash: hash, content_hash: content, id: otherId }): readonly TicketLink[] => {
    const ticketId = ticketIds.get(`${hash} ${content}`);
    return ticketId === undefined || ticketId === otherId ? [] : [{ ticketId, otherId, reason: 'same_message' }];
  });
  await addLinks(db, links);
}

/** The links of each ticket, oldest first. */
export async function linksOf(
  db: SqlExecutor,
  ticketIds: readonly string[],
): Promise<ReadonlyMap<string, readonly TicketLinkView[]>> {
  const links = new Map<string, TicketLinkView[]>();
  for (const [mine, other, direction] of [
    ['ticket_id', 'other_id', 'to'],
    ['other_id', 'ticket_id', 'from'],
  ] as const) {
    const rows = await rowsInChunks(ticketIds, (chunk) =>
      db
        .selectFrom('ticket_link')
        .innerJoin('ticket', 'ticket.id', `ticket_link.${other}`)
        .select([`ticket_link.${mine} as mine`, 'ticket.ref', 'reason'])
        .where(`ticket_link.${mine}`, 'in', chunk)
        .orderBy('ticket_link.created_at')
        .orderBy('ticket.ref'),
    );
    for (const row of rows) {
      const link = { ticket: row.ref, reason: row.reason as LinkReason, direction };
      links.set(row.mine, [...(links.get(row.mine) ?? []), link]);
    }
  }
  return links;
}
