/**
 * `mailbox set` and `mailbox set-addresses`: change settings of a mailbox, and how it signs in.
 *
 * Another server, account or folder, and a new move or delete, are probed first; a failed probe changes nothing. The
 * stored password is opened for the server that it was sealed for, probed at the new one, and sealed for that. So a
 * change of the server is refused for a row that was tampered with (`password_binding_mismatch`). What was confirmed
 * before (settings-seal.ts) is so with the changes; what was not needs `mailbox confirm`. An OAuth 2 grant takes the
 * place of the password, which is erased in the same transaction, and a new password that of the grant.
 */

import { refuseTakenName } from '../../admin/mailboxes/addition.ts';
import {
  changedSettings,
  changeSettings,
  changeWithPassword,
  confirmedParts,
  isOtherServer,
  isSame,
  type MailboxChange,
  needsActionProbe,
  settingWords,
} from '../../admin/mailboxes/change.ts';
import { checkPresentGrant, type SelectedGrant, selectGrant } from '../../admin/mailboxes/grants.ts';
import { type MailboxChanges, readAddresses, readMailboxChanges } from '../../admin/mailboxes/options.ts';
import { refusePartlyRemoved, serverDoubt } from '../../admin/mailboxes/server-doubt.ts';
import type { App } from '../../compose/compose.ts';
import { Failure } from '../../errors.ts';
import { type Mailbox, postActionRules } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import { serverText } from '../../ingest/settings-text.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { newPassword, warnOfSharedFolder } from './add.ts';
import { noteProbe, probedText, probeMailbox, probeStored } from './probe.ts';
import { noteWarning, readableWarning, warningTexts } from './readable-warning.ts';
import { checkSignInOptions, noteUnusedGrant, probeWithGrant, type SignInOptions, useGrant } from './sign-in.ts';
import { locationText } from './view.ts';

export type SetOptions = CommonOptions &
  MailboxChanges &
  SignInOptions & {
    /** The present name; `name` is the new one. */
    readonly mailbox: string;
    /** False for `--no-probe`. */
    readonly probe: boolean;
  };

/**
 * Throws `usage`, `not_found`, `already_exists`, `refused`, `oauth_*`, and the failures of opening the password and of
 * a probe.
 */
export async function setMailbox(options: SetOptions, context: Context): Promise<number> {
  checkSignInOptions(options);
  const readFile = readAhead(options.caFile, context);
  return await withApp(options, context, async (app) => {
    const before = await app.store.versionedMailbox(options.mailbox);
    refusePartlyRemoved(before.mailbox);
    const sources = { readFile, nowMs: context.nowMs() };
    const settings = readMailboxChanges(options, before.mailbox, sources);
    const selected = await newSignIn(app, settings, before.mailbox, options);
    const after = { ...settings, grant: selected === 'as_before' ? settings.grant : (selected?.name ?? null) };
    const changed = changedSettings(before.mailbox, after);
    if (changed.length === 0) {
      refuseEmptyChange(options);
      await printChanged({ app, after, options, context }, changed, null);
      return 0;
    }
    if (after.name !== before.mailbox.name) await refuseTakenName(app.store, after.name, after.id);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    const confirmed = confirmedParts(app, before);
    const isSealing = app.confirmations.verify(before.mailbox, before.settingsSeal) !== null;
    const given = { app, before, after, confirmed, options, context };
    const report = await (after.grant === null ? applyChange(given) : applyWithGrant(given, selected));
    if (report !== null) noteProbe(after.postAction, report, context);
    await printChanged({ app, after, options, context }, changed, report);
    if (isSealing && !confirmed.action) noteUnconfirmed(after, context);
    if (after.grant !== before.mailbox.grant) await noteUnusedGrant(app, before.mailbox.grant, context);
    await warnOfSharedFolder(app, after, report, context);
    return 0;
  });
}

/** Root may read the file only before the configuration is loaded. A failure is thrown when its content is used. */
function readAhead(path: string | undefined, { readFile }: Context): () => Uint8Array {
  try {
    const bytes = path === undefined ? new Uint8Array(0) : readFile(path);
    return () => bytes;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

type PendingChange = MailboxChange & {
  readonly app: App;
  readonly options: SetOptions;
  readonly context: Context;
};

/** null: a password takes the place of the grant. */
type SignInChange = SelectedGrant | null | 'as_before';

async function newSignIn(app: App, after: Mailbox, before: Mailbox, options: SetOptions): Promise<SignInChange> {
  if (options.oauth === undefined) {
    const isPassword = options.passwordStdin === true || options.newPassword === true;
    return isPassword && before.grant !== null ? null : 'as_before';
  }
  const ofProvider = app.oauth.providers().find(({ name }) => name === options.oauth);
  const present = before.grant === null ? null : await app.store.grantByName(before.grant);
  // A mailbox that has a grant of this provider keeps it.
  const isKept = options.grant === undefined && ofProvider?.flow === 'person' && present?.provider === ofProvider.name;
  return await selectGrant(app, isKept ? { ...options, grant: present.name } : options, after);
}

/** Probes the changed mailbox with a token of its grant and stores it. Returns null without a probe. */
async function applyWithGrant(given: PendingChange, selected: SignInChange): Promise<ProbeReport | null> {
  const { app, before, after, options, context } = given;
  const isOther = before.mailbox.grant !== after.grant;
  if (!isOther && isSame(before.mailbox.connection, after.connection)) return await changeAction(given);
  if (selected !== null && selected !== 'as_before') {
    const storedName = before.mailbox.name;
    return await useGrant({ app, selected, mailbox: after, storedName, options, context }, async (report) => {
      await changeSettings(app, given);
      return report;
    });
  }
  await checkPresentGrant(app, after);
  const report = options.probe ? await probeWithGrant(app, after, context, before.mailbox.name) : null;
  await changeSettings(app, given);
  return report;
}

/** Probes the changed mailbox and stores it. Returns null without a probe. */
async function applyChange(given: PendingChange): Promise<ProbeReport | null> {
  const { app, before, after, options } = given;
  const isGiven = options.passwordStdin === true || options.newPassword === true;
  const [was, is] = [before.mailbox.connection, after.connection];
  const needsSealing = isOtherServer(was, is);
  if (!isGiven && !needsSealing && (isSame(was, is) || !options.probe)) return await changeAction(given);
  if (!isGiven)
    return await app.passwords.withPassword(before.mailbox, (password) => probeAndStore(given, password, false));
  await refuseDoubtfulServer(given);
  given.context.terminal.note(`for ${serverText(after.connection)}`);
  using password = await newPassword(app, options, after, given.context);
  return await probeAndStore(given, password, true);
}

/** Stores settings of the same folder, after a probe where the new post-action needs one. */
async function changeAction(given: PendingChange): Promise<ProbeReport | null> {
  const { app, before, after, options, context } = given;
  const isProbed = options.probe && needsActionProbe(before.mailbox, after);
  const report = isProbed ? await probeStored(app, before.mailbox, context) : null;
  await changeSettings(app, given);
  return report;
}

/** Another program set the row, or the folder, so that the post-action does not act yet. */
function noteUnconfirmed({ name, postAction }: Mailbox, { terminal }: Context): void {
  if (!postActionRules[postAction.kind].removesMessage) return;
  const command = commandOrNotice(shellCommand('mailbox confirm', name));
  terminal.advice(`note: ${postAction.kind} waits until you confirm the settings: ${command}`);
}

async function probeAndStore(given: PendingChange, password: SecretBytes, isNew: boolean): Promise<ProbeReport | null> {
  const { app, before, after, options, context } = given;
  const help = isNew ? 'Check user and password.' : 'If the password differs there, add --new-password.';
  const subject = { name: before.mailbox.name, loginHint: `Nothing was changed. ${help}` };
  const report = options.probe
    ? await probeMailbox(app, after.connection, { kind: 'password', secret: password }, context, subject)
    : null;
  // As late as possible: the switch may have changed during the probe.
  await changeWithPassword(app, given, password, isNew);
  return report;
}

/** A new password is not sent to a server that nothing vouches for. Throws `refused`. */
async function refuseDoubtfulServer({ app, before, options }: PendingChange): Promise<void> {
  const doubt = await serverDoubt(app, before);
  if (doubt === null) return;
  const show = commandOrNotice(shellCommand('mailbox show', options.mailbox));
  // A mailbox with a grant has no password that could be set again.
  const confirm = commandOrNotice(shellCommand('mailbox confirm', options.mailbox));
  const advice =
    before.mailbox.grant === null
      ? 'use mailbox set-password with --accept-connection.'
      : `confirm it and repeat: ${confirm}`;
  throw new Failure('refused', doubt.refusal, {
    hint: `Check the server: ${show}. Then, ${doubt.condition}, ${advice}`,
  });
}

/** Options with the present values are accepted; no option at all is a mistake. Throws `usage`. */
function refuseEmptyChange(options: SetOptions): void {
  const { mailbox, passwordStdin, newPassword: isNew, config: _, json: __, probe: ___, ...settings } = options;
  if (passwordStdin === true || isNew === true) {
    const hint = `For the password alone: ${commandOrNotice(shellCommand('mailbox set-password', mailbox))}`;
    throw new Failure('usage', `no other change of mailbox ${mailbox} is given`, { hint });
  }
  if (Object.keys(settings).length > 0) return;
  const hint = 'ticketmaild mailbox set --help lists what can be changed.';
  throw new Failure('usage', `no change of mailbox ${mailbox} is given`, { hint });
}

/** A readable secret is warned of where one was given; a prompt did so before it asked. */
async function printChanged(
  { app, after, options, context }: Pick<PendingChange, 'app' | 'after' | 'options' | 'context'>,
  changed: readonly string[],
  report: ProbeReport | null,
): Promise<void> {
  const { terminal } = context;
  const messages = report === null ? null : report.folder.messageCount;
  const warning = await readableWarning(app, after, options);
  if (options.passwordStdin === true || options.oauth !== undefined) noteWarning(context, warning);
  if (options.json === true) {
    const warnings = warningTexts(warning);
    await terminal.json({ id: after.id, name: after.name, changed, probed: report !== null, messages, warnings });
    return;
  }
  if (changed.length === 0) {
    await terminal.line(`nothing changed: ${after.name} has these settings already`);
    return;
  }
  const probed = report === null ? '' : ` (${probedText(report)})`;
  await terminal.line(`changed ${after.name}: ${changed.join(', ')}; now ${locationText(after)}${probed}`);
  if (changed.some((word) => folderSettings.includes(word))) terminal.note(startText(after));
}

/** Settings that make it another folder. */
const folderSettings: readonly string[] = [
  ...[settingWords.host, settingWords.port, settingWords.user, settingWords.folder],
];

function startText({ start }: Mailbox): string {
  const messages = start.from === 'all' ? 'all messages' : `messages from ${isoTime(start.atMs)} on`;
  return `starts with ${messages} there, without those that are stored already`;
}

/** Replaces the addresses; without any the user name counts, if it is an address. Throws `not_found`, `usage`. */
export async function setMailboxAddresses(
  options: CommonOptions & { readonly name: string; readonly addresses: readonly string[] },
  context: Context,
): Promise<number> {
  const addresses = readAddresses(options.addresses);
  return await withApp(options, context, async (app) => {
    const { id, name } = await app.store.mailboxByName(options.name);
    await app.store.setAddresses(id, addresses, app.actor);
    const now = (await app.store.mailboxById(id))?.addresses ?? [];
    await context.terminal.line(
      now.length === 0 ? `${name} has no address` : `${name} receives mail for ${now.join(', ')}`,
    );
    return 0;
  });
}
