/**
 * Diagnostics of keys, sealed passwords and the switch for the page: what happened, what is unaffected, what to do.
 *
 * The findings are those of `encryption status`, with its sentences. Names in them may come from the database, so from
 * anyone with write access to it: no command contains one.
 */

import { commandLine } from '../../encryption/help.ts';
import { type EncryptionDiagnostic, type EncryptionStatus, encryptionDiagnostics } from '../../encryption/status.ts';
import type { VaultView } from '../../encryption/vault.ts';
import type { Failure } from '../../errors.ts';
import { capitalized } from '../../text/printable.ts';
import { shellArg } from '../../text/shell.ts';
import type { Diagnostic } from '../service.ts';

export type DiagnosticContext = {
  readonly keyFilePath: string;
  readonly configFile: string | null;
  /** Worker name of this daemon, and its host. */
  readonly me: string;
  readonly host: string;
  /** The user whom this daemon runs as: name, or number where it has none. */
  readonly user: string;
};

type DiagnosticText = Omit<Diagnostic, 'description'>;

type Finding = {
  readonly hint: string;
  readonly status: EncryptionStatus;
  /** Why the key file cannot be used; null: it can. */
  readonly failure: Failure | null;
  readonly context: DiagnosticContext;
};

/** The worst first. */
export function diagnose(
  status: EncryptionStatus,
  { state }: VaultView,
  context: DiagnosticContext,
): readonly Diagnostic[] {
  const failure = 'failure' in state ? state.failure : null;
  const shown = encryptionDiagnostics(status).filter(({ subject }) => {
    if (subject === 'workers') return otherWorkersLackKey(status, context);
    // Mailboxes wait for the key file, whose state is a diagnostic of its own.
    return subject !== 'waiting' || state.kind === 'open' || state.kind === 'closed';
  });
  return shown.map(({ subject, message, hint }) => {
    const description = `${capitalized(message)}.`;
    return { ...texts[subject]({ hint, status, failure, context }), description };
  });
}

/** This worker is excluded: what it lacks shows as the state of its key file. */
function otherWorkersLackKey({ workers }: EncryptionStatus, { me }: DiagnosticContext): boolean {
  return workers.some(({ live, has_key: hasKey, worker }) => live && !hasKey && worker !== me);
}

const texts: Readonly<Record<EncryptionDiagnostic['subject'], (finding: Finding) => DiagnosticText>> = {
  switch: switchText,
  vault: vaultText,
  waiting: ({ hint, status, context }) => ({
    title: status.waiting === 1 ? 'A mailbox waits for its key' : `${status.waiting} mailboxes wait for their keys`,
    unaffected: 'All other mailboxes. The mail of these waits on their servers.',
    remedy: hint,
    command: commandLine('mailbox list', context.configFile),
  }),
  weak: ({ hint, context }) => ({
    title: 'The key can be guessed',
    unaffected: allElse,
    remedy: hint,
    command: commandLine('encryption rotate', context.configFile),
  }),
  plain: ({ hint, context }) => ({
    title: 'Plain-text passwords although encryption is on',
    unaffected: allElse,
    remedy: hint,
    command: commandLine('encryption reseal', context.configFile),
  }),
  workers: workersText,
};

const allElse = 'Everything else: mail is fetched as before.';

function switchText({ hint: remedy, status, context }: Finding): DiagnosticText {
  const unaffected = `${allElse} The switch that was accepted last stays in force; it cannot be changed before this is resolved.`;
  const command = commandLine('encryption trust-restored', context.configFile);
  const code = status.problem?.code;
  if (code === 'switch_forged') return { title: 'The encryption switch is forged', unaffected, remedy, command };
  if (code === 'switch_rolled_back')
    return { title: 'The encryption switch was rolled back', unaffected, remedy, command };
  if (code !== 'key_unknown') return { title: 'The switch state file is damaged', unaffected, remedy, command };
  return {
    title: 'The key of the switch is missing',
    unaffected: 'Mailboxes whose passwords this daemon can open. The mail of the others waits on its servers.',
    remedy,
    command: restoreKeyFileCommand(context),
  };
}

function vaultText({ hint, status, failure, context }: Finding): DiagnosticText {
  const showKey = commandLine('key show', context.configFile);
  if (status.vault.state === 'orphaned') return orphanedText(hint, failure, context);
  const unaffected = unaffectedMailboxes(status);
  if (status.vault.state === 'missing') {
    // A worker that still has the key in its memory shows on its own page.
    const isElsewhere = status.workers.some(({ live, vault }) => live && vault === 'orphaned');
    const last = `If no copy of it is left: ${commandLine('encryption replace-lost-key', context.configFile)}`;
    const remedy = `${isElsewhere ? hint : (status.vault.hint ?? '')} ${last}`;
    return { title: 'The key file is missing', unaffected, remedy, command: restoreKeyFileCommand(context) };
  }
  if (failure?.code === 'key_file_locked') {
    const remedy = `${hint} This checks whether a passphrase is the right one:`;
    return { title: 'The key file is locked', unaffected, remedy, command: showKey };
  }
  // The file can be read, and lacks a key that is needed.
  const isLacking = failure?.fields['key_id'] !== undefined;
  const command = commandIn(hint) ?? (isLacking ? restoreKeyFileCommand(context) : showKey);
  return { title: 'The key file cannot be used', unaffected, remedy: hint, command };
}

/** No mail is lost in any of these states. */
function unaffectedMailboxes({ state, plaintext: plain }: EncryptionStatus): string {
  if (state === 'off') return `${allElse} Encryption cannot be enabled before this is resolved.`;
  if (plain === 0) return 'No mailbox: each waits for the key. No mail is lost, it waits on its servers.';
  return 'Mailboxes whose password is not sealed. The others wait, and their mail waits on its servers.';
}

function orphanedText(hint: string, failure: Failure | null, { configFile }: DiagnosticContext): DiagnosticText {
  const title = 'The key exists only in memory';
  const unaffected =
    'Everything, until this daemon ends: it uses the key in its memory. Do not restart it before this is resolved.';
  // The file was protected with a passphrase; recovery refuses to replace it by an unprotected one.
  if (failure?.code === 'key_file_locked')
    return { title, unaffected, remedy: hint, command: commandLine('key show', configFile) };
  const remedy = `${hint} This daemon can write it again:`;
  return { title, unaffected, remedy, command: commandLine('key recover', configFile) };
}

/** The list of workers comes from the database: no name in it may become the target that a key is copied to. */
function workersText({ hint, status, context }: Finding): DiagnosticText {
  const title = 'Workers lack the key';
  const unaffected = 'Everything here. Those workers leave mailboxes with a sealed password to the others.';
  const lacking = status.workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  if (lacking.every(({ host }) => host === context.host)) {
    const remedy = 'They run on this host: their log says why; they may lack the passphrase of the key file.';
    return { title, unaffected, remedy, command: commandLine('encryption status', context.configFile) };
  }
  const path = shellArg(context.keyFilePath);
  return { title, unaffected, remedy: hint, command: `scp -p ${path} HOST:${path}` };
}

/** The file belongs to the user of the daemon, also when root runs the command. */
function restoreKeyFileCommand({ keyFilePath, user }: DiagnosticContext): string {
  return `install -o ${shellArg(user.replace(/^uid /, ''))} -m 600 /PATH/encryption-key.bin ${shellArg(keyFilePath)}`;
}

/** The command at the end of a hint; null: there is none. */
function commandIn(hint: string): string | null {
  return /: ((?:chmod|chown|install|ls|mv|rm) [^:]+)$/.exec(hint)?.[1] ?? null;
}
