/**
 * `mailbox add`: validates the options, obtains password or OAuth 2 grant, probes the mail server, stores the mailbox.
 *
 * A failed probe stores nothing. The probe is read-only; with `--since now` it provides the first cursor. While
 * encryption is on, the password is stored sealed or not at all, and the settings are confirmed.
 */

import {
  newMailbox,
  refuseTakenName,
  sharedFolderNote,
  storeWithGrant,
  storeWithPassword,
} from '../../admin/mailboxes/addition.ts';
import { type SelectedGrant, selectGrant } from '../../admin/mailboxes/grants.ts';
import { type MailboxOptions, type NewMailbox, readMailboxOptions } from '../../admin/mailboxes/options.ts';
import { postActionText } from '../../admin/mailboxes/post-actions.ts';
import type { App } from '../../compose/compose.ts';
import type { Mailbox } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { isoTime } from '../../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from '../context.ts';
import { printResult } from '../output.ts';
import { noteProbe, probedText, probeMailbox } from './probe.ts';
import { noteWarning, type ReadableWarning, readableWarning, warningTexts } from './readable-warning.ts';
import { checkSignInOptions, type SignInOptions, useGrant } from './sign-in.ts';
import { locationText } from './view.ts';

export type AddOptions = CommonOptions &
  MailboxOptions &
  Omit<SignInOptions, 'newPassword'> & {
    /** False for `--no-probe`. */
    readonly probe: boolean;
  };

const loginHint = 'Nothing was stored: check --user and the password, then add it again.';

/** Throws `usage`, `already_exists`, `password_missing`, `oauth_*`, and the failures of a probe and of sealing. */
export async function addMailbox(options: AddOptions, context: Context): Promise<number> {
  checkSignInOptions(options);
  const mailbox = readMailboxOptions(options, { readFile: context.readFile, nowMs: context.nowMs() });
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await refuseTakenName(app.store, mailbox.name, null);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    const given = { app, mailbox, options, context };
    const { added, report } = await (options.oauth === undefined ? addWithPassword(given) : addWithGrant(given));
    const warning = await readableWarning(app, added, options);
    if (options.oauth !== undefined || options.passwordStdin === true) noteWarning(context, warning);
    await printAdded({ options, context, mailbox, report }, added.id, warning);
    await warnOfSharedFolder(app, mailbox, report, context);
    return 0;
  });
}

/** Two mailboxes on one folder are allowed, but rarely intended. `report` null: it was not probed. */
export async function warnOfSharedFolder(
  app: App,
  mailbox: Pick<NewMailbox, 'name' | 'connection'>,
  report: ProbeReport | null,
  { terminal }: Context,
): Promise<void> {
  const note = await sharedFolderNote(app.store, mailbox, report?.folder.uidValidity ?? null);
  if (note !== null) terminal.note(`note: ${note}`);
}

/** Reads the password from the prompt, after a warning where it will be readable, or from standard input. */
export async function newPassword(
  app: App,
  options: CommonOptions & { readonly passwordStdin?: boolean },
  mailbox: Pick<NewMailbox, 'name' | 'connection'>,
  context: Context,
): Promise<SecretBytes> {
  const { terminal } = context;
  if (options.passwordStdin === true) return await terminal.readPassword();
  if (context.isAttended) noteWarning(context, await readableWarning(app, { ...mailbox, grant: null }, options));
  return await terminal.askPassword(`Password of ${JSON.stringify(mailbox.connection.user)}: `);
}

type Addition = {
  readonly app: App;
  readonly mailbox: NewMailbox;
  readonly options: AddOptions;
  readonly context: Context;
};

type Added = { readonly added: Mailbox; readonly report: ProbeReport | null };

async function addWithPassword({ app, mailbox, options, context }: Addition): Promise<Added> {
  using password = await newPassword(app, options, mailbox, context);
  const subject = { name: null, loginHint };
  const report = options.probe
    ? await probeMailbox(app, mailbox.connection, { kind: 'password', secret: password }, context, subject)
    : null;
  if (report !== null) noteProbe(mailbox.postAction, report, context);
  const added = newMailbox(mailbox, null);
  // As late as possible: the switch may have changed while the password was typed and probed.
  await storeWithPassword(app, { mailbox: added, settings: mailbox }, password, report);
  return { added, report };
}

async function addWithGrant({ app, mailbox, options, context }: Addition): Promise<Added> {
  const selected: SelectedGrant = await selectGrant(app, options, mailbox);
  const added = newMailbox(mailbox, selected.name);
  return await useGrant({ app, selected, mailbox: added, storedName: null, options, context }, async (report) => {
    if (report !== null) noteProbe(mailbox.postAction, report, context);
    await storeWithGrant(app, { mailbox: added, settings: mailbox }, report);
    return { added, report };
  });
}

async function printAdded(
  { options, context, mailbox, report }: Omit<Addition, 'app'> & Pick<Added, 'report'>,
  id: string,
  warning: ReadableWarning | null,
): Promise<void> {
  const { name, start } = mailbox;
  const fields = {
    ...{ id, name, probed: report !== null, messages: report?.folder.messageCount ?? null },
    since: start.from === 'all' ? 'all' : isoTime(start.atMs),
    on_success: postActionText(mailbox.postAction),
    warnings: warningTexts(warning),
  };
  const probed = report === null ? 'not probed' : probedText(report);
  await printResult(options, context, fields, `added ${name}: ${locationText(mailbox)} (${probed})`);
}
