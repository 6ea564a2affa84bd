/**
 * `mailbox pause`, `resume`, `remove` and `set-password`: each changes one mailbox.
 *
 * A new password is sent only to a server that something vouches for (admin/mailboxes/server-doubt.ts).
 */

import { replacePassword } from '../../admin/mailboxes/change.ts';
import { refuseGrant, refusePartlyRemoved, serverDoubt } from '../../admin/mailboxes/server-doubt.ts';
import type { App } from '../../compose/compose.ts';
import { Failure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { serverText } from '../../ingest/settings-text.ts';
import type { VersionedMailbox } from '../../ingest/stores.ts';
import { asRunHere } from '../../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { revokeUnusedGrant } from '../oauth/revoke.ts';
import { isConfirmed, nothingChanged } from '../output.ts';
import { newPassword } from './add.ts';
import { probedText, probeMailbox } from './probe.ts';
import { noteWarning, readableWarning } from './readable-warning.ts';

const refusedHint = 'Nothing was changed: check the password. To store it without a login: --no-probe.';

type NameOptions = CommonOptions & { readonly name: string };

export type SetPasswordOptions = NameOptions & {
  readonly passwordStdin?: boolean;
  readonly acceptConnection?: boolean;
  /** False for `--no-probe`. */
  readonly probe: boolean;
};

/** The running daemon stops polling it after the poll in progress. Throws `not_found`. */
export function pauseMailbox(options: NameOptions, context: Context): Promise<number> {
  return setMailboxState(options, context, 'paused', 'paused');
}

/** The mailbox is due at once. Throws `not_found`. */
export function resumeMailbox(options: NameOptions, context: Context): Promise<number> {
  return setMailboxState(options, context, 'active', 'resumed');
}

async function setMailboxState(
  options: NameOptions,
  context: Context,
  state: 'active' | 'paused',
  verb: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await requireChangeable(app, options.name);
    await app.store.setMailboxState(mailbox.id, state, app.actor);
    await context.terminal.line(`${verb} ${mailbox.name}`);
    return 0;
  });
}

/** A partly removed mailbox can only be removed. Throws `not_found`, `refused`. */
async function requireChangeable(app: App, name: string): Promise<Mailbox> {
  const mailbox = await app.store.mailboxByName(name);
  refusePartlyRemoved(mailbox);
  return mailbox;
}

/** Also finds a mailbox whose row is invalid, so that it can be removed. Throws `not_found`. */
async function anyMailbox(app: App, name: string): Promise<Mailbox> {
  const mailbox = (await app.store.listMailboxes()).find((one) => one.name === name);
  return mailbox ?? (await app.store.mailboxByName(name));
}

/**
 * Asks for confirmation without `--yes`. Tickets and messages stay. A person's grant that no other mailbox uses is
 * revoked. Throws `not_found`, `usage`.
 */
export async function removeMailbox(options: NameOptions & { yes?: boolean }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailbox = await anyMailbox(app, options.name);
    const signIn = mailbox.grant === null ? 'password and cursor' : 'cursor';
    const question = `Remove ${mailbox.name} with its ${signIn} (its tickets stay)?`;
    const sure = await isConfirmed(options, context, question);
    if (sure) await app.store.removeMailbox(mailbox.id, app.actor);
    await terminal.line(sure ? `removed ${mailbox.name}` : `kept ${mailbox.name}`);
    if (sure && mailbox.grant !== null) await revokeUnusedGrant(app, mailbox.grant, context);
    return sure ? 0 : 1;
  });
}

/**
 * Stores another password, sealed while encryption is on, once a login with it succeeded; the mailbox is due at once.
 * The server that gets the password is shown before it is asked for. Throws `not_found`, `password_missing`, `refused`
 * for a server that nothing vouches for, and the failures of a probe and of sealing.
 */
export async function setMailboxPassword(options: SetPasswordOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const stored = await app.store.versionedMailbox(options.name);
    const { mailbox } = stored;
    refusePartlyRemoved(mailbox);
    refuseGrant(mailbox);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    if (!(await isServerAccepted(app, stored, options, context))) return nothingChanged(context);
    using password = await newPassword(app, options, mailbox, context);
    const report = options.probe
      ? await probeMailbox(app, mailbox.connection, { kind: 'password', secret: password }, context, {
          ...{ name: mailbox.name, loginHint: refusedHint },
        })
      : null;
    await replacePassword(app, stored, password);
    if (options.passwordStdin === true) noteWarning(context, await readableWarning(app, mailbox, options));
    const test = commandOrNotice(shellCommand('mailbox test', mailbox.name));
    const tried = report === null ? `; try it with: ${asRunHere(test)}` : ` (${probedText(report)})`;
    await terminal.line(`set the password of ${mailbox.name}${tried}`);
    return 0;
  });
}

/** Shows the server, and asks for confirmation if nothing vouches for it. Throws `refused` without a terminal. */
async function isServerAccepted(
  app: App,
  stored: VersionedMailbox,
  options: SetPasswordOptions,
  context: Context,
): Promise<boolean> {
  const { terminal } = context;
  const { mailbox } = stored;
  const doubt = await serverDoubt(app, stored);
  const target = `for ${serverText(mailbox.connection)}`;
  if (doubt === null) {
    terminal.note(target);
    return true;
  }
  terminal.note(doubt.statement, 'yellow');
  terminal.note('The new password will be sent to this server:', 'yellow');
  terminal.note(target, 'bold');
  if (options.acceptConnection === true) return true;
  const show = commandOrNotice(shellCommand('mailbox show', mailbox.name));
  const hint = `Check the server: ${show}. Then, ${doubt.condition}, add --accept-connection.`;
  if (options.passwordStdin === true || !context.isAttended) throw new Failure('refused', doubt.refusal, { hint });
  return await terminal.confirm(doubt.question, hint);
}
