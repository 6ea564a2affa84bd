/**
 * `reconcile`: counts whether every message seen has one outcome and every outcome what it says. `reconcile MAILBOX`
 * compares the folder on the server with the outcomes, and with `--repair` fetches what was passed over. `reconcile --files`
 * also looks for the files that rows name.
 */

import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import { uidValidityOf } from '../ingest/folder-epoch.ts';
import { type ConsistencyCounts, type Mailbox, postActionRules } from '../ingest/model.ts';
import type { ListedMessage } from '../ingest/ports.ts';
import type { Resolution } from '../ingest/quarantine/resolve.ts';
import type { RestoreResult } from '../ingest/quarantine/source.ts';
import { checkFiles, type FilesReport, type FolderReport, reconcileFolder } from '../ingest/repair/reconcile.ts';
import type { InconsistentRow, LostMessage } from '../ingest/stores.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';

export type ReconcileOptions = CommonOptions & {
  readonly name?: string;
  readonly repair?: boolean;
  readonly files?: boolean;
};

type Row = readonly [key: keyof ConsistencyCounts, json: string, meaning: string];

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
  [
    'deletedMessages',
    'deleted',
    'mails whose ticket and message somebody deleted; they are known when they come again',
  ],
  ['linksWithoutTicket', 'links_without_ticket', 'links to tickets that somebody deleted'],
  ['referencesWithoutMessage', 'references_without_message', 'references of messages that somebody deleted'],
];

/** Of each number that is wrong. */
const rowsShownMax = 20;

/** Exit code 1 when a number is wrong, or a file. */
export async function reconcile(options: ReconcileOptions, context: Context): Promise<number> {
  if (options.name !== undefined) {
    if (options.files === true) throw new Failure('usage', '--files is for all mailboxes: name none');
    return await reconcileMailbox({ ...options, name: options.name }, context);
  }
  if (options.repair === true) throw new Failure('usage', '--repair is for one mailbox: name it');
  return await withApp(options, context, async (app, config) => {
    const numbers = await app.store.reconcile();
    const wrong = wrongs.map(([key]) => key).filter((key) => numbers[key] !== 0);
    const rows = wrong.length === 0 ? [] : await app.store.inconsistentRows(wrong, rowsShownMax);
    const files = options.files === true ? await filesOf(app, config.raw.retentionDays, rowsShownMax, context) : null;
    const ok = wrong.length === 0 && (files === null || areThere(files));
    await (options.json === true ? tellJson : tell)({ ok, numbers, rows, files }, context);
    return ok ? 0 : 1;
  });
}

type Found = {
  readonly ok: boolean;
  readonly numbers: ConsistencyCounts;
  /** Some of those that are wrong. */
  readonly rows: readonly InconsistentRow[];
  /** null: they were not looked for. */
  readonly files: FilesReport | null;
};

async function tellJson({ ok, numbers, rows, files }: Found, { terminal }: Context): Promise<void> {
  const more = files === null ? {} : filesJson(files);
  await terminal.json({ ok, ...numbersJson(numbers), inconsistent: rows.map(rowJson), ...more });
}

async function tell({ ok, numbers, rows, files }: Found, context: Context): Promise<void> {
  await tellNumbers(numbers, rows, context);
  if (files !== null) await tellFiles(files, rowsShownMax, context);
  await context.terminal.line(ok ? 'all accounted for' : 'not all accounted for', ok ? 'green' : 'red');
}

async function tellNumbers(
  found: ConsistencyCounts,
  rows: readonly InconsistentRow[],
  { terminal }: Context,
): Promise<void> {
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

function numbersJson(found: ConsistencyCounts): Record<string, number> {
  const { outcomes, messages, links, references, mergedTickets: merged_tickets } = found;
  const rows = [...wrongs, ...leftovers].map(([key, name]) => [name, found[key]]);
  return { outcomes, messages, links, references, merged_tickets, ...Object.fromEntries(rows) };
}

function rowText({ mailbox, uid, ticket, message }: InconsistentRow): string {
  const parts = [
    ['mailbox', mailbox],
    ['uid', uid],
    ['ticket', ticket],
    ['message', message],
  ].filter(([, value]) => value !== null);
  return parts.map(([name, value]) => `${name} ${value}`).join('  ');
}

function rowJson({ count, mailbox, uid, ticket, message }: InconsistentRow): Record<string, unknown> {
  return { count: wrongs.find(([key]) => key === count)?.[1], mailbox, uid, ticket, message };
}

/**
 * `reconcile MAILBOX`: is there a mail on the server that was passed over, or one that was stored and lost its message?
 *
 * Looks only, and works while the daemon runs. `--repair` fetches what is missing and puts back what is lost. The exit code is 1
 * when anything is missing afterwards. Throws `not_found`, `check_failed` when there is nothing to compare with, and what a login throws.
 */

type MailboxOptions = CommonOptions & { readonly name: string; readonly repair?: boolean };
type Repaired = { readonly uid: number; readonly result: Resolution };
type Lost = { readonly lost: LostMessage; readonly result: RestoreResult | null };

const uidsShownMax = 50;

export async function reconcileMailbox(options: MailboxOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await app.vault.refresh();
    const mailbox = await app.store.mailboxByName(options.name);
    const report = await reconcileFolder(mailbox, app);
    const repaired = options.repair === true ? await repair(app, mailbox, report, context) : [];
    // What is in quarantine now is not passed over any more.
    const losses = await lossesOf(app, mailbox, options.repair === true, context);
    const left = report.missing.length - repaired.length + losses.filter(isLeft).length;
    const found = { report, repaired, losses, left };
    if (options.json === true) await context.terminal.json(reportJson(mailbox, found));
    else await reportMailbox(mailbox, found, context);
    return left === 0 ? 0 : 1;
  });
}

async function repair(
  app: App,
  mailbox: Mailbox,
  report: FolderReport,
  { terminal, signal }: Context,
): Promise<readonly Repaired[]> {
  const bar = await terminal.progress(`repair ${mailbox.name}`);
  const repaired: Repaired[] = [];
  for (const mail of report.missing) {
    if (signal.aborted) break;
    bar.update(repaired.length, report.missing.length);
    repaired.push({ uid: mail.uid, result: await repairOne(app, mailbox, report, mail) });
  }
  bar.clear();
  return repaired;
}

/** Into quarantine first: from there on it cannot be lost, wherever this ends. */
async function repairOne(app: App, mailbox: Mailbox, report: FolderReport, mail: ListedMessage): Promise<Resolution> {
  await app.store.quarantineMissed(mailbox.id, report.folderEpoch, mail);
  const [held] = await app.store.quarantinedByUid(mailbox.id, report.folderEpoch, mail.uid);
  return held === undefined ? { what: 'resolved' } : await app.resolve(held, 'requeue');
}

/** Stored mails whose message is gone while their ticket is there. */
async function lossesOf(
  app: App,
  mailbox: Mailbox,
  isRepair: boolean,
  { terminal, signal }: Context,
): Promise<readonly Lost[]> {
  const lost = await Array.fromAsync(app.store.lostMessages(mailbox.id));
  if (!isRepair) return lost.map((one) => ({ lost: one, result: null }));
  const bar = await terminal.progress(`restore ${mailbox.name}`);
  const losses: Lost[] = [];
  for (const one of lost) {
    bar.update(losses.length, lost.length);
    losses.push({ lost: one, result: signal.aborted ? null : await app.restore(one) });
  }
  bar.clear();
  return losses;
}

function isLeft({ result }: Lost): boolean {
  return result !== 'restored' && result !== 'resolved';
}

type MailboxFindings = {
  readonly report: FolderReport;
  readonly repaired: readonly Repaired[];
  readonly losses: readonly Lost[];
  /** How many are still wrong. */
  readonly left: number;
};

function reportJson({ name }: Mailbox, { report, repaired, losses, left }: MailboxFindings): Record<string, unknown> {
  return {
    mailbox: name,
    ok: left === 0,
    uid_validity: report.uidValidity,
    cursor_uid: report.cursorUid,
    on_server: report.onServer,
    handled: report.handled,
    quarantined: report.quarantined,
    waiting: report.waiting,
    before_start: report.beforeStart,
    missing: report.missing.length,
    missing_uids: report.missing.map(({ uid }) => uid),
    without_message: losses.length,
    without_message_uids: losses.map(({ lost }) => lost.uid),
    gone: {
      post_action: report.gone.postAction,
      vanished: report.gone.vanished,
      quarantined: report.gone.quarantined,
      other: report.gone.otherwise,
    },
    actions_pending: report.actionsPending,
    repaired: repaired.map(({ uid, result }) => ({ uid, ...resultJson(result) })),
    restored: losses.map(({ lost, result }) => ({ ...lostJson(lost), result })),
  };
}

function lostJson({ folderEpoch, uid, ticket, messageId }: LostMessage): Record<string, unknown> {
  return { uid_validity: uidValidityOf(folderEpoch), uid, ticket, message: messageId };
}

function resultJson(result: Resolution): Record<string, unknown> {
  if (result.what === 'stored') return { result: 'stored', outcome: result.outcome, ticket: result.ref };
  return result.what === 'quarantined' ? { result: 'quarantined', reason: result.reason } : { result: result.what };
}

async function reportMailbox(
  mailbox: Mailbox,
  { report, repaired, losses, left }: MailboxFindings,
  { terminal }: Context,
): Promise<void> {
  for (const [name, count, meaning] of lines(mailbox, report)) {
    if (count > 0 || name === 'on server' || name === 'missing')
      await terminal.line(`${name.padEnd(14)}${`${count}`.padStart(8)}  ${meaning}`);
  }
  if (report.missing.length > 0) {
    const shown = report.missing
      .slice(0, uidsShownMax)
      .map(({ uid }) => uid)
      .join(', ');
    const more = report.missing.length > uidsShownMax ? ' …' : '';
    await terminal.line(`missing UIDs: ${shown}${more}`, 'red');
  }
  for (const { uid, result } of repaired) await terminal.line(`${uid}: ${sentence(result)}`);
  await tellLosses(losses, terminal);
  if (left > 0 && repaired.length === 0 && losses.every(({ result }) => result === null))
    terminal.note('hint: reconcile --repair fetches what is missing, and puts lost messages back.');
  await terminal.line(left === 0 ? 'all accounted for' : 'not all accounted for', left === 0 ? 'green' : 'red');
}

async function tellLosses(losses: readonly Lost[], terminal: Context['terminal']): Promise<void> {
  if (losses.length === 0) return;
  await terminal.line(`${'lost'.padEnd(14)}${`${losses.length}`.padStart(8)}  were stored, and their message is gone`);
  for (const { lost, result } of losses.slice(0, uidsShownMax)) {
    const ticket = lost.ticket === null ? '' : ` of ticket ${lost.ticket}`;
    await terminal.line(`  UID ${lost.uid}${ticket}${result === null ? '' : `: ${restoredTexts[result]}`}`, 'red');
  }
  if (losses.length > uidsShownMax) await terminal.line('  …');
}

const restoredTexts: Readonly<Record<RestoreResult, string>> = {
  restored: 'put back',
  resolved: 'somebody else has put it back, or deleted its ticket',
  gone: 'its source is neither kept nor on the server any more',
  other: 'what is kept of it cannot be parsed, or is another mail',
};

function lines(
  { postAction }: Mailbox,
  report: FolderReport,
): readonly (readonly [name: string, count: number, meaning: string])[] {
  const { gone } = report;
  const { removesMessage, verb } = postActionRules[postAction.kind];
  const mayBeOurs = removesMessage && report.actionsPending > 0;
  const takenAway = mayBeOurs ? `by somebody else, or ${verb} by this program as it was cut off` : 'by somebody else';
  return [
    ['on server', report.onServer, `mails in the folder (UIDVALIDITY ${report.uidValidity})`],
    ['handled', report.handled, 'of them have an outcome'],
    ['quarantined', report.quarantined, 'wait in quarantine: quarantine list'],
    ['waiting', report.waiting, `are above the cursor (UID ${report.cursorUid}): the next visit fetches them`],
    ['before start', report.beforeStart, 'were there before this mailbox was to begin'],
    ['missing', report.missing.length, 'were passed over: at or below the cursor, without an outcome'],
    ['gone', gone.postAction, `have an outcome and were ${verb}, as this mailbox says`],
    ['gone', gone.vanished, 'vanished before they could be fetched'],
    ['gone', gone.quarantined, 'wait in quarantine and are not on the server any more'],
    ['gone', gone.otherwise, `have an outcome, and were taken away ${takenAway}`],
    ['pending', report.actionsPending, `are still to be ${verb} on the server`],
  ];
}

function sentence(result: Resolution): string {
  if (result.what === 'stored') return `${result.outcome}${result.ref === null ? '' : ` ${result.ref}`}`;
  if (result.what === 'quarantined') return `in quarantine (${result.reason})`;
  return result.what === 'gone' ? 'in quarantine; it is not on the server any more' : 'somebody else has fetched it';
}

/** What `reconcile --files` adds: whether the files that rows name are there, and how that is told. */

/** `listedMax`: how many of what is wrong are named one by one. */
export async function filesOf(
  app: App,
  keepDays: number,
  listedMax: number,
  { terminal, nowMs }: Context,
): Promise<FilesReport> {
  const bar = await terminal.progress('files');
  try {
    return await checkFiles({ ...app, clock: { nowMs } }, { retentionDays: keepDays, listedMax }, bar.update);
  } finally {
    bar.clear();
  }
}

export function areThere({ damagedAttachmentFiles, damagedSegments }: FilesReport): boolean {
  return damagedAttachmentFiles === 0 && damagedSegments.length === 0;
}

function mailsWithoutSource({ damagedSegments }: FilesReport): {
  readonly mails: number;
  readonly waiting: number;
} {
  const sum = (of: 'messages' | 'waiting') => damagedSegments.reduce((all, segment) => all + segment[of], 0);
  return { mails: sum('messages'), waiting: sum('waiting') };
}

export function filesJson(report: FilesReport): Record<string, unknown> {
  const { mails, waiting } = mailsWithoutSource(report);
  return {
    attachment_files: report.attachmentFiles,
    attachment_files_damaged: report.damagedAttachmentFiles,
    source_files: report.sourceFiles,
    source_files_damaged: report.damagedSegments.length,
    messages_without_source: mails,
    quarantined_without_source: waiting,
    damaged_files: [
      ...report.damagedBlobs.map(({ sha256, messageId }) => ({ attachment: sha256, message: messageId })),
      ...report.damagedSegments.map(({ segment }) => ({ source: segment })),
    ],
  };
}

export async function tellFiles(report: FilesReport, listedMax: number, { terminal }: Context): Promise<void> {
  const { attachmentFiles, damagedAttachmentFiles, damagedBlobs, sourceFiles, damagedSegments } = report;
  await terminal.line(`${attachmentFiles} files of attachments, ${sourceFiles} of raw sources`);
  if (damagedAttachmentFiles > 0)
    await terminal.line(
      `wrong: ${damagedAttachmentFiles} attachments whose file is missing, or not as long as it was`,
      'red',
    );
  for (const { sha256, messageId } of damagedBlobs) await terminal.line(`  attachment ${sha256}  message ${messageId}`);
  if (damagedBlobs.length < damagedAttachmentFiles) await terminal.line('  …');
  if (damagedSegments.length === 0) return;
  const { mails, waiting } = mailsWithoutSource(report);
  const quarantined = waiting === 0 ? '' : `, ${waiting} of them in quarantine`;
  await terminal.line(`wrong: ${mails} mails whose raw source is missing${quarantined}`, 'red');
  for (const { segment } of damagedSegments.slice(0, listedMax)) await terminal.line(`  source ${segment}`);
  if (damagedSegments.length > listedMax) await terminal.line('  …');
}
