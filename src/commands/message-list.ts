/**
 * `message list`: what became of every mail of a mailbox, one line for each UID that has an outcome.
 */
import type { App } from '../compose/compose.ts';
import type { OutcomeRow } from '../ingest/model.ts';
import { headOf } from '../ingest/quarantine/read.ts';
import type { MailHead } from '../mail/mime/structured-fields.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { outcomeJson, personText } from './ticket-view.ts';

const columns = [
  { title: 'UID', align: 'right' as const },
  { title: 'OUTCOME' },
  { title: 'REASON' },
  { title: 'TICKET' },
  { title: 'WHEN (UTC)' },
  { title: 'BYTES', align: 'right' as const },
];
/** Only `full` brings the messages along, and reads the headers of what is in quarantine. */
const fullColumns = [...columns, { title: 'FROM', shrinks: true }, { title: 'SUBJECT', shrinks: true }];

const rowsPerTable = 200;

type ListOptions = CommonOptions & { readonly mailbox: string; readonly full?: boolean };

/** Reads and prints page by page, so that memory stays flat. Throws `not_found`. */
export async function listMessages(options: ListOptions, context: Context): Promise<number> {
  const { terminal } = context;
  const full = options.full === true;
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const rows = withHeads(app, app.store.outcomes(mailbox.id, full), full);
    if (options.json === true) for await (const [row, head] of rows) await terminal.json(rowJson(row, head));
    else await printTables(rows, full ? fullColumns : columns, context);
    return 0;
  });
}

type Headed = readonly [row: OutcomeRow, head: MailHead | null];

async function* withHeads(app: App, rows: AsyncIterable<OutcomeRow>, full: boolean): AsyncGenerator<Headed> {
  for await (const row of rows)
    yield [row, full && row.held !== null ? await headOf(app.raw, { raw: row.held }) : null];
}

async function printTables(
  rows: AsyncIterable<Headed>,
  shown: typeof fullColumns,
  { terminal }: Context,
): Promise<void> {
  let page: (readonly string[])[] = [];
  let printed = false;
  for await (const [row, head] of rows) {
    page.push(cells(row, head).slice(0, shown.length));
    if (page.length < rowsPerTable) continue;
    await terminal.table(shown, page);
    page = [];
    printed = true;
  }
  if (page.length > 0) await terminal.table(shown, page);
  else if (!printed) terminal.note('No mail of this mailbox has an outcome yet.');
}

function rowJson(row: OutcomeRow, head: MailHead | null): Record<string, unknown> {
  if (head === null) return outcomeJson(row);
  return { ...outcomeJson(row), sender: head.address === '' ? null : head.address, subject: head.subject };
}

function cells(row: OutcomeRow, head: MailHead | null): readonly string[] {
  const { uid, outcome, ticket, atMs, sizeBytes, message } = row;
  const from = message === null ? (head?.from ?? '') : personText(message.from);
  const subject = message?.subject ?? head?.subject ?? '';
  return [`${uid}`, outcome, reasonText(row), ticket ?? '', shortTime(atMs), `${sizeBytes}`, from, subject];
}

function reasonText({ outcome, reason, resolvedAtMs }: OutcomeRow): string {
  return `${reason ?? ''}${outcome === 'quarantined' && resolvedAtMs !== null ? ' (discarded)' : ''}`;
}
