/**
 * `quarantine list` and `quarantine show`: which mails wait in quarantine, why, and what helps.
 *
 * Sender and subject are read from what was kept, and are a stranger's: the terminal makes them printable.
 */

import { mkdirSync } from 'node:fs';
import type { App } from '../compose/compose.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { epochText, generationOf, uidValidityOf } from '../ingest/folder-epoch.ts';
import {
  countsText,
  createResolveTally,
  discardOne,
  isResolved,
  quarantineActions,
  type ResolveResult,
  type ResolveTally,
  resolveOne,
  resultHint,
  resultName,
  resultSentence,
} from '../ingest/quarantine/actions.ts';
import { headerOf, quarantinedById, quarantineId } from '../ingest/quarantine/read.ts';
import { describeReason, hasWholeSource, isQuarantineReason, quarantineReasons } from '../ingest/quarantine/reasons.ts';
import type { ResolveMode } from '../ingest/quarantine/resolve.ts';
import type { QuarantinedMessage } from '../ingest/stores.ts';
import type { HeaderSummary } from '../mail/fallback-message.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';

const columns = [
  { title: 'ID' },
  { title: 'REASON' },
  { title: 'SINCE (UTC)' },
  { title: 'BYTES', align: 'right' as const },
  { title: 'FROM', shrinks: true },
  { title: 'SUBJECT', shrinks: true },
];
const rowsPerTable = 200;

/** Page by page, so that memory stays flat. Throws `not_found`. */
export async function listQuarantine(options: SelectionOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const reasons = new Set<string>();
    let page: (readonly string[])[] = [];
    for await (const mail of chosenMails(app, options)) {
      const head = await headerOf(app.raw, mail);
      reasons.add(mail.reason);
      if (options.json === true) await terminal.json(heldJson(mail, head));
      else page.push(cells(mail, head));
      if (page.length < rowsPerTable) continue;
      await terminal.table(columns, page);
      page = [];
    }
    if (page.length > 0) await terminal.table(columns, page);
    if (options.json === true) return 0;
    if (reasons.size === 0)
      terminal.note(options.discarded === true ? 'Nothing was discarded.' : 'Nothing is in quarantine.');
    for (const reason of [...reasons].sort()) {
      const { meaning, hint } = describeReason(reason);
      terminal.note(`${reason}: ${meaning} ${hint}`);
    }
    return 0;
  });
}

/** Throws `not_found`, `usage`. */
export async function showHeldMail(options: CommonOptions & { id: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mail = await quarantinedById(app.store, options.id);
    const head = await headerOf(app.raw, mail);
    if (options.json === true) await terminal.json(heldJson(mail, head));
    else for (const [name, text] of lines(mail, head)) await terminal.line(`${name.padEnd(10)}${text}`);
    return 0;
  });
}

function lines(
  mail: QuarantinedMessage,
  head: HeaderSummary | null,
): readonly (readonly [name: string, text: string])[] {
  const { meaning, hint } = describeReason(mail.reason);
  return [
    ['id', quarantineId(mail)],
    ['reason', mail.reason],
    ['meaning', meaning],
    ['hint', hint],
    ['since', shortTime(mail.quarantinedAtMs)],
    ...(mail.discardedAtMs === null ? [] : [['discarded', shortTime(mail.discardedAtMs)] as const]),
    ['received', mail.receivedAtMs === null ? 'unknown' : shortTime(mail.receivedAtMs)],
    ['size', `${mail.sizeBytes} bytes`],
    ['source', keptTexts[keptOf(mail, head)]],
    ['from', head?.from ?? 'unknown'],
    ['subject', head?.subject ?? 'unknown'],
  ];
}

type Kept = 'whole' | 'header' | 'none' | 'elsewhere';

const keptTexts: Readonly<Record<Kept, string>> = {
  whole: 'the whole mail',
  header: 'its header alone; the mail is fetched from the server again',
  none: 'nothing; the mail is fetched from the server again',
  elsewhere: 'not on this machine; the mail is fetched from the server again',
};

function keptOf({ raw, reason }: QuarantinedMessage, head: HeaderSummary | null): Kept {
  if (raw === null) return 'none';
  if (head === null) return 'elsewhere';
  return hasWholeSource(reason) ? 'whole' : 'header';
}

function cells(mail: QuarantinedMessage, head: HeaderSummary | null): readonly string[] {
  const { reason, quarantinedAtMs: sinceMs, sizeBytes } = mail;
  return [quarantineId(mail), reason, shortTime(sinceMs), `${sizeBytes}`, head?.from ?? '', head?.subject ?? ''];
}

/** The field names are a promise to scripts. */
export function heldJson(mail: QuarantinedMessage, head: HeaderSummary | null): Record<string, unknown> {
  const { meaning, hint } = describeReason(mail.reason);
  return {
    id: quarantineId(mail),
    mailbox: mail.mailbox,
    uid_validity: uidValidityOf(mail.folderEpoch),
    folder_generation: generationOf(mail.folderEpoch),
    uid: mail.uid,
    reason: mail.reason,
    meaning,
    hint,
    since: isoTime(mail.quarantinedAtMs),
    discarded_at: isoTime(mail.discardedAtMs),
    received_at: isoTime(mail.receivedAtMs),
    size_bytes: mail.sizeBytes,
    source: keptOf(mail, head),
    from: head?.from ?? null,
    sender: head === null || head.address === '' ? null : head.address,
    subject: head?.subject ?? null,
  };
}

/** What a mail in quarantine is called in a sentence. */
export async function heldText(app: App, mail: QuarantinedMessage): Promise<string> {
  const head = await headerOf(app.raw, mail);
  const subject = head === null || head.subject === '' ? '' : ` ${JSON.stringify(head.subject)}`;
  return `${quarantineId(mail)} (${mail.reason})${subject}`;
}

/**
 * `quarantine export`: saves what was kept of mails in quarantine as files, for their owner alone, never over another one.
 *
 * To files only: the bytes are a stranger's, and a terminal would obey them. A file of which only the header was kept
 * says so in its name. Throws `not_found`, `source_missing` for one; of many, what is gone is told and the exit code is 1.
 */

export type ExportOptions = SelectionOptions & { readonly output?: string; readonly folder?: string };

export async function exportHeldMails(options: ExportOptions, context: Context): Promise<number> {
  assertChosen(options);
  const { output, folder, ids = [] } = options;
  if ((output === undefined) === (folder === undefined))
    throw new Failure('usage', 'give --output FILE for one mail, or --folder DIR for several');
  if (output !== undefined && ids.length !== 1) throw new Failure('usage', '--output is for one id: use --folder DIR');
  return await withApp(options, context, async (app) => {
    let failed = 0;
    if (folder !== undefined) makeFolder(folder);
    for await (const mail of chosenMails(app, options)) {
      const path = output ?? `${folder}/${fileName(mail)}`;
      if (!(await exportOne(app, mail, path, { context, isAlone: output !== undefined }))) failed += 1;
    }
    return failed === 0 ? 0 : 1;
  });
}

/** For its owner alone; one that is there stays as it is. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const hint = 'Name another place.';
    throw new Failure('usage', `${folder} cannot be made (${causeCode(error)})`, { hint, cause: error });
  }
}

async function exportOne(
  app: App,
  mail: QuarantinedMessage,
  path: string,
  { context, isAlone }: { readonly context: Context; readonly isAlone: boolean },
): Promise<boolean> {
  try {
    if (mail.raw === null) {
      const hint = 'quarantine requeue asks the server for it again.';
      throw new Failure('source_missing', `nothing of ${quarantineId(mail)} is kept`, { hint });
    }
    const source = await app.raw.read(mail.raw);
    writeFile(path, source, context);
    const what = hasWholeSource(mail.reason) ? '' : ' (the header alone)';
    await context.terminal.line(`saved ${quarantineId(mail)} as ${path}, ${source.length} bytes${what}`);
    return true;
  } catch (error) {
    if (isAlone || !isFailure(error, 'source_missing', 'already_exists')) throw error;
    context.terminal.note(`${quarantineId(mail)}: ${error.message}`, 'red');
    return false;
  }
}

/** Letters, digits and what harms nowhere: a mailbox may be called anything. */
function fileName({ mailbox, folderEpoch, uid, reason }: QuarantinedMessage): string {
  const name = mailbox.replace(/[^\p{L}\p{N}@._-]/gu, '_').replace(/^\.+/u, '_');
  return `${name}-${epochText(folderEpoch)}-${uid}${hasWholeSource(reason) ? '' : '.header'}.eml`;
}

function writeFile(path: string, source: Uint8Array, { writeNewFile }: Context): void {
  try {
    writeNewFile(path, source);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'EEXIST')
      throw new Failure('already_exists', `${path} exists already`, { hint: 'Name another file.' });
    throw new Failure('usage', `${path} cannot be written (${code})`, { hint: 'Name another place.', cause: error });
  }
}

/**
 * Which mails in quarantine a command is about: ids, or all of a mailbox, a reason, a sender.
 *
 * A command that changes something refuses to be called without any of them. Throws `usage`, `not_found`.
 */

export type SelectionOptions = CommonOptions & {
  readonly ids?: readonly string[];
  readonly mailbox?: string;
  readonly reason?: string;
  readonly sender?: string;
  readonly all?: boolean;
  /** Those that were discarded, instead of those that wait. */
  readonly discarded?: boolean;
};

/** Throws `usage` where nothing, or two things that exclude each other, were chosen. */
export function assertChosen({ ids = [], mailbox, reason, sender, all }: SelectionOptions): void {
  const isFiltered = mailbox !== undefined || reason !== undefined || sender !== undefined;
  if (ids.length > 0 && (isFiltered || all === true))
    throw new Failure('usage', 'give ids, or --mailbox, --reason, --sender and --all, not both');
  if (ids.length > 0 || isFiltered || all === true) return;
  throw new Failure('usage', 'nothing was chosen', {
    hint: 'Give the ids that quarantine list shows, or --mailbox NAME, --reason CODE, --sender ADDRESS, --all.',
  });
}

/** Those that are chosen, each once, in the order of the ids, else of mailbox and UID. */
export async function* chosenMails(app: App, options: SelectionOptions): AsyncGenerator<QuarantinedMessage> {
  const { ids = [], mailbox, reason, sender } = options;
  if (ids.length > 0) {
    for (const id of new Set(ids)) yield await quarantinedById(app.store, id);
    return;
  }
  const mailboxId = mailbox === undefined ? null : (await app.store.mailboxByName(mailbox)).id;
  const address = sender?.trim().toLowerCase();
  await assertReason(app, reason);
  const filter = { mailboxId, reason: reason ?? null, discarded: options.discarded === true };
  for await (const mail of app.store.quarantinedMessages(filter)) {
    if (address === undefined || (await headerOf(app.raw, mail))?.address === address) yield mail;
  }
}

/** A code that only an older or a newer worker knows is in the table. */
async function assertReason(app: App, reason: string | undefined): Promise<void> {
  if (reason === undefined || isQuarantineReason(reason)) return;
  const { reasons } = await app.store.quarantineCounts();
  if (reasons.some((one) => one.reason === reason)) return;
  throw new Failure('usage', `there is no reason ${JSON.stringify(reason)}`, {
    hint: `The reasons are ${quarantineReasons.join(', ')}.`,
  });
}

/**
 * `quarantine requeue`, `release` and `discard`: what waits in quarantine is taken in, or given up.
 *
 * A line for one mail, counts for many; the exit code is 1 when any of them still waits, and the audit has a row of it. What fails for one mail because of its server
 * or its source does not keep the others; trouble with the database or the disk ends the command.
 */

/** `verbose`: a line for each of many, instead of for failures alone. */
type SettleOptions = SelectionOptions & { readonly verbose?: boolean };

/** Under the rules and limits of now. Throws `usage`, `not_found`. */
export function retryHeldMails(options: SettleOptions, context: Context): Promise<number> {
  return settleAll(options, context, 'requeue');
}

/** As it is. Throws `usage`, `not_found`. */
export function releaseHeldMails(options: SettleOptions, context: Context): Promise<number> {
  return settleAll(options, context, 'release');
}

async function settleAll(options: SettleOptions, context: Context, way: ResolveMode): Promise<number> {
  assertChosen(options);
  const { terminal, signal } = context;
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await app.vault.refresh();
    const mails = await Array.fromAsync(chosenMails(app, options));
    if (mails.length === 0) terminal.note('Nothing is in quarantine there.');
    const each = eachOf(options, mails);
    const tally = createResolveTally();
    try {
      const waiting = await settleThose(app, mails, { way, each, tally, context });
      if (each !== 'json' && mails.length > 1)
        await terminal.line(`${tally.messages()} mails: ${countsText(tally.results)}`);
      return waiting === 0 && !signal.aborted ? 0 : 1;
    } finally {
      await tally.write(app.store, app.actor, quarantineActions[way]);
    }
  });
}

function eachOf({ json, verbose }: SettleOptions, mails: readonly QuarantinedMessage[]): Settlement['each'] {
  if (json === true) return 'json';
  return verbose === true || mails.length === 1 ? 'line' : 'failure';
}

type Settlement = {
  readonly way: ResolveMode;
  readonly each: 'json' | 'line' | 'failure';
  readonly tally: ResolveTally;
  readonly context: Context;
};

/** How many still wait. */
async function settleThose(
  app: App,
  mails: readonly QuarantinedMessage[],
  { way, each, tally, context: { terminal, signal } }: Settlement,
): Promise<number> {
  const bar = await terminal.progress(`quarantine ${way}`);
  const hints = new Set<string>();
  let waiting = 0;
  for (const [done, mail] of mails.entries()) {
    if (signal.aborted) break;
    bar.update(done, mails.length);
    const result = await resolveOne(app, mail, way);
    bar.clear();
    tally.add(mail, resultName(result));
    if (!isResolved(result)) waiting += 1;
    if (each === 'json') await terminal.json(resultJson(mail, result));
    else if (each === 'line' || result.what === 'failed' || result.what === 'gone')
      await terminal.line(`${quarantineId(mail)}: ${resultSentence(result)}`, isResolved(result) ? 'green' : 'yellow');
    const hint = resultHint(result);
    if (hint !== null) hints.add(hint);
  }
  bar.clear();
  if (each !== 'json') for (const hint of hints) terminal.note(`hint: ${hint}`);
  return waiting;
}

function resultJson(mail: QuarantinedMessage, result: ResolveResult): Record<string, unknown> {
  const id = quarantineId(mail);
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

/** Asks first, unless told `--yes`. Nothing is done on the server. Throws `usage`, `not_found`. */
export async function discardHeldMails(options: DiscardOptions, context: Context): Promise<number> {
  assertChosen(options);
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mails = await Array.fromAsync(chosenMails(app, options));
    if (mails.length === 0) terminal.note('Nothing is in quarantine there.');
    else if (!(await isWanted(app, mails, options, context))) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    const tally = createResolveTally();
    try {
      for (const mail of mails) await discardIt(app, mail, { tally, context, each: eachOf(options, mails) });
      if (options.json !== true && mails.length > 1)
        await terminal.line(`${mails.length} mails: ${countsText(tally.results)}`);
    } finally {
      await tally.write(app.store, app.actor, quarantineActions.discard);
    }
    return 0;
  });
}

async function discardIt(
  app: App,
  mail: QuarantinedMessage,
  { tally, context: { terminal }, each }: Omit<Settlement, 'way'>,
): Promise<void> {
  const { what: result } = await discardOne(app.store, mail);
  tally.add(mail, result);
  if (each === 'json') await terminal.json({ id: quarantineId(mail), result });
  else if (each === 'line' || result === 'resolved')
    await terminal.line(
      `${quarantineId(mail)}: ${result === 'discarded' ? result : 'somebody has resolved it already'}`,
    );
}

async function isWanted(
  app: App,
  mails: readonly QuarantinedMessage[],
  { yes }: DiscardOptions,
  { terminal }: Context,
): Promise<boolean> {
  if (yes === true) return true;
  const [first, ...more] = mails;
  const what =
    first !== undefined && more.length === 0 ? await heldText(app, first) : `${mails.length} mails in quarantine`;
  const question = `Discard ${what}, without a ticket? Its source is removed after [raw] retention_days.`;
  return await terminal.confirm(question, 'Say that you are sure with --yes.');
}
