/**
 * Counts what must be 0 in a healthy database: outcomes, messages, tickets and cursors that do not fit together.
 */
import { sql } from 'kysely';
import type { Reconciliation } from '../../ingest/rows.ts';
import type { Connected } from './tables.ts';

export async function reconcile(db: Connected): Promise<Reconciliation> {
  return {
    outcomes: await count(db, sql`select count(*) as count from outcome`),
    messages: await count(db, sql`select count(*) as count from message`),
    // A stored message, and any message that an outcome names, must be there.
    outcomesWithoutMessage: await count(
      db,
      sql`select count(*) as count from outcome
        left join message on message.id = outcome.message_id
        where message.id is null and (outcome.message_id is not null
          or outcome.outcome in ('ticket_opened', 'reply_added', 'recorded'))`,
    ),
    // The outcomes of a removed mailbox are gone on purpose.
    messagesWithoutOutcome: await count(
      db,
      sql`select count(*) as count from message
        inner join mailboxes on mailboxes.id = message.mailbox_id
        where not exists (select 1 from outcome where outcome.message_id = message.id)`,
    ),
    ticketsWithoutMessage: await count(
      db,
      sql`select count(*) as count from ticket
        where not exists (select 1 from message where message.ticket_id = ticket.id)`,
    ),
    outcomesAboveCursor: await count(
      db,
      sql`select count(*) as count from outcome
        inner join mailbox_state on mailbox_state.mailbox_id = outcome.mailbox_id
        where outcome.uid_validity = mailbox_state.cursor_uid_validity and outcome.uid > mailbox_state.cursor_uid`,
    ),
  };
}

async function count(db: Connected, query: ReturnType<typeof sql>): Promise<number> {
  const { rows } = await query.execute(db);
  const [row] = rows as readonly { readonly count: number }[];
  return Number(row?.count ?? 0);
}
