/**
 * `reconcile MAILBOX`: is there a mail on the server that was passed over, or one that was stored and lost its message?
 *
 * Looks only, and works while the daemon runs. `--repair` fetches what is missing and puts back what is lost. The exit code is 1
 * when anything is missing afterwards. Throws `not_found`, `check_failed` when there is nothing to compare with, and what a login throws.
 */
import type { App } from '../compose/compose.ts';
import { uidValidityOf } from '../ingest/folder-epoch.ts';
import type { Mailbox } from '../ingest/model.ts';
import type { Listed } from '../ingest/ports.ts';
import type { Settled } from '../ingest/quarantine/resolve.ts';
import type { Restored } from '../ingest/quarantine/source.ts';
import { type FolderReport, reconcileFolder } from '../ingest/repair/reconcile.ts';
import type { LostMessage } from '../ingest/stores.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';

type MailboxOptions = CommonOptions & { readonly name: string; readonly repair?: boolean };
type Repaired = { readonly uid: number; readonly result: Settled };
type Lost = { readonly lost: LostMessage; readonly result: Restored | null };

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
async function repairOne(app: App, mailbox: Mailbox, report: FolderReport, mail: Listed): Promise<Settled> {
  await app.store.holdMissed(mailbox.id, report.storedAs, mail);
  const [held] = await app.store.heldMail(mailbox.id, report.storedAs, mail.uid);
  return held === undefined ? { what: 'resolved' } : await app.settle(held, 'retry');
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
    quarantined: report.held,
    waiting: report.waiting,
    before_start: report.beforeStart,
    missing: report.missing.length,
    missing_uids: report.missing.map(({ uid }) => uid),
    without_message: losses.length,
    without_message_uids: losses.map(({ lost }) => lost.uid),
    gone: {
      by_us: report.gone.byUs,
      vanished: report.gone.vanished,
      quarantined: report.gone.held,
      otherwise: report.gone.otherwise,
    },
    actions_pending: report.actionsPending,
    repaired: repaired.map(({ uid, result }) => ({ uid, ...resultJson(result) })),
    restored: losses.map(({ lost, result }) => ({ ...lostJson(lost), result })),
  };
}

function lostJson({ numbering, uid, ticket, messageId }: LostMessage): Record<string, unknown> {
  return { uid_validity: uidValidityOf(numbering), uid, ticket, message: messageId };
}

function resultJson(result: Settled): Record<string, unknown> {
  if (result.what === 'taken_in') return { result: 'taken_in', outcome: result.outcome, ticket: result.ref };
  return result.what === 'held' ? { result: 'held', reason: result.reason } : { result: result.what };
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

const restoredTexts: Readonly<Record<Restored, string>> = {
  restored: 'put back',
  resolved: 'somebody else has put it back, or deleted its ticket',
  gone: 'its source is neither kept nor on the server any more',
  other: 'what is kept of it cannot be parsed, or is another mail',
};

function lines(
  { after }: Mailbox,
  report: FolderReport,
): readonly (readonly [name: string, count: number, meaning: string])[] {
  const { gone } = report;
  const moved = after.kind === 'delete' ? 'deleted' : 'moved';
  const mayBeOurs = after.kind !== 'seen' && report.actionsPending > 0;
  const takenAway = mayBeOurs ? `by somebody else, or ${moved} by this program as it was cut off` : 'by somebody else';
  return [
    ['on server', report.onServer, `mails in the folder (UIDVALIDITY ${report.uidValidity})`],
    ['handled', report.handled, 'of them have an outcome'],
    ['quarantined', report.held, 'wait in quarantine: quarantine list'],
    ['waiting', report.waiting, `are above the cursor (UID ${report.cursorUid}): the next visit fetches them`],
    ['before start', report.beforeStart, 'were there before this mailbox was to begin'],
    ['missing', report.missing.length, 'were passed over: at or below the cursor, without an outcome'],
    ['gone', gone.byUs, `have an outcome and were ${moved}, as this mailbox says`],
    ['gone', gone.vanished, 'vanished before they could be fetched'],
    ['gone', gone.held, 'wait in quarantine and are not on the server any more'],
    ['gone', gone.otherwise, `have an outcome, and were taken away ${takenAway}`],
    ['pending', report.actionsPending, `are still to be ${after.kind === 'seen' ? 'marked' : moved} on the server`],
  ];
}

function sentence(result: Settled): string {
  if (result.what === 'taken_in') return `${result.outcome}${result.ref === null ? '' : ` ${result.ref}`}`;
  if (result.what === 'held') return `in quarantine (${result.reason})`;
  return result.what === 'gone' ? 'in quarantine; it is not on the server any more' : 'somebody else has fetched it';
}
