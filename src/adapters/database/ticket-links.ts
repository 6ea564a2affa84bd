/**
 * Links between tickets, and tickets that go into others.
 */
import { sql } from 'kysely';
import { Failure } from '../../errors.ts';
import type { Copy, LinkReason, ShownLink, TicketLink, TicketMerge } from '../../ingest/model.ts';
import type { DialectWords } from './dialect-words.ts';
import { hashOf } from './message-rows.ts';
import { portions } from './portions.ts';
import type { Connected } from './tables.ts';

/** One that is there already stays. */
export async function addLinks(db: Connected, words: DialectWords, links: readonly TicketLink[]): Promise<void> {
  for (const portion of portions(links)) {
    const rows = portion.map(({ ticketId, otherId, reason }) => ({
      ...{ ticket_id: ticketId, other_id: otherId, reason },
      created_at: words.now,
    }));
    const insert = db.insertInto('ticket_link').values(rows);
    await (words.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
  }
}

/**
 * The tickets are locked already (batch-store.ts). `database_conflict` when one of them is not open any more: somebody
 * works on it.
 */
export async function mergeTickets(db: Connected, words: DialectWords, merges: readonly TicketMerge[]): Promise<void> {
  for (const { ticketId, intoId } of merges) {
    const { numUpdatedRows } = await db
      .updateTable('ticket')
      .set({ status: 'merged', merged_into: intoId, updated_at: words.now })
      .where('id', '=', ticketId)
      .where('status', '=', 'open')
      .executeTakeFirst();
    if (numUpdatedRows !== 1n)
      throw new Failure('database_conflict', 'A ticket that was to be merged is not open.', { fields: { key: null } });
    await moveMessages(db, ticketId, intoId);
  }
}

/** Outcomes are found by their messages: there is no index of their tickets. */
async function moveMessages(db: Connected, ticketId: string, intoId: string): Promise<void> {
  const rows = await db.selectFrom('message').select('id').where('ticket_id', '=', ticketId).execute();
  const moved = { ticket_id: intoId };
  for (const ids of portions(rows.map(({ id }) => id))) {
    await db.updateTable('message').set(moved).where('id', 'in', ids).execute();
    await db.updateTable('outcome').set(moved).where('message_id', 'in', ids).execute();
  }
}

export async function linkCopies(
  db: Connected,
  words: DialectWords,
  mailboxId: string,
  copies: readonly Copy[],
): Promise<void> {
  const ours = new Map(copies.map((copy) => [`${hashOf(copy.messageId)} ${copy.contentHash}`, copy.ticketId]));
  const hashes = [...new Set(copies.map(({ messageId }) => hashOf(messageId)))];
  const links: TicketLink[] = [];
  for (const portion of portions(hashes)) {
    const rows = await db
      .selectFrom('message')
      .innerJoin('ticket', 'ticket.id', 'message.ticket_id')
      .select(['message_id_hash', 'content_hash', 'ticket.id'])
      .where('message_id_hash', 'in', portion)
      .where('message.mailbox_id', '<>', mailboxId)
      .where('ticket.status', '<>', sql.lit('merged'))
      .execute();
    for (const { message_id_hash: hash, content_hash: content, id: otherId } of rows) {
      const ticketId = ours.get(`${hash} ${content}`);
      if (ticketId !== undefined && ticketId !== otherId) links.push({ ticketId, otherId, reason: 'same_message' });
    }
  }
  await addLinks(db, words, links);
}

/** Of each of these tickets, in the order in which the links were made. */
export async function linksOf(
  db: Connected,
  ticketIds: readonly string[],
): Promise<ReadonlyMap<string, readonly ShownLink[]>> {
  const links = new Map<string, ShownLink[]>();
  for (const portion of portions(ticketIds)) {
    for (const [mine, other, direction] of [
      ['ticket_id', 'other_id', 'to'],
      ['other_id', 'ticket_id', 'from'],
    ] as const) {
      const rows = await db
        .selectFrom('ticket_link')
        .innerJoin('ticket', 'ticket.id', `ticket_link.${other}`)
        .select([`ticket_link.${mine} as mine`, 'ticket.ref', 'reason'])
        .where(`ticket_link.${mine}`, 'in', portion)
        .orderBy('ticket_link.created_at')
        .orderBy('ticket.ref')
        .execute();
      for (const row of rows) {
        const link = { ticket: row.ref, reason: row.reason as LinkReason, direction };
        links.set(row.mine, [...(links.get(row.mine) ?? []), link]);
      }
    }
  }
  return links;
}
