/**
 * Message commands: list outcomes, save a raw source, and reprocess stored messages.
 */

import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import type { OutcomeRow } from '../ingest/model.ts';
import { headerOf } from '../ingest/quarantine/read.ts';
import type { ReprocessResult } from '../ingest/repair/reprocess.ts';
import type { HeaderSummary } from '../mail/fallback-message.ts';
import { commandOrNotice, shellCommandWithOption } from '../text/shell.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { readSince } from './logs.ts';
import { forEachWithProgress, printList, printResult, type TableColumn } from './output.ts';
import { outcomeJson, personText } from './ticket/ticket.ts';

const columns: readonly TableColumn<OutcomeWithHeader>[] = [
  { title: 'UID', align: 'right', cell: ([{ uid }]) => `${uid}` },
  { title: 'OUTCOME', cell: ([{ outcome }]) => outcome },
  { title: 'REASON', shrinks: true, main: true, cell: ([row]) => reasonText(row) },
  { title: 'TICKET', cell: ([{ ticket }]) => ticket ?? '' },
  { title: 'WHEN (UTC)', drops: 1, cell: ([{ atMs }]) => shortTime(atMs) },
  { title: 'BYTES', align: 'right', drops: 2, cell: ([{ sizeBytes }]) => `${sizeBytes}` },
];
/** `full` also reads the stored messages, and the headers of quarantined ones. */
const fullColumns: readonly TableColumn<OutcomeWithHeader>[] = [
  ...columns,
  {
    title: 'FROM',
    shrinks: true,
    cell: ([{ message }, header]) => (message === null ? (header?.from ?? '') : personText(message.from)),
  },
  {
    title: 'SUBJECT',
    shrinks: true,
    main: true,
    cell: ([{ message }, header]) => message?.subject ?? header?.subject ?? '',
  },
];

type ListOptions = CommonOptions & { readonly mailbox: string; readonly full?: boolean };

/** Prints one row per outcome. Throws `not_found`. */
export async function listMessages(options: ListOptions, context: Context): Promise<number> {
  const full = options.full === true;
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const rows = withHeaders(app, app.store.outcomes(mailbox.id, full), full);
    const whenEmpty = 'No message of this mailbox has an outcome yet.';
    await printList(rows, { columns: full ? fullColumns : columns, json: rowJson, whenEmpty }, options, context);
    return 0;
  });
}

type OutcomeWithHeader = readonly [row: OutcomeRow, header: HeaderSummary | null];

async function* withHeaders(
  app: App,
  rows: AsyncIterable<OutcomeRow>,
  full: boolean,
): AsyncGenerator<OutcomeWithHeader> {
  for await (const row of rows)
    yield [
      row,
      full && row.quarantinedSource !== null ? await headerOf(app.raw, { raw: row.quarantinedSource }) : null,
    ];
}

function rowJson([row, header]: OutcomeWithHeader): Record<string, unknown> {
  if (header === null) return outcomeJson(row);
  return { ...outcomeJson(row), sender: header.address === '' ? null : header.address, subject: header.subject };
}

function reasonText({ outcome, reason, resolvedAtMs }: OutcomeRow): string {
  return `${reason ?? ''}${outcome === 'quarantined' && resolvedAtMs !== null ? ' (discarded)' : ''}`;
}

export type SourceOptions = CommonOptions & {
  readonly mailbox: string;
  readonly uid: string;
  readonly output: string;
};

/**
 * `message source`: saves the raw source of one message as a new file, readable by its owner alone.
 *
 * Never to the terminal, which would interpret untrusted bytes. Throws `usage`, `not_found`, `already_exists`,
 * `source_missing` for a source past its retention, and `source_refused` for a row that names anything else.
 */
export async function saveSource(options: SourceOptions, context: Context): Promise<number> {
  const uid = /^[1-9]\d{0,9}$/.test(options.uid) ? Number(options.uid) : null;
  if (uid === null) throw new Failure('usage', '--uid must be a whole number of 1 or more');
  await using output = await context.createFile(options.output);
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.mailbox);
    const [stored] = await app.store.storedSources(mailbox.id, [uid]);
    if (stored === undefined) {
      const list = commandOrNotice(shellCommandWithOption('message list', 'mailbox', mailbox.name));
      const hint = `List the UIDs: ${list}`;
      throw new Failure('not_found', `no source of UID ${uid} in mailbox ${mailbox.name} is stored`, { hint });
    }
    const source = await app.raw.read(stored);
    await output.write(source);
    await context.terminal.line(`saved ${source.length} bytes as ${options.output}`);
    return 0;
  });
}

export type ReprocessOptions = CommonOptions & {
  readonly id?: string;
  readonly mailbox?: string;
  readonly since?: string;
};

const idsShownMax = 20;

/**
 * `message reprocess`: parses one message, or all of a mailbox, again under the present rules, and prints the changes.
 *
 * Exit code 1 when any cannot be parsed, or its source is refused. Throws `usage`, `not_found`, and for one message
 * `source_missing`, `source_refused`, `parse_failed`.
 */
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
    throw new Failure('source_missing', `the source of message ${id} is no longer stored`);
  if (result.what === 'source_refused') throw result.refusal;
  if (result.what === 'failed')
    throw new Failure('parse_failed', `message ${id} cannot be parsed (${result.reason}); it is unchanged`, {
      hint: 'See [message] parse_timeout_s and parse_memory_mb.',
    });
  await printResult({ json }, { terminal }, resultJson(id, result), `${id}: ${reprocessText(result)}`);
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
  const counts = { changed: 0, unchanged: 0, source_missing: 0, source_refused: 0, failed: 0 };
  const sourceless: string[] = [];
  await forEachWithProgress(`reprocess ${name}`, ids, context, async (id, hideBar) => {
    const result = await app.reprocess(id);
    const kind = resultKind(result);
    counts[kind] += 1;
    if (kind === 'source_missing' && sourceless.length < idsShownMax) sourceless.push(id);
    if (json) await terminal.json(resultJson(id, result));
    else if (kind === 'changed' || kind === 'failed' || kind === 'source_refused') {
      hideBar();
      await terminal.line(`${id}: ${reprocessText(result)}`);
    }
  });
  if (json) await terminal.json({ mailbox: name, messages: ids.length, ...counts });
  else await printCounts(counts, sourceless, context);
  return counts.failed + counts.source_refused === 0 && !signal.aborted ? 0 : 1;
}

type ReprocessCounts = {
  readonly changed: number;
  readonly unchanged: number;
  readonly source_missing: number;
  readonly source_refused: number;
  readonly failed: number;
};

function resultKind(result: ReprocessResult): keyof ReprocessCounts {
  if (result.what !== 'reprocessed') return result.what;
  return result.changed.length > 0 ? 'changed' : 'unchanged';
}

async function printCounts(
  counts: ReprocessCounts,
  sourceless: readonly string[],
  { terminal }: Context,
): Promise<void> {
  const { changed, unchanged, source_missing: gone, source_refused: refused, failed } = counts;
  await terminal.line(
    `${changed} changed, ${unchanged} unchanged, ${gone} without a source, ${failed} failed to parse`,
  );
  if (refused > 0) await terminal.line(`${refused} with a refused source`);
  const more = gone > sourceless.length ? ', …' : '';
  if (gone > 0) await terminal.line(`without a source: ${sourceless.join(', ')}${more}`);
}

function reprocessText(result: ReprocessResult): string {
  if (result.what === 'source_missing') return 'its source is no longer stored';
  if (result.what === 'source_refused') return `${result.refusal.message}; unchanged`;
  if (result.what === 'failed') return `cannot be parsed (${result.reason}); unchanged`;
  if (result.changed.length === 0) return 'nothing changed';
  const joined = { ticket_opened: 'opened', reply_added: 'joined' };
  const ticket = result.outcome === null ? '' : `; it has ${joined[result.outcome]} ticket ${result.ref ?? ''}`;
  return `changed: ${result.changed.join(', ')}${ticket}`;
}

function resultJson(id: string, result: ReprocessResult): Record<string, unknown> {
  if (result.what === 'source_missing') return { id, result: 'source_missing' };
  if (result.what === 'source_refused') return { id, result: 'source_refused' };
  if (result.what === 'failed') return { id, result: 'failed', reason: result.reason };
  const { changed, outcome, ref } = result;
  return { id, result: resultKind(result), changed, outcome, ticket: ref };
}
