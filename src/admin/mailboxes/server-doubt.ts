/**
 * Authentication of the server before a new password is sent to it: settings seal, and binding of the stored password.
 *
 * Write access to the database could have pointed the row elsewhere, or swapped two names. While encryption is on, the
 * settings seal vouches for the server (secret/settings-seal.ts): a command or the page confirmed name and connection.
 * A stored password proves nothing.
 */
import type { Confirmations } from '../../encryption/confirmations.ts';
import type { PasswordAccess } from '../../encryption/passwords.ts';
import { unprovenOff, type Vault } from '../../encryption/vault.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import type { VersionedMailbox } from '../../ingest/stores.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';

export type ServerDoubtPorts = {
  readonly passwords: Pick<PasswordAccess, 'withPassword'>;
  readonly vault: Vault;
  readonly confirmations: Pick<Confirmations, 'verify'>;
};

/** The statement and the question about a server that nothing vouches for. */
export type ServerDoubt = {
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
  { passwords, vault, confirmations }: ServerDoubtPorts,
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

/** A partly removed mailbox can only be removed. Throws `refused`. */
export function refusePartlyRemoved({ name, state }: Mailbox): void {
  if (state !== 'removing') return;
  throw new Failure('refused', `the removal of mailbox ${name} was interrupted`, {
    hint: `Complete it with: ${commandOrNotice(shellCommand('mailbox remove', name))}`,
  });
}

/** Throws `refused`. */
export function refuseGrant({ name, grant }: Mailbox): void {
  if (grant === null) return;
  throw new Failure('refused', `mailbox ${name} signs in with OAuth 2 and has no password`, {
    hint: `To give it a password instead: ${commandOrNotice(shellCommand('mailbox set --new-password', name))}`,
  });
}
