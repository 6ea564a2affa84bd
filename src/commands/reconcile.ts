/**
 * `reconcile`: counts whether every message seen has one outcome and every outcome what it says. `reconcile MAILBOX`
 * compares the folder on the server with the outcomes, and with `--repair` fetches what was passed over.
 */
import { Failure } from '../errors.ts';
import type { WrongRow } from '../ingest/reconcile-ports.ts';
import type { Reconciliation } from '../ingest/rows.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

export type ReconcileOptions = CommonOptions & { readonly name?: string; readonly repair?: boolean };

type Row = readonly [key: keyof Reconciliation, json: string, meaning: string];

/** Numbers that are 0 in a healthy database, with what a row of them is. */
const wrongs: readonly Row[] = [
  ['outcomesWithoutMessage', 'outcomes_without_message', 'outcomes whose message is missing'],
  ['messagesWithoutOutcome', 'messages_without_outcome', 'messages that no outcome names'],
  ['ticketsWithoutMessage', 'tickets_without_message', 'tickets without a message'],
  [
    'mergedTicketsWithMessage',
    'merged_tickets_with_message',
    'tickets that were merged and have messages all the same',
  ],
  ['outcomesAboveCursor', 'outcomes_above_cursor', 'outcomes beyond the cursor of their mailbox'],
];

/** Left over where a helpdesk deletes tickets or messages. */
const leftovers: readonly Row[] = [
  ['deletedMails', 'deleted', 'mails whose ticket and message somebody deleted; they are known when they come again'],
  ['linksWithoutTicket', 'links_without_ticket', 'links to tickets that somebody deleted'],
  ['referencesWithoutMessage', 'references_without_message', 'references of messages that somebody deleted'],
];

/** Of each number that is wrong. */
const rowsShownMax = 20;

/** Exit code 1 when a number is wrong. */
export async function reconcile(options: ReconcileOptions, context: Context): Promise<number> {
  if (options.name !== undefined) {
    const { reconcileMailbox } = await import('./reconcile-mailbox.ts');
    return await reconcileMailbox({ ...options, name: options.name }, context);
  }
  if (options.repair === true) throw new Failure('usage', '--repair is for one mailbox: name it');
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const found = await app.store.reconcile();
    const wrong = wrongs.map(([key]) => key).filter((key) => found[key] !== 0);
    const rows = wrong.length === 0 ? [] : await app.store.wrongRows(wrong, rowsShownMax);
    const ok = wrong.length === 0;
    if (options.json === true) {
      await terminal.json({ ok, ...numbersJson(found), wrong: rows.map(rowJson) });
      return ok ? 0 : 1;
    }
    await tell(found, rows, context);
    return ok ? 0 : 1;
  });
}

async function tell(found: Reconciliation, rows: readonly WrongRow[], { terminal }: Context): Promise<void> {
  const { outcomes, messages, links, references, mergedTickets } = found;
  await terminal.line(`${outcomes} outcomes, ${messages} messages`);
  await terminal.line(`${links} links between tickets, ${references} references, ${mergedTickets} merged tickets`);
  for (const [key, , meaning] of leftovers) {
    if (found[key] !== 0) await terminal.line(`left over: ${found[key]} ${meaning}`);
  }
  for (const [key, , meaning] of wrongs) {
    if (found[key] === 0) continue;
    await terminal.line(`wrong: ${found[key]} ${meaning}`, 'red');
    const shown = rows.filter(({ count }) => count === key);
    for (const row of shown) await terminal.line(`  ${rowText(row)}`);
    if (shown.length < found[key]) await terminal.line('  …');
  }
  const ok = rows.length === 0;
  if (found.outcomesWithoutMessage > 0)
    terminal.note('hint: reconcile MAILBOX --repair puts messages back whose source is kept, or is on the server.');
  await terminal.line(ok ? 'all accounted for' : 'not all accounted for', ok ? 'green' : 'red');
}

function numbersJson(found: Reconciliation): Record<string, number> {
  const { outcomes, messages, links, references, mergedTickets: merged_tickets } = found;
  const rows = [...wrongs, ...leftovers].map(([key, name]) => [name, found[key]]);
  return { outcomes, messages, links, references, merged_tickets, ...Object.fromEntries(rows) };
}

function rowText({ mailbox, uid, ticket, message }: WrongRow): string {
  const parts = [
    ['mailbox', mailbox],
    ['uid', uid],
    ['ticket', ticket],
    ['message', message],
  ].filter(([, value]) => value !== null);
  return parts.map(([name, value]) => `${name} ${value}`).join('  ');
}

function rowJson({ count, mailbox, uid, ticket, message }: WrongRow): Record<string, unknown> {
  return { count: wrongs.find(([key]) => key === count)?.[1], mailbox, uid, ticket, message };
}
