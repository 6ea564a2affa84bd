/**
 * `mailbox pause`, `resume`, `remove` and `set-password`: each changes one mailbox.
 *
 * Before a new password is sent to a server, something must vouch for that server: write access to the database could
 * have pointed the row elsewhere, or swapped two names. While encryption is on, the settings seal does
 * (secret/settings-seal.ts): a command or the page confirmed name and connection. A stored password proves nothing.
 */

import type { App } from '../../compose/compose.ts';
import { unprovenOff } from '../../encryption/vault.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { serverText } from '../../ingest/settings-text.ts';
import type { VersionedMailbox } from '../../ingest/stores.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { revokeUnusedGrant } from '../oauth/revoke.ts';
import { isConfirmed, nothingChanged } from '../output.ts';
import { newPassword } from './add.ts';

type NameOptions = CommonOptions & { readonly name: string };

export type SetPasswordOptions = NameOptions & {
  readonly passwordStdin?: boolean;
  readonly acceptConnection?: boolean;
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
    await app.store.setMailboxState(mailbox.id, state);
    await context.terminal.line(`${verb} ${mailbox.name}`);
    return 0;
  });
}

/** Throws `refused`. */
function refuseGrant({ name, grant }: Mailbox): void {
  if (grant === null) return;
  throw new Failure('refused', `mailbox ${name} signs in with OAuth 2 and has no password`, {
    hint: `To give it a password instead: ${commandOrNotice(shellCommand('mailbox set --new-password', name))}`,
  });
}

/** A partly removed mailbox can only be removed. Throws `not_found`, `refused`. */
async function requireChangeable(app: App, name: string): Promise<Mailbox> {
  const mailbox = await app.store.mailboxByName(name);
  refusePartlyRemoved(mailbox);
  return mailbox;
}

/** Throws `refused`. */
export function refusePartlyRemoved({ name, state }: Mailbox): void {
  if (state !== 'removing') return;
  throw new Failure('refused', `the removal of mailbox ${name} was interrupted`, {
    hint: `Complete it with: ${commandOrNotice(shellCommand('mailbox remove', name))}`,
  });
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
 * Stores another password, sealed while encryption is on; the mailbox is due at once. The server that gets the password
 * is shown before it is asked for. Throws `not_found`, `password_missing`, `refused` for a server that nothing vouches
 * for, and the failures of sealing.
 */
export async function setMailboxPassword(options: SetPasswordOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const stored = await app.store.versionedMailbox(options.name);
    const { mailbox, settingsSeal } = stored;
    refusePartlyRemoved(mailbox);
    refuseGrant(mailbox);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    if (!(await isServerAccepted(app, stored, options, context))) return nothingChanged(context);
    using password = await newPassword(options, mailbox, context);
    const confirmed = {
      connection: true,
      action: app.confirmations.verify(mailbox, settingsSeal)?.action === 'valid',
    };
    await app.passwords.store(mailbox, password, confirmed, (prepared) =>
      app.store.setPassword(mailbox.id, prepared, app.actor),
    );
    const test = commandOrNotice(shellCommand('mailbox test', mailbox.name));
    await terminal.line(`set the password of ${mailbox.name}; try it with: ${test}`);
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

/** The statement and the question about a server that nothing vouches for. */
type ServerDoubt = {
  /** One sentence. */
  readonly statement: string;
  readonly question: string;
  /** Message of the failure without a terminal. */
  readonly refusal: string;
  /** "if …": when the new password may be sent there. */
  readonly condition: string;
};

/**
 * Returns null for a confirmed name and connection, and while encryption is off. Throws the failure of the switch or
 * the key file: no new password could be stored then.
 */
export async function serverDoubt(
  { passwords, vault, confirmations }: App,
  { mailbox, settingsSeal }: VersionedMailbox,
): Promise<ServerDoubt | null> {
  const refusal = vault.view.problem ?? unprovenOff(vault.view);
  if (refusal !== null) throw refusal;
  const verdicts = confirmations.verify(mailbox, settingsSeal);
  if (verdicts === null || verdicts.connection === 'valid') return null;
  if (mailbox.grant !== null)
    return verdicts.connection === 'missing' ? neverConfirmed(mailbox) : changedSince(mailbox);
  try {
    await passwords.withPassword(mailbox, async () => undefined);
  } catch (error) {
    if (isFailure(error, 'password_binding_mismatch')) return boundElsewhere(mailbox);
    if (isFailure(error, 'password_damaged', 'key_unknown')) return notOpened(mailbox);
    throw error;
  }
  if (verdicts.connection === 'missing') return neverConfirmed(mailbox);
  // The post-action is bound to the connection too, but not to the name.
  return verdicts.action === 'valid' ? renamed(mailbox) : changedSince(mailbox);
}

function boundElsewhere({ name }: Mailbox): ServerDoubt {
  const changed = 'Host, port, TLS, certificate or user changed since the password was sealed';
  return {
    statement: `${changed}, or the row of mailbox ${name} was tampered with.`,
    question: 'Is this your mail server, and was the change yours?',
    refusal: `mailbox ${name} does not point to the server that its password was sealed for`,
    condition: 'if the change is yours',
  };
}

const yours = { question: 'Is this your mail server?', condition: 'if this is your mail server' };

function neverConfirmed({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    statement: `The server of mailbox ${name} comes from the table: no command has confirmed it since encryption was enabled.`,
    refusal: `the server of mailbox ${name} comes from the table, and no command has confirmed it since encryption was enabled, which confirms none`,
  };
}

function renamed({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    statement: `The name ${name} was given to this server by another program: a command confirmed it under another name.`,
    refusal: `the name ${name} was given to this server by another program`,
  };
}

function changedSince({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    statement: `Name or server of mailbox ${name} were changed by another program since a command confirmed them.`,
    refusal: `name or server of mailbox ${name} were changed by another program`,
  };
}

function notOpened({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    statement: `The stored password of mailbox ${name} cannot be opened here, so nothing proves which server it was for.`,
    refusal: `the stored password of mailbox ${name} cannot be opened here, so nothing proves which server it was for`,
  };
}
