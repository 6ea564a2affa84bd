/**
 * `reconcile`: counts whether every message seen has one outcome and every outcome what it says. `reconcile MAILBOX`
 * compares the folder on the server with the outcomes, and with `--repair` fetches what was passed over. `reconcile --files`
 * also looks for the files that rows name.
 */
import { Failure } from '../errors.ts';
import type { Reconciliation } from '../ingest/model.ts';
import type { FilesReport } from '../ingest/repair/reconcile.ts';
import type { WrongRow } from '../ingest/stores.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { areThere, filesJson, filesOf, tellFiles } from './reconcile-files.ts';

export type ReconcileOptions = CommonOptions & {
  readonly name?: string;
  readonly repair?: boolean;
  readonly files?: boolean;
};

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

/** Exit code 1 when a number is wrong, or a file. */
export async function reconcile(options: ReconcileOptions, context: Context): Promise<number> {
  if (options.name !== undefined) {
    if (options.files === true) throw new Failure('usage', '--files is for all mailboxes: name none');
    const { reconcileMailbox } = await import('./reconcile-mailbox.ts');
    return await reconcileMailbox({ ...options, name: options.name }, context);
  }
  if (options.repair === true) throw new Failure('usage', '--repair is for one mailbox: name it');
  return await withApp(options, context, async (app, config) => {
    const numbers = await app.store.reconcile();
    const wrong = wrongs.map(([key]) => key).filter((key) => numbers[key] !== 0);
    const rows = wrong.length === 0 ? [] : await app.store.wrongRows(wrong, rowsShownMax);
    const files = options.files === true ? await filesOf(app, config.raw.keepDays, rowsShownMax, context) : null;
    const ok = wrong.length === 0 && (files === null || areThere(files));
    await (options.json === true ? tellJson : tell)({ ok, numbers, rows, files }, context);
    return ok ? 0 : 1;
  });
}

type Found = {
  readonly ok: boolean;
  readonly numbers: Reconciliation;
  /** Some of those that are wrong. */
  readonly rows: readonly WrongRow[];
  /** null: they were not looked for. */
  readonly files: FilesReport | null;
};

async function tellJson({ ok, numbers, rows, files }: Found, { terminal }: Context): Promise<void> {
  const more = files === null ? {} : filesJson(files);
  await terminal.json({ ok, ...numbersJson(numbers), wrong: rows.map(rowJson), ...more });
}

async function tell({ ok, numbers, rows, files }: Found, context: Context): Promise<void> {
  await tellNumbers(numbers, rows, context);
  if (files !== null) await tellFiles(files, rowsShownMax, context);
  await context.terminal.line(ok ? 'all accounted for' : 'not all accounted for', ok ? 'green' : 'red');
}

async function tellNumbers(found: Reconciliation, rows: readonly WrongRow[], { terminal }: Context): Promise<void> {
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
  if (found.outcomesWithoutMessage > 0)
    terminal.note('hint: reconcile MAILBOX --repair puts messages back whose source is kept, or is on the server.');
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
