/**
 * Reconciliation: verifies that every message seen has one outcome and every outcome its message.
 *
 * `reconcile` counts over all mailboxes, with `--files` also the files that rows name. `reconcile NAME` compares the
 * folder on the server with the outcomes; `--repair` fetches skipped messages and restores lost ones.
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
import { asRunHere, hintText } from '../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../text/shell.ts';
import { countText } from '../text/units.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { forEachWithProgress } from './output.ts';

export type ReconcileOptions = CommonOptions & {
  readonly name?: string;
  readonly repair?: boolean;
  readonly files?: boolean;
};

type CountLabel = readonly [key: keyof ConsistencyCounts, json: string, noun: string, rest: string];

/** Counts that are 0 in a healthy database. */
const wrongCounts: readonly CountLabel[] = [
  ['outcomesWithoutMessage', 'outcomes_without_message', 'outcome', 'whose message is missing'],
  ['messagesWithoutOutcome', 'messages_without_outcome', 'message', 'that no outcome names'],
  ['ticketsWithoutMessage', 'tickets_without_message', 'ticket', 'without a message'],
  ['mergedTicketsWithMessage', 'merged_tickets_with_message', 'merged ticket', 'with messages left in it'],
  ['outcomesAboveCursor', 'outcomes_above_cursor', 'outcome', 'beyond the cursor of the mailbox'],
];

/** Counts of rows that remain after a helpdesk deletes tickets or messages. */
const leftoverCounts: readonly CountLabel[] = [
  ['deletedMessages', 'deleted', 'message', 'deleted with a ticket; still recognized when it comes again'],
  ['linksWithoutTicket', 'links_without_ticket', 'link', 'to a deleted ticket'],
  ['referencesWithoutMessage', 'references_without_message', 'reference', 'of a deleted message'],
];

/** Of each wrong count. */
const rowsShownMax = 20;

/** Exit code 1 when a count or a file is wrong. */
export async function reconcile(options: ReconcileOptions, context: Context): Promise<number> {
  if (options.name !== undefined) {
    if (options.files === true) throw new Failure('usage', '--files is for all mailboxes: name none');
    return await reconcileMailbox({ ...options, name: options.name }, context);
  }
  if (options.repair === true) throw new Failure('usage', '--repair is for one mailbox: name it');
  return await withApp(options, context, async (app, config) => {
    const numbers = await app.store.reconcile();
    const wrong = wrongCounts.map(([key]) => key).filter((key) => numbers[key] !== 0);
    const rows = wrong.length === 0 ? [] : await app.store.inconsistentRows(wrong, rowsShownMax);
    const files =
      options.files === true ? await checkStoredFiles(app, config.raw.retentionDays, rowsShownMax, context) : null;
    const ok = wrong.length === 0 && (files === null || areFilesIntact(files));
    await (options.json === true ? printReportJson : printReport)({ ok, numbers, rows, files }, context);
    return ok ? 0 : 1;
  });
}

type ConsistencyReport = {
  readonly ok: boolean;
  readonly numbers: ConsistencyCounts;
  /** Some of the wrong rows. */
  readonly rows: readonly InconsistentRow[];
  /** null: not checked. */
  readonly files: FilesReport | null;
};

async function printReportJson({ ok, numbers, rows, files }: ConsistencyReport, { terminal }: Context): Promise<void> {
  const more = files === null ? {} : filesJson(files);
  await terminal.json({ ok, ...countsJson(numbers), inconsistent: rows.map(rowJson), ...more });
}

async function printReport({ ok, numbers, rows, files }: ConsistencyReport, context: Context): Promise<void> {
  await printCounts(numbers, rows, context);
  if (files !== null) await printFiles(files, rowsShownMax, context);
  await context.terminal.line(ok ? 'all accounted for' : 'not all accounted for', ok ? 'green' : 'red');
}

async function printCounts(
  found: ConsistencyCounts,
  rows: readonly InconsistentRow[],
  { terminal }: Context,
): Promise<void> {
  const { outcomes, messages, links, references, mergedTickets } = found;
  await terminal.line(`${countText(outcomes, 'outcome')}, ${countText(messages, 'message')}`);
  await terminal.line(
    `${countText(links, 'link')} between tickets, ${countText(references, 'reference')}, ${countText(mergedTickets, 'merged ticket')}`,
  );
  for (const [key, , noun, rest] of leftoverCounts) {
    if (found[key] !== 0) await terminal.line(`left over: ${countText(found[key], noun)} ${rest}`);
  }
  for (const [key, , noun, rest] of wrongCounts) {
    if (found[key] === 0) continue;
    await terminal.line(`wrong: ${countText(found[key], noun)} ${rest}`, 'red');
    const shown = rows.filter(({ count }) => count === key);
    for (const row of shown) await terminal.line(`  ${rowText(row)}`);
    if (shown.length < found[key]) await terminal.line('  …');
  }
  if (found.outcomesWithoutMessage > 0)
    terminal.note(
      hintText('To restore messages from their stored sources or the server: ticketmaild reconcile NAME --repair'),
    );
}

function countsJson(found: ConsistencyCounts): Record<string, number> {
  const { outcomes, messages, links, references, mergedTickets: merged_tickets } = found;
  const rows = [...wrongCounts, ...leftoverCounts].map(([key, name]) => [name, found[key]]);
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
  return { count: wrongCounts.find(([key]) => key === count)?.[1], mailbox, uid, ticket, message };
}

type ReconcileMailboxOptions = CommonOptions & { readonly name: string; readonly repair?: boolean };
type RepairedMessage = { readonly uid: number; readonly result: Resolution };
type RestoreAttempt = { readonly lost: LostMessage; readonly result: RestoreResult | null };

const uidsShownMax = 50;

/**
 * `reconcile NAME`: read-only without `--repair`, also while the daemon runs. Exit code 1 when anything is still
 * missing.
 *
 * Throws `not_found`, the failures of a login, and `check_failed` when there is nothing to compare with.
 */
async function reconcileMailbox(options: ReconcileMailboxOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await app.vault.refresh();
    const mailbox = await app.store.mailboxByName(options.name);
    const report = await reconcileFolder(mailbox, app, context.signal);
    const repaired = options.repair === true ? await repair(app, mailbox, report, context) : [];
    // A quarantined message no longer counts as missing.
    const losses = await restoreLost(app, mailbox, options.repair === true, context);
    const left = report.missing.length - repaired.length + losses.filter(isStillLost).length;
    const found = { report, repaired, losses, left };
    if (options.json === true) await context.terminal.json(mailboxReportJson(mailbox, found));
    else await printMailboxReport(mailbox, found, context);
    return left === 0 ? 0 : 1;
  });
}

async function repair(
  app: App,
  mailbox: Mailbox,
  report: FolderReport,
  context: Context,
): Promise<readonly RepairedMessage[]> {
  const repaired: RepairedMessage[] = [];
  await forEachWithProgress(`repair ${mailbox.name}`, report.missing, context, async (message) => {
    repaired.push({ uid: message.uid, result: await repairOne(app, mailbox, report, message) });
  });
  return repaired;
}

/** Quarantines the message first: from then on it cannot be lost, wherever the repair ends. */
async function repairOne(app: App, mailbox: Mailbox, report: FolderReport, missed: ListedMessage): Promise<Resolution> {
  await app.store.quarantineMissed(mailbox.id, report.folderEpoch, missed);
  const [quarantined] = await app.store.quarantinedByUid(mailbox.id, report.folderEpoch, missed.uid);
  return quarantined === undefined ? { what: 'resolved' } : await app.resolve(quarantined, 'requeue');
}

/** Stored messages that are missing while their ticket exists. */
async function restoreLost(
  app: App,
  mailbox: Mailbox,
  isRepair: boolean,
  context: Context,
): Promise<readonly RestoreAttempt[]> {
  const lost = await Array.fromAsync(app.store.lostMessages(mailbox.id));
  const results: RestoreResult[] = [];
  if (isRepair)
    await forEachWithProgress(`restore ${mailbox.name}`, lost, context, async (one) => {
      results.push(await app.restore(one));
    });
  return lost.map((one, index) => ({ lost: one, result: results[index] ?? null }));
}

function isStillLost({ result }: RestoreAttempt): boolean {
  return result !== 'restored' && result !== 'resolved';
}

type MailboxReport = {
  readonly report: FolderReport;
  readonly repaired: readonly RepairedMessage[];
  readonly losses: readonly RestoreAttempt[];
  /** How many are still missing. */
  readonly left: number;
};

function mailboxReportJson(
  { name }: Mailbox,
  { report, repaired, losses, left }: MailboxReport,
): Record<string, unknown> {
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

async function printMailboxReport(
  mailbox: Mailbox,
  { report, repaired, losses, left }: MailboxReport,
  { terminal }: Context,
): Promise<void> {
  for (const [name, count, meaning] of folderReportRows(mailbox, report)) {
    if (count > 0 || name === 'on server' || name === 'missing')
      await terminal.line(`${name.padEnd(14)}${`${count}`.padStart(8)}  ${asRunHere(meaning)}`);
  }
  if (report.missing.length > 0) {
    const shown = report.missing
      .slice(0, uidsShownMax)
      .map(({ uid }) => uid)
      .join(', ');
    const more = report.missing.length > uidsShownMax ? ' …' : '';
    await terminal.line(`missing UIDs: ${shown}${more}`, 'red');
  }
  for (const { uid, result } of repaired) await terminal.line(`${uid}: ${resolutionText(result)}`);
  await printRestoreAttempts(losses, terminal);
  const repair = shellCommand('reconcile', mailbox.name, ' --repair');
  if (left > 0 && repaired.length === 0 && losses.every(({ result }) => result === null))
    terminal.note(hintText(`To fetch missing messages and restore lost ones: ${commandOrNotice(repair)}`));
  await terminal.line(left === 0 ? 'all accounted for' : 'not all accounted for', left === 0 ? 'green' : 'red');
}

async function printRestoreAttempts(losses: readonly RestoreAttempt[], terminal: Context['terminal']): Promise<void> {
  if (losses.length === 0) return;
  await terminal.line(`${'lost'.padEnd(14)}${`${losses.length}`.padStart(8)}  were stored and are missing`);
  for (const { lost, result } of losses.slice(0, uidsShownMax)) {
    const ticket = lost.ticket === null ? '' : ` of ticket ${lost.ticket}`;
    await terminal.line(`  UID ${lost.uid}${ticket}${result === null ? '' : `: ${restoreTexts[result]}`}`, 'red');
  }
  if (losses.length > uidsShownMax) await terminal.line('  …');
}

const restoreTexts: Readonly<Record<RestoreResult, string>> = {
  restored: 'restored',
  resolved: 'already restored, or its ticket was deleted',
  gone: 'its source is neither stored nor on the server',
  other: 'its source cannot be parsed, or is another message',
};

function folderReportRows(
  { postAction }: Mailbox,
  report: FolderReport,
): readonly (readonly [name: string, count: number, meaning: string])[] {
  const { gone } = report;
  const { removesMessage, verb } = postActionRules[postAction.kind];
  const mayBeInterrupted = removesMessage && report.actionsPending > 0;
  const removal = mayBeInterrupted ? `by another client, or ${verb} by an interrupted poll` : 'by another client';
  return [
    ['on server', report.onServer, `messages in the folder (UIDVALIDITY ${report.uidValidity})`],
    ['handled', report.handled, 'of them have an outcome'],
    ['quarantined', report.quarantined, 'wait in quarantine: ticketmaild quarantine list'],
    ['waiting', report.waiting, `are above the cursor (UID ${report.cursorUid}): the next poll fetches them`],
    ['before start', report.beforeStart, 'are older than the start of this mailbox'],
    ['missing', report.missing.length, 'were skipped: at or below the cursor, without an outcome'],
    ['gone', gone.postAction, `have an outcome and were ${verb} by the post-action`],
    ['gone', gone.vanished, 'vanished before they could be fetched'],
    ['gone', gone.quarantined, 'wait in quarantine and are no longer on the server'],
    ['gone', gone.otherwise, `have an outcome and were removed ${removal}`],
    ['pending', report.actionsPending, `are still to be ${verb} on the server`],
  ];
}

function resolutionText(result: Resolution): string {
  if (result.what === 'stored') return `${result.outcome}${result.ref === null ? '' : ` ${result.ref}`}`;
  if (result.what === 'quarantined') return `in quarantine (${result.reason})`;
  return result.what === 'gone' ? 'in quarantine; it is no longer on the server' : 'already fetched';
}

async function checkStoredFiles(
  app: App,
  retentionDays: number,
  listedMax: number,
  { terminal, nowMs }: Context,
): Promise<FilesReport> {
  const bar = await terminal.progress('files');
  try {
    return await checkFiles({ ...app, clock: { nowMs } }, { retentionDays, listedMax }, bar.update);
  } finally {
    bar.clear();
  }
}

function areFilesIntact({ damagedAttachmentFiles, damagedSegments }: FilesReport): boolean {
  return damagedAttachmentFiles === 0 && damagedSegments.length === 0;
}

function countsWithoutSource({ damagedSegments }: FilesReport): {
  readonly messages: number;
  readonly waiting: number;
} {
  const sum = (of: 'messages' | 'waiting') => damagedSegments.reduce((all, segment) => all + segment[of], 0);
  return { messages: sum('messages'), waiting: sum('waiting') };
}

function filesJson(report: FilesReport): Record<string, unknown> {
  const { messages, waiting } = countsWithoutSource(report);
  return {
    attachment_files: report.attachmentFiles,
    attachment_files_damaged: report.damagedAttachmentFiles,
    source_files: report.sourceFiles,
    source_files_damaged: report.damagedSegments.length,
    messages_without_source: messages,
    quarantined_without_source: waiting,
    damaged_files: [
      ...report.damagedBlobs.map(({ sha256, messageId }) => ({ attachment: sha256, message: messageId })),
      ...report.damagedSegments.map(({ segment }) => ({ source: segment })),
    ],
  };
}

async function printFiles(report: FilesReport, listedMax: number, { terminal }: Context): Promise<void> {
  const { attachmentFiles, damagedAttachmentFiles, damagedBlobs, sourceFiles, damagedSegments } = report;
  await terminal.line(`${countText(attachmentFiles, 'file')} of attachments, ${sourceFiles} of raw sources`);
  if (damagedAttachmentFiles > 0)
    await terminal.line(
      `wrong: ${countText(damagedAttachmentFiles, 'attachment')} whose file is missing or has another size`,
      'red',
    );
  for (const { sha256, messageId } of damagedBlobs) await terminal.line(`  attachment ${sha256}  message ${messageId}`);
  if (damagedBlobs.length < damagedAttachmentFiles) await terminal.line('  …');
  if (damagedSegments.length === 0) return;
  const { messages, waiting } = countsWithoutSource(report);
  const quarantined = waiting === 0 ? '' : `, ${waiting} of them in quarantine`;
  await terminal.line(`wrong: ${countText(messages, 'message')} whose raw source is missing${quarantined}`, 'red');
  for (const { segment } of damagedSegments.slice(0, listedMax)) await terminal.line(`  source ${segment}`);
  if (damagedSegments.length > listedMax) await terminal.line('  …');
}
