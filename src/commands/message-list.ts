/**
 * `message list`: what became of every mail of a mailbox, one line for each UID that has an outcome.
 */
import type { OutcomeRow } from '../ingest/rows.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { outcomeJson } from './ticket-view.ts';
import { shortTime } from './times.ts';

const columns = [
  { title: 'UID', align: 'right' as const },
  { title: 'OUTCOME' },
  { title: 'REASON' },
  { title: 'TICKET' },
  { title: 'WHEN (UTC)' },
  { title: 'BYTES', align: 'right' as const },
];
/** Only `full` brings the messages along. */
const fullColumns = [...columns, { title: 'SUBJECT', shrinks: true }];

const rowsPerTable = 200;

type ListOptions = CommonOptions & { readonly mailbox: string; readonly full?: boolean };

/** Reads and prints page by page, so that memory stays flat. Throws `not_found`. */
export async function listMessages(options: ListOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const rows = app.store.outcomes(mailbox.id, options.full === true);
    if (options.json === true) for await (const row of rows) await terminal.json(outcomeJson(row));
    else await printTables(rows, options.full === true ? fullColumns : columns, context);
    return 0;
  });
}

async function printTables(
  rows: AsyncIterable<OutcomeRow>,
  shown: typeof fullColumns,
  { terminal }: Context,
): Promise<void> {
  let page: (readonly string[])[] = [];
  let printed = false;
  for await (const row of rows) {
    page.push(cells(row));
    if (page.length < rowsPerTable) continue;
    await terminal.table(
      shown,
      page.map((row) => row.slice(0, shown.length)),
    );
    page = [];
    printed = true;
  }
  if (page.length > 0)
    await terminal.table(
      shown,
      page.map((row) => row.slice(0, shown.length)),
    );
  else if (!printed) terminal.note('No mail of this mailbox has an outcome yet.');
}

function cells({ uid, outcome, reason, ticket, atMs, sizeBytes, message }: OutcomeRow): readonly string[] {
  const subject = message === null ? '' : message.subject;
  return [`${uid}`, outcome, reason ?? '', ticket ?? '', shortTime(atMs), `${sizeBytes}`, subject];
}
