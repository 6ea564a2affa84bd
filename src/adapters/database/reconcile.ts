/**
 * Counts what must be 0 in a healthy database: outcomes, messages, tickets and cursors that do not fit together; and how
 * much there is.
 *
 * What a helpdesk deletes on purpose leaves rows behind that name it: they are counted apart, and are nothing wrong.
 */
import { sql } from 'kysely';
import type { Reconciliation } from '../../ingest/model.ts';
import type { WrongRow } from '../../ingest/stores.ts';
import type { Connected } from './tables.ts';

/** An outcome that names a message which is not there. */
const namesNoMessage = sql`message.id is null and (outcome.message_id is not null
  or outcome.outcome in ('ticket_opened', 'reply_added', 'recorded'))`;
/** Somebody has deleted its ticket, too. */
const isDeleted = sql`outcome.ticket_id is not null
  and not exists (select 1 from ticket where ticket.id = outcome.ticket_id)`;

/** What is to be 0: where the rows are, and of what they tell in `WrongRow`. */
const wrongs = {
  outcomesWithoutMessage: {
    from: sql`outcome left join message on message.id = outcome.message_id
      left join mailboxes on mailboxes.id = outcome.mailbox_id left join ticket on ticket.id = outcome.ticket_id
      where ${namesNoMessage} and not (${isDeleted})`,
    told: sql`mailboxes.name as mailbox, outcome.uid as uid, ticket.ref as ticket, outcome.message_id as message`,
  },
  // The outcomes of a removed mailbox are gone on purpose.
  messagesWithoutOutcome: {
    from: sql`message inner join mailboxes on mailboxes.id = message.mailbox_id
      left join ticket on ticket.id = message.ticket_id
      where not exists (select 1 from outcome where outcome.message_id = message.id)`,
    told: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, message.id as message`,
  },
  // What was merged has given its messages to another ticket.
  ticketsWithoutMessage: {
    from: sql`ticket left join mailboxes on mailboxes.id = ticket.mailbox_id
      where merged_into is null and status <> 'merged'
        and not exists (select 1 from message where message.ticket_id = ticket.id)`,
    told: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, null as message`,
  },
  mergedTicketsWithMessage: {
    from: sql`ticket left join mailboxes on mailboxes.id = ticket.mailbox_id
      where merged_into is not null and exists (select 1 from message where message.ticket_id = ticket.id)`,
    told: sql`mailboxes.name as mailbox, null as uid, ticket.ref as ticket, null as message`,
  },
  outcomesAboveCursor: {
    from: sql`outcome inner join mailbox_state on mailbox_state.mailbox_id = outcome.mailbox_id
      left join mailboxes on mailboxes.id = outcome.mailbox_id left join ticket on ticket.id = outcome.ticket_id
      where outcome.uid_validity = mailbox_state.cursor_uid_validity and outcome.uid > mailbox_state.cursor_uid`,
    told: sql`mailboxes.name as mailbox, outcome.uid as uid, ticket.ref as ticket, outcome.message_id as message`,
  },
} as const;

type Wrong = keyof typeof wrongs;

/** One query for each number. */
const counts: Readonly<Record<Exclude<keyof Reconciliation, Wrong>, ReturnType<typeof sql>>> = {
  outcomes: sql`select count(*) as count from outcome`,
  messages: sql`select count(*) as count from message`,
  links: sql`select count(*) as count from ticket_link`,
  references: sql`select count(*) as count from message_reference`,
  mergedTickets: sql`select count(*) as count from ticket where merged_into is not null`,
  deletedMails: sql`select count(*) as count from outcome
    left join message on message.id = outcome.message_id where ${namesNoMessage} and ${isDeleted}`,
  linksWithoutTicket: sql`select count(*) as count from ticket_link
    where not exists (select 1 from ticket where ticket.id = ticket_link.ticket_id)
      or not exists (select 1 from ticket where ticket.id = ticket_link.other_id)`,
  referencesWithoutMessage: sql`select count(*) as count from message_reference
    where not exists (select 1 from message where message.id = message_reference.message_id)`,
};

export async function reconcile(db: Connected): Promise<Reconciliation> {
  const found: [string, number][] = [];
  for (const [name, { from }] of Object.entries(wrongs))
    found.push([name, await count(db, sql`select count(*) as count from ${from}`)]);
  for (const [name, query] of Object.entries(counts)) found.push([name, await count(db, query)]);
  return Object.fromEntries(found) as Reconciliation;
}

/** The first rows of each of `names` that is to be 0. */
export async function wrongRows(
  db: Connected,
  names: readonly (keyof Reconciliation)[],
  limit: number,
): Promise<readonly WrongRow[]> {
  const found: WrongRow[] = [];
  for (const name of names) {
    if (!isWrong(name)) continue;
    const { from, told } = wrongs[name];
    const { rows } = await sql<Omit<WrongRow, 'count'>>`select ${told} from ${from} limit ${sql.lit(limit)}`.execute(
      db,
    );
    for (const { mailbox, uid, ticket, message } of rows) found.push({ count: name, mailbox, uid, ticket, message });
  }
  return found;
}

function isWrong(name: keyof Reconciliation): name is Wrong {
  return Object.hasOwn(wrongs, name);
}

async function count(db: Connected, query: ReturnType<typeof sql>): Promise<number> {
  const { rows } = await query.execute(db);
  const [row] = rows as readonly { readonly count: number }[];
  return Number(row?.count ?? 0);
}
