/**
 * What is wrong with keys, sealed passwords and the switch, for the page: what happened, what still works, what to do.
 *
 * The same findings as those of `encryption status`, with its sentences. Names in them may come from the database, and so
 * from anybody who can write it: no command is made of one.
 */

import { commandLine } from '../../encryption/help.ts';
import type { EncryptionStatus } from '../../encryption/status.ts';
import { type Wrong, wrongsOf } from '../../encryption/status.ts';
import type { VaultView } from '../../encryption/vault.ts';
import type { Failure } from '../../errors.ts';
import { quoted } from '../../text/shell.ts';
import type { Trouble } from '../service.ts';

export type TroublePlace = {
  readonly keyFilePath: string;
  readonly configFile: string | null;
  /** This daemon, as in `Workers.me`, and its host. */
  readonly me: string;
  readonly host: string;
  /** The user whom this daemon runs as: name, or number where it has none. */
  readonly user: string;
};

type Answer = Pick<Trouble, 'title' | 'works' | 'todo' | 'command'>;

/** The worst first. */
export function troublesOf(status: EncryptionStatus, { state }: VaultView, place: TroublePlace): readonly Trouble[] {
  const failure = 'failure' in state ? state.failure : null;
  const told = wrongsOf(status).filter(({ about }) => {
    if (about === 'workers') return othersLackKey(status, place);
    // They wait for what the state of the key file tells already.
    return about !== 'waiting' || state.kind === 'open' || state.kind === 'closed';
  });
  return told.map((wrong) => {
    const { title, works, todo, command } = answerTo(wrong, status, failure, place);
    return { title, what: sentence(wrong.what), works, todo, command };
  });
}

/** What this worker lacks is told as the state of the key file here. */
function othersLackKey({ workers }: EncryptionStatus, { me }: TroublePlace): boolean {
  return workers.some(({ live, has_key: hasKey, worker }) => live && !hasKey && worker !== me);
}

function answerTo(wrong: Wrong, status: EncryptionStatus, failure: Failure | null, place: TroublePlace): Answer {
  if (wrong.about === 'switch') return switchAnswer(wrong, status, place);
  if (wrong.about === 'vault') return vaultAnswer(wrong, status, failure, place);
  if (wrong.about === 'waiting') return waitingAnswer(wrong, status, place);
  return wrong.about === 'plain' ? plainAnswer(wrong, place) : workersAnswer(wrong, status, place);
}

const allWorks = 'Everything else: mail is fetched as before.';

function switchAnswer({ hint }: Wrong, { problem }: EncryptionStatus, place: TroublePlace): Answer {
  const works = `${allWorks} The switch that was accepted last stays in force; it cannot be changed before this is put right.`;
  const command = commandLine('encryption accept-restored', place.configFile);
  if (problem?.code === 'switch_forged') return { title: 'Somebody changed the switch', works, todo: hint, command };
  if (problem?.code === 'switch_rolled_back') return { title: 'The switch went back', works, todo: hint, command };
  if (problem?.code !== 'key_unknown') return { title: 'The remembered switch is damaged', works, todo: hint, command };
  const waits = 'Mailboxes whose passwords this daemon can open. The mail of the others waits on its servers.';
  return { title: 'The key of the switch is not here', works: waits, todo: hint, command: putBack(place) };
}

/** Mail is lost in none of these. */
function waitsFor({ plain }: EncryptionStatus): string {
  if (plain === 0) return 'No mailbox: each waits for the key. No mail is lost, it waits on its servers.';
  return 'Mailboxes whose password is not sealed. The others wait, and their mail waits on its servers.';
}

function vaultAnswer({ hint }: Wrong, status: EncryptionStatus, failure: Failure | null, place: TroublePlace): Answer {
  const { state } = status.vault;
  const works =
    status.state === 'off'
      ? `${allWorks} Encryption cannot be switched on before this is put right.`
      : waitsFor(status);
  if (state === 'orphaned') return orphanedAnswer(hint, failure, place);
  if (state === 'missing') {
    const lost = `If no copy of it is left: ${commandLine('encryption replace-lost-key', place.configFile)}`;
    // A worker that still has the key in its memory is named among the workers, on a page of its own.
    const todo = status.workers.some(({ live, vault }) => live && vault === 'orphaned')
      ? hint
      : (status.vault.hint ?? '');
    return { title: 'The key file is missing', works, todo: `${todo} ${lost}`, command: putBack(place) };
  }
  if (failure?.code === 'key_file_locked') {
    const todo = `${hint} Whether a passphrase is the right one, this shows:`;
    return { title: 'The key file is locked', works, todo, command: commandLine('key show', place.configFile) };
  }
  const command = commandIn(hint) ?? (isLacking(failure) ? putBack(place) : commandLine('key show', place.configFile));
  return { title: 'The key file cannot be used', works, todo: hint, command };
}

/** It could be read, and does not hold the key that is needed. */
function isLacking(failure: Failure | null): boolean {
  return failure?.fields['key_id'] !== undefined;
}

function orphanedAnswer(hint: string, failure: Failure | null, place: TroublePlace): Answer {
  const title = 'The key is in memory alone';
  const works =
    'Everything, until this daemon ends: it goes on with the key in its memory. Do not restart it before this is put right.';
  // Somebody protected the file, and a bare one in its place would undo that: such a rescue is refused.
  if (failure?.code === 'key_file_locked')
    return { title, works, todo: hint, command: commandLine('key show', place.configFile) };
  const todo = `${hint} This daemon can write it anew:`;
  return { title, works, todo, command: commandLine('key rescue', place.configFile) };
}

function waitingAnswer({ hint }: Wrong, { waiting }: EncryptionStatus, { configFile }: TroublePlace): Answer {
  const title = waiting === 1 ? 'A mailbox waits for its key' : `${waiting} mailboxes wait for their keys`;
  const works = 'All other mailboxes. The mail of these waits on their servers.';
  return { title, works, todo: hint, command: commandLine('mailbox list', configFile) };
}

function plainAnswer({ hint }: Wrong, { configFile }: TroublePlace): Answer {
  const command = commandLine('encryption reseal', configFile);
  return { title: 'Passwords are readable although encryption is on', works: allWorks, todo: hint, command };
}

/** The list of workers is in the database: no name in it may become the place that a key is copied to. */
function workersAnswer({ hint }: Wrong, { workers }: EncryptionStatus, place: TroublePlace): Answer {
  const title = 'Workers are without the key';
  const works = 'Everything here. Those workers leave mailboxes with a sealed password to the others.';
  const lacking = workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  if (lacking.every(({ host }) => host === place.host)) {
    const todo = 'They run on this host: see why in their log, and whether they lack the passphrase of the key file.';
    return { title, works, todo, command: commandLine('encryption status', place.configFile) };
  }
  const path = quoted(place.keyFilePath);
  const todo = `${hint} Only to hosts that you know: this list comes from the database.`;
  return { title, works, todo, command: `scp -p ${path} HOST:${path}` };
}

/** Owned by the user of the daemon, also when root runs it. */
function putBack({ keyFilePath, user }: TroublePlace): string {
  return `install -o ${quoted(user.replace(/^uid /, ''))} -m 600 /PATH/encryption-key.bin ${quoted(keyFilePath)}`;
}

/** The command that ends a hint, for the page to show by itself; null: it ends with none. */
function commandIn(hint: string): string | null {
  return /: ((?:chmod|chown|install|ls|mv|rm) [^:]+)$/.exec(hint)?.[1] ?? null;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
