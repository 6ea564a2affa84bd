/**
 * `message list`: what became of every mail of a mailbox, one line for each UID that has an outcome.
 */

import type { App } from '../compose/compose.ts';
import { causeCode, Failure } from '../errors.ts';
import type { OutcomeRow } from '../ingest/model.ts';
import { headerOf } from '../ingest/quarantine/read.ts';
import type { ReprocessResult } from '../ingest/repair/reprocess.ts';
import type { HeaderSummary } from '../mail/fallback-message.ts';
import { commandOrNotice, shellCommandWithOption } from '../text/shell.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { readSince } from './logs.ts';
import { outcomeJson, personText } from './ticket.ts';

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

type Headed = readonly [row: OutcomeRow, head: HeaderSummary | null];

async function* withHeads(app: App, rows: AsyncIterable<OutcomeRow>, full: boolean): AsyncGenerator<Headed> {
  for await (const row of rows)
    yield [
      row,
      full && row.quarantinedSource !== null ? await headerOf(app.raw, { raw: row.quarantinedSource }) : null,
    ];
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

function rowJson(row: OutcomeRow, head: HeaderSummary | null): Record<string, unknown> {
  if (head === null) return outcomeJson(row);
  return { ...outcomeJson(row), sender: head.address === '' ? null : head.address, subject: head.subject };
}

function cells(row: OutcomeRow, head: HeaderSummary | null): readonly string[] {
  const { uid, outcome, ticket, atMs, sizeBytes, message } = row;
  const from = message === null ? (head?.from ?? '') : personText(message.from);
  const subject = message?.subject ?? head?.subject ?? '';
  return [`${uid}`, outcome, reasonText(row), ticket ?? '', shortTime(atMs), `${sizeBytes}`, from, subject];
}

function reasonText({ outcome, reason, resolvedAtMs }: OutcomeRow): string {
  return `${reason ?? ''}${outcome === 'quarantined' && resolvedAtMs !== null ? ' (discarded)' : ''}`;
}

/**
 * `message source`: saves the raw source of one mail as a file, that of a quarantined one above all.
 *
 * To a file only, readable by its owner and never over another one: the bytes are a stranger's, and a terminal would
 * obey them. Throws `not_found` where no source is kept, `source_missing` where its time has passed.
 */

export type SourceOptions = CommonOptions & {
  readonly mailbox: string;
  readonly uid: string;
  readonly output: string;
};

export async function saveSource(options: SourceOptions, context: Context): Promise<number> {
  const uid = /^[1-9]\d{0,9}$/.test(options.uid) ? Number(options.uid) : null;
  if (uid === null) throw new Failure('usage', '--uid must be a whole number of 1 or more');
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const [place] = await app.store.rawLocations(mailbox.id, [uid]);
    if (place === undefined) {
      const list = commandOrNotice(shellCommandWithOption('message list', 'mailbox', mailbox.name));
      const hint = `See which there are: ${list}`;
      throw new Failure('not_found', `no source of UID ${uid} in mailbox ${mailbox.name} is kept`, { hint });
    }
    const source = await app.raw.read(place);
    write(options.output, source, context);
    await context.terminal.line(`saved ${source.length} bytes as ${options.output}`);
    return 0;
  });
}

function write(path: string, source: Uint8Array, { writeNewFile }: Context): void {
  try {
    writeNewFile(path, source);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'EEXIST')
      throw new Failure('already_exists', `${path} exists already`, { hint: 'Name another file.' });
    throw new Failure('usage', `${path} cannot be written (${code})`, { hint: 'Name another file.', cause: error });
  }
}

/**
 * `message reprocess`: reads stored mails again from their raw sources, under the rules of today, and says what changed.
 *
 * One message by its id, or all of a mailbox. The exit code is 1 when any could not be read again; of one, that is
 * `source_missing`.
 */

export type ReprocessOptions = CommonOptions & {
  readonly id?: string;
  readonly mailbox?: string;
  readonly since?: string;
};

const idsShownMax = 20;

/** Throws `usage`, `not_found`, and for one message `source_missing`, `parse_failed`. */
export async function reprocessMessages(options: ReprocessOptions, context: Context): Promise<number> {
  const { id, mailbox, since } = options;
  if ((id === undefined) === (mailbox === undefined))
    throw new Failure('usage', 'give the id of one message, or --mailbox NAME', {
      hint: 'Ids are in message list --mailbox NAME --full --json, and in ticket show REF --json.',
    });
  const sinceMs = since === undefined ? null : readSince(since, context.nowMs());
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    if (id !== undefined) return await reprocessOne(app, id, options.json === true, context);
    return await reprocessMailbox(app, mailbox ?? '', sinceMs, { json: options.json === true, context });
  });
}

async function reprocessOne(app: App, id: string, json: boolean, { terminal }: Context): Promise<number> {
  const result = await app.reprocess(id);
  if (result.what === 'source_missing')
    throw new Failure('source_missing', `the source of message ${id} is not kept any more`);
  if (result.what === 'failed')
    throw new Failure('parse_failed', `message ${id} cannot be parsed now (${result.reason}); it stays as it is`, {
      hint: 'See [message] parse_timeout_s and parse_memory_mb.',
    });
  if (json) await terminal.json(resultJson(id, result));
  else await terminal.line(`${id}: ${sentence(result)}`);
  return 0;
}

async function reprocessMailbox(
  app: App,
  name: string,
  sinceMs: number | null,
  { json, context }: { readonly json: boolean; readonly context: Context },
): Promise<number> {
  const { terminal, signal } = context;
  const mailbox = await app.store.mailboxByName(name);
  const ids = await Array.fromAsync(app.store.messageIdsSince(mailbox.id, sinceMs));
  const counts = { changed: 0, unchanged: 0, source_missing: 0, failed: 0 };
  const without: string[] = [];
  const bar = await terminal.progress(`reprocess ${name}`);
  for (const [done, id] of ids.entries()) {
    if (signal.aborted) break;
    bar.update(done, ids.length);
    const result = await app.reprocess(id);
    const kind = kindOf(result);
    counts[kind] += 1;
    if (kind === 'source_missing' && without.length < idsShownMax) without.push(id);
    if (json) await terminal.json(resultJson(id, result));
    else if (kind === 'changed' || kind === 'failed') {
      bar.clear();
      await terminal.line(`${id}: ${sentence(result)}`);
    }
  }
  bar.clear();
  if (json) await terminal.json({ mailbox: name, messages: ids.length, ...counts });
  else await tellCounts(counts, without, context);
  return counts.failed === 0 && !signal.aborted ? 0 : 1;
}

type Counts = {
  readonly changed: number;
  readonly unchanged: number;
  readonly source_missing: number;
  readonly failed: number;
};

function kindOf(result: ReprocessResult): keyof Counts {
  if (result.what !== 'reprocessed') return result.what;
  return result.changed.length > 0 ? 'changed' : 'unchanged';
}

async function tellCounts(counts: Counts, without: readonly string[], { terminal }: Context): Promise<void> {
  const { changed, unchanged, source_missing: gone, failed } = counts;
  await terminal.line(
    `${changed} changed, ${unchanged} as they were, ${gone} without a source, ${failed} not to be parsed`,
  );
  const more = gone > without.length ? ', …' : '';
  if (gone > 0) await terminal.line(`without a source: ${without.join(', ')}${more}`);
}

function sentence(result: ReprocessResult): string {
  if (result.what === 'source_missing') return 'its source is not kept any more';
  if (result.what === 'failed') return `cannot be parsed now (${result.reason}); it stays as it is`;
  if (result.changed.length === 0) return 'nothing changed';
  const joined = { ticket_opened: 'opened', reply_added: 'joined' };
  const ticket = result.outcome === null ? '' : `; it has ${joined[result.outcome]} ticket ${result.ref ?? ''}`;
  return `changed: ${result.changed.join(', ')}${ticket}`;
}

function resultJson(id: string, result: ReprocessResult): Record<string, unknown> {
  if (result.what === 'source_missing') return { id, result: 'source_missing' };
  if (result.what === 'failed') return { id, result: 'failed', reason: result.reason };
  const { changed, outcome, ref } = result;
  return { id, result: kindOf(result), changed, outcome, ticket: ref };
}
