/**
 * Quarantine commands: list, show, export, requeue, release and discard quarantined messages.
 *
 * Senders and subjects are read from the stored sources and are untrusted: the terminal makes them printable.
 */

import { join } from 'node:path';
import type { Terminal } from '../adapters/terminal/terminal.ts';
import type { App } from '../compose/compose.ts';
import { Failure, isFailure } from '../errors.ts';
import { epochText, generationOf, uidValidityOf } from '../ingest/folder-epoch.ts';
import {
  countsText,
  createResolveTally,
  discardOne,
  isResolved,
  quarantineActions,
  type ResolveResult,
  resolveOne,
  resultHint,
  resultName,
  resultSentence,
} from '../ingest/quarantine/actions.ts';
import { headerOf, quarantinedById, quarantineId } from '../ingest/quarantine/read.ts';
import {
  describeReason,
  hasWholeSource,
  isQuarantineReason,
  otherReason,
  quarantineReasons,
} from '../ingest/quarantine/reasons.ts';
import type { ResolveMode } from '../ingest/quarantine/resolve.ts';
import type { QuarantinedMessage } from '../ingest/stores.ts';
import type { HeaderSummary } from '../mail/fallback-message.ts';
import { withQuarantineId } from '../text/hints.ts';
import { asRunHere, hintText } from '../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../text/shell.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { forEachWithProgress, isConfirmed, nothingChanged, printList, type TableColumn } from './output.ts';

type MessageWithHeader = readonly [message: QuarantinedMessage, head: HeaderSummary | null];

const columns: readonly TableColumn<MessageWithHeader>[] = [
  { title: 'ID', cell: ([message]) => quarantineId(message) },
  { title: 'REASON', cell: ([{ reason }]) => reason },
  { title: 'SINCE (UTC)', drops: 2, cell: ([{ quarantinedAtMs }]) => shortTime(quarantinedAtMs) },
  { title: 'BYTES', align: 'right', drops: 3, cell: ([{ sizeBytes }]) => `${sizeBytes}` },
  { title: 'FROM', shrinks: true, drops: 1, cell: ([, head]) => head?.from ?? '' },
  { title: 'SUBJECT', shrinks: true, main: true, cell: ([, head]) => head?.subject ?? '' },
];

/** Throws `not_found`. */
export async function listQuarantine(options: SelectionOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const reasons = new Set<string>();
    const rows = withHeaders(app, selectedMessages(app, options), reasons);
    const whenEmpty = options.discarded === true ? 'No message was discarded.' : 'The quarantine is empty.';
    await printList(rows, { columns, json: quarantinedJson, whenEmpty }, options, context);
    if (options.json === true) return 0;
    for (const reason of [...reasons].sort()) {
      const { meaning, hint } = describeReason(reason);
      context.terminal.note(`${reason}: ${meaning} ${asRunHere(hint)}`);
    }
    return 0;
  });
}

/** Adds the reason of each message to `reasons`, as far as this version knows it. */
async function* withHeaders(
  app: App,
  messages: AsyncIterable<QuarantinedMessage>,
  reasons: Set<string>,
): AsyncGenerator<MessageWithHeader> {
  for await (const message of messages) {
    reasons.add(isQuarantineReason(message.reason) ? message.reason : otherReason);
    yield [message, await headerOf(app.raw, message)];
  }
}

/** Throws `not_found`, `usage`. */
export async function showQuarantined(options: CommonOptions & { id: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const message = await quarantinedById(app.store, options.id);
    const head = await headerOf(app.raw, message);
    if (options.json === true) await terminal.json(quarantinedJson([message, head]));
    else for (const [name, text] of detailLines(message, head)) await terminal.prose(`${name.padEnd(10)}${text}`);
    return 0;
  });
}

function detailLines(
  message: QuarantinedMessage,
  head: HeaderSummary | null,
): readonly (readonly [name: string, text: string])[] {
  const { meaning, hint } = describeReason(message.reason);
  return [
    ['id', quarantineId(message)],
    ['reason', message.reason],
    ['meaning', meaning],
    ['hint', asRunHere(withQuarantineId(hint, quarantineId(message)))],
    ['since', shortTime(message.quarantinedAtMs)],
    ...(message.discardedAtMs === null ? [] : [['discarded', shortTime(message.discardedAtMs)] as const]),
    ['received', message.receivedAtMs === null ? 'unknown' : shortTime(message.receivedAtMs)],
    ['size', `${message.sizeBytes} bytes`],
    ['source', storedExtentTexts[storedExtent(message, head)]],
    ['from', head?.from ?? 'unknown'],
    ['subject', head?.subject ?? 'unknown'],
  ];
}

type StoredExtent = 'whole' | 'header' | 'none' | 'elsewhere';

const storedExtentTexts: Readonly<Record<StoredExtent, string>> = {
  whole: 'the whole message',
  header: 'its header alone; requeue fetches the message from the server again',
  none: 'nothing; requeue fetches the message from the server again',
  elsewhere: 'not on this machine, or refused; requeue fetches the message from the server again',
};

function storedExtent({ raw, reason }: QuarantinedMessage, head: HeaderSummary | null): StoredExtent {
  if (raw === null) return 'none';
  if (head === null) return 'elsewhere';
  return hasWholeSource(reason) ? 'whole' : 'header';
}

function quarantinedJson([message, head]: MessageWithHeader): Record<string, unknown> {
  const { meaning, hint } = describeReason(message.reason);
  return {
    id: quarantineId(message),
    mailbox: message.mailbox,
    uid_validity: uidValidityOf(message.folderEpoch),
    folder_generation: generationOf(message.folderEpoch),
    uid: message.uid,
    reason: message.reason,
    meaning,
    hint: withQuarantineId(hint, quarantineId(message)),
    since: isoTime(message.quarantinedAtMs),
    discarded_at: isoTime(message.discardedAtMs),
    received_at: isoTime(message.receivedAtMs),
    size_bytes: message.sizeBytes,
    source: storedExtent(message, head),
    from: head?.from ?? null,
    sender: head === null || head.address === '' ? null : head.address,
    subject: head?.subject ?? null,
  };
}

/** Id, reason and subject, as part of a question. */
async function quarantinedText(app: App, message: QuarantinedMessage): Promise<string> {
  const head = await headerOf(app.raw, message);
  const subject = head === null || head.subject === '' ? '' : ` ${JSON.stringify(head.subject)}`;
  return `${quarantineId(message)} (${message.reason})${subject}`;
}

export type ExportOptions = SelectionOptions & { readonly output?: string; readonly folder?: string };

/**
 * `quarantine export`: saves stored sources as new files, readable by their owner alone.
 *
 * Never to the terminal, which would interpret untrusted bytes. A file that holds the header alone ends in
 * `.header.eml`. Throws `usage`, `not_found`, `source_missing`, `source_refused`; of many, a missing or refused source
 * is noted and the exit code is 1.
 */
export async function exportQuarantined(options: ExportOptions, context: Context): Promise<number> {
  assertSelection(options);
  const { output, folder, ids = [] } = options;
  if ((output === undefined) === (folder === undefined))
    throw new Failure('usage', 'give --output FILE for one message, or --folder DIR for several');
  if (output !== undefined && ids.length !== 1) throw new Failure('usage', '--output is for one id: use --folder DIR');
  if (folder === undefined) return await exportAlone(options, output ?? '', context);
  await using files = await context.createFolder(folder);
  return await withApp(options, context, async (app) => {
    let failed = 0;
    for await (const message of selectedMessages(app, options)) {
      const name = fileName(message);
      const target = { path: join(folder, name), write: (source: Uint8Array) => files.write(name, source) };
      if (!(await exportOfMany(app, message, target, context))) failed += 1;
    }
    return failed === 0 ? 0 : 1;
  });
}

async function exportAlone(options: ExportOptions, path: string, context: Context): Promise<number> {
  await using file = await context.createFile(path);
  return await withApp(options, context, async (app) => {
    for await (const message of selectedMessages(app, options))
      await exportOne(app, message, { path, write: file.write }, context);
    return 0;
  });
}

type ExportTarget = { readonly path: string; readonly write: (source: Uint8Array) => Promise<void> };

/** False: its source is missing or refused, or its file exists; that is noted. */
async function exportOfMany(
  app: App,
  message: QuarantinedMessage,
  target: ExportTarget,
  context: Context,
): Promise<boolean> {
  try {
    await exportOne(app, message, target, context);
    return true;
  } catch (error) {
    if (!isFailure(error, 'source_missing', 'source_refused', 'already_exists')) throw error;
    context.terminal.note(`${quarantineId(message)}: ${error.message}`, 'red');
    return false;
  }
}

async function exportOne(
  app: App,
  message: QuarantinedMessage,
  { path, write }: ExportTarget,
  { terminal }: Context,
): Promise<void> {
  if (message.raw === null) {
    const command = commandOrNotice(shellCommand('quarantine requeue', quarantineId(message)));
    const hint = `To fetch it from the server again: ${command}`;
    throw new Failure('source_missing', `no source of ${quarantineId(message)} is stored`, { hint });
  }
  const source = await app.raw.read(message.raw);
  await write(source);
  const what = hasWholeSource(message.reason) ? '' : ' (the header alone)';
  await terminal.line(`saved ${quarantineId(message)} as ${path}, ${source.length} bytes${what}`);
}

/** Letters, digits and safe punctuation, whatever the mailbox is called. */
function fileName({ mailbox, folderEpoch, uid, reason }: QuarantinedMessage): string {
  const name = mailbox.replace(/[^\p{L}\p{N}@._-]/gu, '_').replace(/^\.+/u, '_');
  return `${name}-${epochText(folderEpoch)}-${uid}${hasWholeSource(reason) ? '' : '.header'}.eml`;
}

/** Ids, or filters that must all match. */
export type SelectionOptions = CommonOptions & {
  readonly ids?: readonly string[];
  readonly mailbox?: string;
  readonly reason?: string;
  readonly sender?: string;
  readonly all?: boolean;
  /** Selects discarded messages instead of waiting ones. */
  readonly discarded?: boolean;
};

/** Throws `usage` without a selection, or for ids together with filters. */
function assertSelection({ ids = [], mailbox, reason, sender, all }: SelectionOptions): void {
  const isFiltered = mailbox !== undefined || reason !== undefined || sender !== undefined;
  if (ids.length > 0 && (isFiltered || all === true))
    throw new Failure('usage', 'give ids, or --mailbox, --reason, --sender and --all, not both');
  if (ids.length > 0 || isFiltered || all === true) return;
  throw new Failure('usage', 'no message is selected', {
    hint: 'Give the ids that quarantine list shows, or --mailbox NAME, --reason CODE, --sender ADDRESS, --all.',
  });
}

/** Each once, in the order of the ids, else of mailbox and UID. Throws `not_found`, `usage`. */
async function* selectedMessages(app: App, options: SelectionOptions): AsyncGenerator<QuarantinedMessage> {
  const { ids = [], mailbox, reason, sender } = options;
  if (ids.length > 0) {
    for (const id of new Set(ids)) yield await quarantinedById(app.store, id);
    return;
  }
  const mailboxId = mailbox === undefined ? null : (await app.store.mailboxByName(mailbox)).id;
  const address = sender?.trim().toLowerCase();
  await assertReason(app, reason);
  const filter = { mailboxId, reason: reason ?? null, discarded: options.discarded === true };
  for await (const message of app.store.quarantinedMessages(filter)) {
    if (address === undefined || (await headerOf(app.raw, message))?.address === address) yield message;
  }
}

/** The table may hold reasons that only an older or a newer version knows. Throws `usage`. */
async function assertReason(app: App, reason: string | undefined): Promise<void> {
  if (reason === undefined || isQuarantineReason(reason)) return;
  const { reasons } = await app.store.quarantineCounts();
  if (reasons.some((one) => one.reason === otherReason)) return;
  throw new Failure('usage', `there is no reason ${JSON.stringify(reason)}`, {
    hint: `The reasons are ${quarantineReasons.join(', ')}.`,
  });
}

/** `verbose`: a line for each of many messages, instead of for failures alone. */
type ResolveOptions = SelectionOptions & { readonly verbose?: boolean };

/** Parses and decides again, under the present rules and limits. Throws `usage`, `not_found`. */
export function requeueQuarantined(options: ResolveOptions, context: Context): Promise<number> {
  return resolveSelected(options, context, 'requeue');
}

/** Stores messages despite their reasons. Throws `usage`, `not_found`. */
export function releaseQuarantined(options: ResolveOptions, context: Context): Promise<number> {
  return resolveSelected(options, context, 'release');
}

/**
 * Prints a line for one message, counts for many, and writes one audit entry. A failure of one message's server or
 * source does not stop the others; a failure of the database or the disk does. Exit code 1 while any of them still
 * waits.
 */
async function resolveSelected(options: ResolveOptions, context: Context, mode: ResolveMode): Promise<number> {
  assertSelection(options);
  const { terminal, signal } = context;
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await app.vault.refresh();
    const messages = await Array.fromAsync(selectedMessages(app, options));
    if (messages.length === 0) terminal.note('No quarantined message matches.');
    const waiting = await resolveEach(app, mode, messages, options, context);
    return waiting === 0 && !signal.aborted ? 0 : 1;
  });
}

/** Returns how many still wait. Writes the audit entry also after a failure. */
async function resolveEach(
  app: App,
  action: keyof typeof quarantineActions,
  messages: readonly QuarantinedMessage[],
  { json, verbose }: ResolveOptions,
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const printsEach = verbose === true || messages.length === 1;
  const tally = createResolveTally();
  const hints = new Set<string>();
  let waiting = 0;
  try {
    await forEachWithProgress(`quarantine ${action}`, messages, context, async (message, hideBar) => {
      const result =
        action === 'discard' ? await discardOne(app.store, message) : await resolveOne(app, message, action);
      hideBar();
      tally.add(message, resultName(result));
      if (!isResolved(result)) waiting += 1;
      if (json === true) await terminal.json(resultJson(message, result));
      else if (printsEach || result.what === 'failed' || result.what === 'gone')
        await printResolved(message, result, terminal);
      const hint = resultHint(result, messages.length === 1 ? message : null);
      if (hint !== null) hints.add(hint);
    });
    if (json === true) return waiting;
    for (const hint of hints) terminal.note(hintText(hint));
    if (messages.length > 1) await terminal.line(`${tally.messages()} messages: ${countsText(tally.results)}`);
    return waiting;
  } finally {
    await tally.write(app.store, app.actor, quarantineActions[action]);
  }
}

async function printResolved(message: QuarantinedMessage, result: ResolveResult, terminal: Terminal): Promise<void> {
  await terminal.line(`${quarantineId(message)}: ${resultSentence(result)}`, isResolved(result) ? 'green' : 'yellow');
}

function resultJson(message: QuarantinedMessage, result: ResolveResult): Record<string, unknown> {
  const id = quarantineId(message);
  if (result.what === 'failed') {
    const { code, message, hint } = result.failure;
    return { id, result: 'failed', error: { code, message, hint } };
  }
  if (result.what === 'quarantined') return { id, result: 'quarantined', reason: result.reason };
  if (result.what !== 'stored') return { id, result: result.what };
  const { outcome, ref, messageId, form } = result;
  const forms = { salvaged: form !== 'whole', header_only: form === 'header' };
  return { id, result: 'stored', outcome, ticket: ref, message: messageId, ...forms };
}

type DiscardOptions = SelectionOptions & { readonly yes?: boolean };

/** Asks for confirmation without `--yes`. Nothing is done on the server. Throws `usage`, `not_found`. */
export async function discardQuarantined(options: DiscardOptions, context: Context): Promise<number> {
  assertSelection(options);
  return await withApp(options, context, async (app) => {
    const messages = await Array.fromAsync(selectedMessages(app, options));
    if (messages.length === 0) context.terminal.note('No quarantined message matches.');
    else if (options.yes !== true && !(await isConfirmed(options, context, await discardQuestion(app, messages))))
      return nothingChanged(context);
    await resolveEach(app, 'discard', messages, options, context);
    return 0;
  });
}

async function discardQuestion(app: App, messages: readonly QuarantinedMessage[]): Promise<string> {
  const [first, ...more] = messages;
  const what =
    first !== undefined && more.length === 0
      ? await quarantinedText(app, first)
      : `${messages.length} quarantined messages`;
  return `Discard ${what}, without a ticket? Its source is removed after [raw] retention_days.`;
}
