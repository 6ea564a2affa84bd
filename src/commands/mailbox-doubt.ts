/**
 * Whether anything vouches for the server of a mailbox, before a new password is sent there.
 *
 * Whoever can write to the database can point a mailbox at a server of theirs. While encryption is on, what vouches for the
 * server is the stored password: it opens for exactly this connection, and a command has given it. One that was written into
 * the table was bound to whatever stood beside it; one that cannot be opened is bound to nothing.
 */
import type { App } from '../compose/compose.ts';
import { isFailure } from '../errors.ts';
import type { Mailbox } from '../ingest/model.ts';

/** What a person is told and asked about the server. */
export type Doubt = {
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
export async function doubtOf({ passwords, vault }: App, mailbox: Mailbox): Promise<Doubt | null> {
  if (vault.view.problem !== null) throw vault.view.problem;
  try {
    const origin = await passwords.lend(mailbox, async (_password, from) => from);
    return origin === 'table' ? writtenIntoTable(mailbox) : null;
  } catch (error) {
    if (isFailure(error, 'password_bound_elsewhere')) return boundElsewhere(mailbox);
    const saysNothing = isFailure(error, 'password_damaged', 'key_unknown');
    const isKeyFile = isFailure(error, 'key_file_missing', 'key_file_refused', 'key_file_locked', 'disk_failed');
    if ((saysNothing || isKeyFile) && vault.view.switch.state === 'off') return null;
    if (saysNothing) return notOpened(mailbox);
    throw error;
  }
}

function boundElsewhere({ name }: Mailbox): Doubt {
  const changed = 'Host, port, TLS, certificate or user changed since the password was sealed';
  return {
    told: `${changed}, or somebody changed the row of mailbox ${name}.`,
    question: 'Is this your mail server, and was the change yours?',
    refusal: `mailbox ${name} does not point where its password was sealed for`,
    condition: 'if the change is yours',
  };
}

const yours = { question: 'Is this your mail server?', condition: 'if this is your mail server' };

function writtenIntoTable({ name }: Mailbox): Doubt {
  return {
    ...yours,
    told: `The stored password of mailbox ${name} was written into the table while encryption was on, not set by a command: who wrote it may have chosen the server, too.`,
    refusal: `the stored password of mailbox ${name} was written into the table, so nothing but its row tells where a new one may go`,
  };
}

function notOpened({ name }: Mailbox): Doubt {
  return {
    ...yours,
    told: `The stored password of mailbox ${name} cannot be opened here, so nothing tells where it was meant to go.`,
    refusal: `the stored password of mailbox ${name} cannot be opened here, so nothing tells where it was meant to go`,
  };
}
