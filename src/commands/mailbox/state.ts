/**
 * `mailbox pause`, `resume`, `remove` and `set-password`: each changes one mailbox, found by its name.
 */

import type { App } from '../../compose/compose.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { newPassword } from './add.ts';
import { serverText } from './view.ts';

type NameOptions = CommonOptions & { readonly name: string };

export type SetPasswordOptions = NameOptions & {
  readonly passwordStdin?: boolean;
  readonly acceptConnection?: boolean;
};

/** The running daemon leaves the mailbox alone from its next poll on. Throws `not_found`. */
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
  told: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await requireChangeable(app, options.name);
    await app.store.setMailboxState(mailbox.id, state);
    await context.terminal.line(`${told} ${mailbox.name}`);
    return 0;
  });
}

/** What is half removed already can only be removed. Throws `not_found`, `refused`. */
async function requireChangeable(app: App, name: string): Promise<Mailbox> {
  const mailbox = await app.store.mailboxByName(name);
  refuseHalfRemoved(mailbox);
  return mailbox;
}

/** Throws `refused`. */
export function refuseHalfRemoved({ name, state }: Mailbox): void {
  if (state !== 'removing') return;
  throw new Failure('refused', `the removal of mailbox ${name} was interrupted`, {
    hint: `End it with: ${commandOrNotice(shellCommand('mailbox remove', name))}`,
  });
}

/** Also one whose row is invalid, which can only be listed: to remove it is one way out. Throws `not_found`. */
async function anyMailbox(app: App, name: string): Promise<Mailbox> {
  const mailbox = (await app.store.listMailboxes()).find((one) => one.name === name);
  return mailbox ?? (await app.store.mailboxByName(name));
}

/** Asks first, unless told `--yes`. Tickets and messages stay. Throws `not_found`, `usage`. */
export async function removeMailbox(options: NameOptions & { yes?: boolean }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailbox = await anyMailbox(app, options.name);
    const question = `Remove ${mailbox.name} with its password and cursor (its tickets stay)?`;
    const sure = options.yes === true || (await terminal.confirm(question, 'Say that you are sure with --yes.'));
    if (sure) await app.store.removeMailbox(mailbox.id, app.actor);
    await terminal.line(sure ? `removed ${mailbox.name}` : `kept ${mailbox.name}`);
    return sure ? 0 : 1;
  });
}

/**
 * Stores another password, sealed while encryption is on; the mailbox is due at once. Where it will be sent is told
 * before it is asked for. Throws `not_found`, `password_missing`, `refused` when nothing vouches for the server and nobody
 * accepts it, and what keeps it from being sealed.
 */
export async function setMailboxPassword(options: SetPasswordOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailbox = await requireChangeable(app, options.name);
    // Whoever is asked for the passphrase of the key file is asked for that first.
    await app.vault.refresh();
    if (!(await isServerAccepted(app, mailbox, options, context))) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    using password = await newPassword(options, mailbox, context);
    await app.passwords.store(mailbox, password, 'command', (prepared) =>
      app.store.setPassword(mailbox.id, prepared, app.actor),
    );
    const test = commandOrNotice(shellCommand('mailbox test', mailbox.name));
    await terminal.line(`set the password of ${mailbox.name}; try it with: ${test}`);
    return 0;
  });
}

/**
 * A password that is set is sealed for the server that the row names, so where nothing vouches for that, a person looks at
 * it before the password is read. Throws `refused` where nobody can be asked.
 */
async function isServerAccepted(
  app: App,
  mailbox: Mailbox,
  options: SetPasswordOptions,
  context: Context,
): Promise<boolean> {
  const { terminal } = context;
  const doubt = await serverDoubt(app, mailbox);
  const place = `for ${serverText(mailbox)}`;
  if (doubt === null) {
    terminal.note(place);
    return true;
  }
  terminal.note(doubt.told, 'yellow');
  terminal.note('The new password will be sent to this server:', 'yellow');
  terminal.note(place, 'bold');
  if (options.acceptConnection === true) return true;
  const show = commandOrNotice(shellCommand('mailbox show', mailbox.name));
  const hint = `Look at it first; then, ${doubt.condition}, add --accept-connection. To look: ${show}`;
  if (options.passwordStdin === true || !context.isAttended) throw new Failure('refused', doubt.refusal, { hint });
  return await terminal.confirm(doubt.question, hint);
}

/**
 * Whether anything vouches for the server of a mailbox, before a new password is sent there.
 *
 * Whoever can write to the database can point a mailbox at a server of theirs. While encryption is on, what vouches for the
 * server is the stored password: it opens for exactly this connection, and a command has given it. One that was written into
 * the table was bound to whatever stood beside it; one that cannot be opened is bound to nothing.
 */

/** What a person is told and asked about the server. */
export type ServerDoubt = {
  /** One sentence. */
  readonly told: string;
  readonly question: string;
  /** Of a refusal, where nobody can be asked. */
  readonly refusal: string;
  /** "If …", then the new password may go there. */
  readonly condition: string;
};

/**
 * null: the server is the one that a command has given a password for, or encryption is off. Throws what is wrong with the
 * switch or the key file: no new password could be stored then.
 */
export async function serverDoubt({ passwords, vault }: App, mailbox: Mailbox): Promise<ServerDoubt | null> {
  if (vault.view.problem !== null) throw vault.view.problem;
  try {
    const origin = await passwords.withPassword(mailbox, async (_password, from) => from);
    return origin === 'table' ? writtenIntoTable(mailbox) : null;
  } catch (error) {
    if (isFailure(error, 'password_binding_mismatch')) return boundElsewhere(mailbox);
    const saysNothing = isFailure(error, 'password_damaged', 'key_unknown');
    const isKeyFile = isFailure(error, 'key_file_missing', 'key_file_refused', 'key_file_locked', 'disk_failed');
    if ((saysNothing || isKeyFile) && vault.view.switch.state === 'off') return null;
    if (saysNothing) return notOpened(mailbox);
    throw error;
  }
}

function boundElsewhere({ name }: Mailbox): ServerDoubt {
  const changed = 'Host, port, TLS, certificate or user changed since the password was sealed';
  return {
    told: `${changed}, or somebody changed the row of mailbox ${name}.`,
    question: 'Is this your mail server, and was the change yours?',
    refusal: `mailbox ${name} does not point where its password was sealed for`,
    condition: 'if the change is yours',
  };
}

const yours = { question: 'Is this your mail server?', condition: 'if this is your mail server' };

function writtenIntoTable({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    told: `The stored password of mailbox ${name} was written into the table while encryption was on, not set by a command: who wrote it may have chosen the server, too.`,
    refusal: `the stored password of mailbox ${name} was written into the table, so nothing but its row tells where a new one may go`,
  };
}

function notOpened({ name }: Mailbox): ServerDoubt {
  return {
    ...yours,
    told: `The stored password of mailbox ${name} cannot be opened here, so nothing tells where it was meant to go.`,
    refusal: `the stored password of mailbox ${name} cannot be opened here, so nothing tells where it was meant to go`,
  };
}
