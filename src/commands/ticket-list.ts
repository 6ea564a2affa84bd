/**
 * `ticket list`: tickets, newest first.
 */
import { Failure } from '../errors.ts';
import type { TicketSummary } from '../ingest/model.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { personText, ticketJson } from './ticket-view.ts';

const columns = [
  { title: 'REF' },
  { title: 'STATUS' },
  { title: 'MESSAGES', align: 'right' as const },
  { title: 'UPDATED (UTC)' },
  { title: 'MAILBOX', shrinks: true },
  { title: 'REQUESTER', shrinks: true },
  { title: 'SUBJECT', shrinks: true },
];

const limitForPeople = 50;
const limitMax = 2_147_483_647;

/** Scripts (`--json`) get all tickets, people the newest, unless told a limit. Throws `usage`. */
export async function listTickets(options: CommonOptions & { limit?: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const limit = readLimit(options.limit) ?? (options.json === true ? limitMax : limitForPeople);
  return await withApp(options, context, async (app) => {
    const tickets = await app.store.listTickets(limit);
    if (options.json === true) for (const ticket of tickets) await terminal.json(ticketJson(ticket));
    else if (tickets.length === 0) terminal.note('There is no ticket yet.');
    else await terminal.table(columns, tickets.map(row));
    const more = options.json !== true && options.limit === undefined && tickets.length === limit;
    if (more) terminal.note(`These are the newest ${limit}; --limit shows more.`);
    return 0;
  });
}

function readLimit(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Failure('usage', `--limit must be a whole number from 1 to 999999999, not ${JSON.stringify(text)}`);
}

function row(ticket: TicketSummary): readonly string[] {
  const { ref, status, messageCount, updatedAtMs, mailbox, requester, subject } = ticket;
  return [
    ref,
    status,
    `${messageCount}`,
    shortTime(updatedAtMs),
    mailbox ?? '(removed)',
    personText(requester),
    subject,
  ];
}
