/**
 * What is wrong with keys, sealed passwords and the switch, for the page: what happened, what still unaffected, what to do.
 *
 * The same findings as those of `encryption status`, with its sentences. Names in them may come from the database, and so
 * from anybody who can write it: no command is made of one.
 */

import { commandLine } from '../../encryption/help.ts';
import type { EncryptionStatus } from '../../encryption/status.ts';
import { type Wrong, wrongsOf } from '../../encryption/status.ts';
import type { VaultView } from '../../encryption/vault.ts';
import type { Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import type { Diagnostic } from '../service.ts';

export type DiagnosticContext = {
  readonly keyFilePath: string;
  readonly configFile: string | null;
  /** This daemon, as in `Workers.me`, and its host. */
  readonly me: string;
  readonly host: string;
  /** The user whom this daemon runs as: name, or number where it has none. */
  readonly user: string;
};

type DiagnosticText = Omit<Diagnostic, 'description'>;

/** The worst first. */
export function diagnose(
  status: EncryptionStatus,
  { state }: VaultView,
  context: DiagnosticContext,
): readonly Diagnostic[] {
  const failure = 'failure' in state ? state.failure : null;
  const told = wrongsOf(status).filter(({ about }) => {
    if (about === 'workers') return othersLackKey(status, context);
    // They wait for what the state of the key file tells already.
    return about !== 'waiting' || state.kind === 'open' || state.kind === 'closed';
  });
  return told.map((wrong) => {
    return { ...diagnosticFor(wrong, status, failure, context), description: sentence(wrong.what) };
  });
}

/** What this worker lacks is told as the state of the key file here. */
function othersLackKey({ workers }: EncryptionStatus, { me }: DiagnosticContext): boolean {
  return workers.some(({ live, has_key: hasKey, worker }) => live && !hasKey && worker !== me);
}

function diagnosticFor(
  wrong: Wrong,
  status: EncryptionStatus,
  failure: Failure | null,
  context: DiagnosticContext,
): DiagnosticText {
  if (wrong.about === 'switch') return switchDiagnostic(wrong, status, context);
  if (wrong.about === 'vault') return vaultDiagnostic(wrong, status, failure, context);
  if (wrong.about === 'waiting') return waitingDiagnostic(wrong, status, context);
  return wrong.about === 'plain' ? plaintextDiagnostic(wrong, context) : workersDiagnostic(wrong, status, context);
}

const allWorks = 'Everything else: mail is fetched as before.';

function switchDiagnostic({ hint }: Wrong, { problem }: EncryptionStatus, context: DiagnosticContext): DiagnosticText {
  const unaffected = `${allWorks} The switch that was accepted last stays in force; it cannot be changed before this is put right.`;
  const command = commandLine('encryption trust-restored', context.configFile);
  if (problem?.code === 'switch_forged')
    return { title: 'Somebody changed the switch', unaffected, remedy: hint, command };
  if (problem?.code === 'switch_rolled_back')
    return { title: 'The switch went back', unaffected, remedy: hint, command };
  if (problem?.code !== 'key_unknown')
    return { title: 'The remembered switch is damaged', unaffected, remedy: hint, command };
  const waits = 'Mailboxes whose passwords this daemon can open. The mail of the others waits on its servers.';
  return {
    title: 'The key of the switch is not here',
    unaffected: waits,
    remedy: hint,
    command: restoreKeyFileCommand(context),
  };
}

/** Mail is lost in none of these. */
function unaffectedMailboxes({ plain }: EncryptionStatus): string {
  if (plain === 0) return 'No mailbox: each waits for the key. No mail is lost, it waits on its servers.';
  return 'Mailboxes whose password is not sealed. The others wait, and their mail waits on its servers.';
}

function vaultDiagnostic(
  { hint }: Wrong,
  status: EncryptionStatus,
  failure: Failure | null,
  context: DiagnosticContext,
): DiagnosticText {
  const { state } = status.vault;
  const unaffected =
    status.state === 'off'
      ? `${allWorks} Encryption cannot be switched on before this is put right.`
      : unaffectedMailboxes(status);
  if (state === 'orphaned') return orphanedDiagnostic(hint, failure, context);
  if (state === 'missing') {
    const lost = `If no copy of it is left: ${commandLine('encryption replace-lost-key', context.configFile)}`;
    // A worker that still has the key in its memory is named among the workers, on a page of its own.
    const remedy = status.workers.some(({ live, vault }) => live && vault === 'orphaned')
      ? hint
      : (status.vault.hint ?? '');
    return {
      title: 'The key file is missing',
      unaffected,
      remedy: `${remedy} ${lost}`,
      command: restoreKeyFileCommand(context),
    };
  }
  if (failure?.code === 'key_file_locked') {
    const remedy = `${hint} Whether a passphrase is the right one, this shows:`;
    return {
      title: 'The key file is locked',
      unaffected,
      remedy,
      command: commandLine('key show', context.configFile),
    };
  }
  const command =
    commandIn(hint) ??
    (isLacking(failure) ? restoreKeyFileCommand(context) : commandLine('key show', context.configFile));
  return { title: 'The key file cannot be used', unaffected, remedy: hint, command };
}

/** It could be read, and does not hold the key that is needed. */
function isLacking(failure: Failure | null): boolean {
  return failure?.fields['key_id'] !== undefined;
}

function orphanedDiagnostic(hint: string, failure: Failure | null, context: DiagnosticContext): DiagnosticText {
  const title = 'The key is in memory alone';
  const unaffected =
    'Everything, until this daemon ends: it goes on with the key in its memory. Do not restart it before this is put right.';
  // Somebody protected the file, and a bare one in its context would undo that: such a recovery is refused.
  if (failure?.code === 'key_file_locked')
    return { title, unaffected, remedy: hint, command: commandLine('key show', context.configFile) };
  const remedy = `${hint} This daemon can write it anew:`;
  return { title, unaffected, remedy, command: commandLine('key recover', context.configFile) };
}

function waitingDiagnostic(
  { hint }: Wrong,
  { waiting }: EncryptionStatus,
  { configFile }: DiagnosticContext,
): DiagnosticText {
  const title = waiting === 1 ? 'A mailbox waits for its key' : `${waiting} mailboxes wait for their keys`;
  const unaffected = 'All other mailboxes. The mail of these waits on their servers.';
  return { title, unaffected, remedy: hint, command: commandLine('mailbox list', configFile) };
}

function plaintextDiagnostic({ hint }: Wrong, { configFile }: DiagnosticContext): DiagnosticText {
  const command = commandLine('encryption reseal', configFile);
  return { title: 'Passwords are readable although encryption is on', unaffected: allWorks, remedy: hint, command };
}

/** The list of workers is in the database: no name in it may become the place that a key is copied to. */
function workersDiagnostic({ hint }: Wrong, { workers }: EncryptionStatus, context: DiagnosticContext): DiagnosticText {
  const title = 'Workers are without the key';
  const unaffected = 'Everything here. Those workers leave mailboxes with a sealed password to the others.';
  const lacking = workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  if (lacking.every(({ host }) => host === context.host)) {
    const remedy = 'They run on this host: see why in their log, and whether they lack the passphrase of the key file.';
    return { title, unaffected, remedy, command: commandLine('encryption status', context.configFile) };
  }
  const path = shellArg(context.keyFilePath);
  const remedy = `${hint} Only to hosts that you know: this list comes from the database.`;
  return { title, unaffected, remedy, command: `scp -p ${path} HOST:${path}` };
}

/** Owned by the user of the daemon, also when root runs it. */
function restoreKeyFileCommand({ keyFilePath, user }: DiagnosticContext): string {
  return `install -o ${shellArg(user.replace(/^uid /, ''))} -m 600 /PATH/encryption-key.bin ${shellArg(keyFilePath)}`;
}

/** The command that ends a hint, for the page to show by itself; null: it ends with none. */
function commandIn(hint: string): string | null {
  return /: ((?:chmod|chown|install|ls|mv|rm) [^:]+)$/.exec(hint)?.[1] ?? null;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
