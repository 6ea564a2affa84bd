/**
 * One ticket for the commands: where it is, its state, and the key of its reply tokens.
 */
import type { TicketDesk, TicketPlace } from '../../ingest/stores.ts';
import type { DialectWords } from './dialect-words.ts';
import { shortColumn, toAddresses } from './mailbox-rows.ts';
import { noTicket } from './no-ticket.ts';
import { replyKey } from './reply-key.ts';
import type { Connected } from './tables.ts';

export function ticketDesk(db: Connected, words: DialectWords): TicketDesk {
  return {
    ticketPlace: (ref) => ticketPlace(db, ref),
    setTicketState: (id, state) => setTicketState(db, words, id, state),
    replyKey: () => replyKey(db, words),
  };
}

async function ticketPlace(db: Connected, ref: string): Promise<TicketPlace> {
  const row = await db
    .selectFrom('ticket')
    .leftJoin('mailboxes', 'mailboxes.id', 'ticket.mailbox_id')
    .leftJoin('ticket as other', 'other.id', 'ticket.merged_into')
    .select(['ticket.id', 'ticket.ref', 'ticket.status', 'other.ref as merged_into_ref'])
    .select(['mailboxes.id as mailbox_id', shortColumn('name'), shortColumn('addresses'), shortColumn('username')])
    .where('ticket.ref', '=', ref)
    .executeTakeFirst();
  if (row === undefined) throw noTicket(ref);
  return {
    ...{ id: row.id, ref: row.ref, status: row.status, mergedInto: row.merged_into_ref },
    mailbox: row.mailbox_id === null ? null : { name: row.name, addresses: toAddresses(row) },
  };
}

async function setTicketState(
  db: Connected,
  words: DialectWords,
  id: string,
  state: 'open' | 'closed',
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('ticket')
    .set({ status: state, closed_at: state === 'closed' ? words.now : null, updated_at: words.now })
    .where('id', '=', id)
    .where('status', 'not in', [state, 'merged'])
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}
