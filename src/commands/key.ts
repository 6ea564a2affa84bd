/**
 * Key file commands: show, verify, back up, protect and recover it. They never print a byte of a key.
 */

import { lstat } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import type { App } from '../compose/compose.ts';
import type { Config } from '../config/config.ts';
import { thisUser } from '../config/machine.ts';
import {
  type BackupComparison,
  backupVerifiedAction,
  compareBackup,
  type FormerKey,
  type KeysInUse,
  keysInUse,
} from '../encryption/backup.ts';
import { commandLine } from '../encryption/help.ts';
import type { BackupPlace, KeyFileReading } from '../encryption/ports.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { type KeyId, keyIds, weakKeyFailure, weakKeyRemedy } from '../secret/key.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { asRunHere } from '../text/program-name.ts';
import { shortTime } from '../text/time.ts';
import { askTwice, type CommonOptions, type Context, withApp } from './context.ts';
import { printLines, printResult } from './output.ts';

type KeyFileSummary = {
  readonly path: string;
  readonly state: 'absent' | 'ok' | 'refused';
  /** null: unknown, as the file cannot be opened. */
  readonly key_ids: readonly string[] | null;
  readonly protected: boolean | null;
  readonly owner: string | null;
  /** Octal, as `0600`. */
  readonly mode: string | null;
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string } | null;
};

/** Prints the state of the key file, from the file alone. Exit code 0 also for an absent or refused one. */
export async function showKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const shown = await summarize(app);
    if (options.json === true) await terminal.json(shown);
    else for (const line of summaryLines(shown)) await terminal.line(line);
    if (shown.problem !== null && options.json !== true) {
      await terminal.line(`problem    ${shown.problem.message}`, 'red');
      await terminal.line(`hint       ${asRunHere(shown.problem.hint)}`);
    }
    return 0;
  });
}

async function summarize({ keyFile }: App): Promise<KeyFileSummary> {
  const reading = await keyFile.read();
  const weak = reading.kind === 'keys' ? reading.keys.find(({ weakness }) => weakness !== null) : undefined;
  const weakness = weak === undefined ? null : weakKeyFailure(keyFile.path, weak, weakKeyRemedy);
  const failure = reading.kind === 'refused' ? reading.failure : weakness;
  return {
    path: keyFile.path,
    state: reading.kind === 'keys' ? 'ok' : reading.kind,
    key_ids: reading.kind === 'keys' ? keyIds(reading.keys) : reading.kind === 'absent' ? [] : null,
    protected: isProtected(reading),
    ...(await ownership(keyFile.path)),
    problem: failure && { code: failure.code, message: failure.message, hint: failure.hint },
  };
}

function isProtected(reading: KeyFileReading): boolean | null {
  if (reading.kind === 'keys') return reading.wrapped !== null;
  return reading.kind === 'refused' && reading.failure.code === 'key_file_locked' ? true : null;
}

async function ownership(path: string): Promise<Pick<KeyFileSummary, 'owner' | 'mode'>> {
  try {
    const { uid, mode } = await lstat(path);
    return { owner: ownerName(uid), mode: (mode & 0o7777).toString(8).padStart(4, '0') };
  } catch (error) {
    if (causeCode(error).startsWith('E')) return { owner: null, mode: null };
    throw error;
  }
}

function ownerName(uid: number): string {
  if (uid === 0) return 'root';
  return uid === process.getuid?.() ? thisUser() : `uid ${uid}`;
}

function summaryLines({
  path,
  state,
  key_ids: ids,
  protected: isLocked,
  owner,
  mode,
}: KeyFileSummary): readonly string[] {
  if (state === 'absent') return [`key file   none at ${path}`];
  const words = isLocked === null ? [] : [`protected  ${isLocked ? 'by a passphrase' : 'no: bare keys'}`];
  return [
    `key file   ${path}`,
    ...(ids ?? ['unknown']).map((id) => `key        ${id}`),
    ...words,
    `owner      ${owner ?? 'unknown'}`,
    `mode       ${mode ?? 'unknown'}`,
  ];
}

/**
 * `key verify FILE`: compares the key ids of a backup with the key file and the encryption switch.
 *
 * So a backup can be verified while the key file is lost. Without the database it is compared with the key file alone,
 * and a note says so. Exit code 3 for the key file itself and whatever is in its folder, else 1 unless the backup holds
 * every key in use. Throws `key_file_missing`, `key_file_refused` (also for a key that is plainly not random),
 * `key_file_locked`.
 */
export async function verifyKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const file = resolve(options.file);
  const backup = await context.readKeyBackup(file);
  return await withApp(options, context, async (app) => {
    const keys = await app.keyFile.keysIn(file, backup.content);
    const weak = keys.find(({ weakness }) => weakness !== null);
    if (weak !== undefined) throw weakKeyFailure(file, weak, weakKeyRemedy);
    const held = keyIds(keys);
    const { isSwitchRead, ...inUse } = await readKeysInUse(app, context);
    const place = await app.keyFile.placeOf(backup);
    const compared = await compareBackup(held, inUse, isSwitchRead ? app.store : null);
    const verdict: Verdict = { file, held, wanted: inUse.wanted, place, compared, isSwitchRead };
    const recorded = isBackup(verdict) && (await recordVerified(app, context, verdict));
    const fields = verdictJson(verdict, recorded);
    await printResult(options, context, fields, verdictText(verdict), isBackup(verdict) ? 'green' : 'red');
    for (const note of verdictNotes(verdict)) context.terminal.advice(note);
    if (place === 'key_file' || place === 'data_dir') return 3;
    return compared.kind === 'same' ? 0 : 1;
  });
}

type Verdict = {
  readonly file: string;
  /** Keys in the copy, and those that it must hold. */
  readonly held: readonly KeyId[];
  readonly wanted: readonly KeyId[];
  readonly place: BackupPlace;
  readonly compared: BackupComparison;
  readonly isSwitchRead: boolean;
};

function isBackup({ place, compared }: Verdict): boolean {
  return compared.kind === 'same' && (place === 'elsewhere' || place === 'same_file_system');
}

function verdictJson(verdict: Verdict, recorded: boolean): Record<string, unknown> {
  const { file, held, wanted, place, compared, isSwitchRead } = verdict;
  return {
    result: place === 'key_file' || place === 'data_dir' ? place : compared.kind,
    same: isBackup(verdict),
    file,
    key_ids: held,
    in_use: wanted,
    lacks: compared.lacks,
    extra: held.filter((id) => !wanted.includes(id)),
    former: compared.former.map(({ id }) => id),
    same_file_system: place !== 'elsewhere',
    switch_read: isSwitchRead,
    recorded,
  };
}

function verdictText({ file, held, wanted, place, compared }: Verdict): string {
  const [ids, inUse, lacks] = [held.join(', '), wanted.join(', '), compared.lacks.join(', ')];
  if (place === 'key_file') return `not a backup: ${file} is the key file in use`;
  if (place === 'data_dir')
    return `not a backup: ${file} is in data_dir, as the key file is: what destroys one destroys the other`;
  if (compared.kind === 'same') return `same: ${file} holds key ${inUse}, which is in use`;
  if (compared.kind === 'lacks') return `not the same: ${file} lacks key ${lacks}, which is in use`;
  if (compared.kind === 'former') return `former key: ${file} holds ${ids}, no longer in use; in use is ${inUse}`;
  return `another key: ${file} holds ${ids}; in use is ${inUse}`;
}

function verdictNotes({ held, wanted, place, compared, isSwitchRead }: Verdict): readonly string[] {
  const { kind, former } = compared;
  const extra = held.filter((id) => !wanted.includes(id));
  if (place === 'key_file') return ['Make one, and move it off this machine: ticketmaild key backup FILE'];
  if (kind === 'former')
    return ['Keep it as long as database backups of its time exist: they need it.', ...sourcesOf(former)];
  if (kind === 'other' && isSwitchRead)
    return ['The audit log of the database names no such key: it is not known to have been in use here.'];
  if (kind === 'other') return ['Only the database names former keys.'];
  if (kind !== 'same') return [];
  return [
    ...(place === 'data_dir' ? [`It holds key ${wanted.join(', ')}, which is in use.`] : []),
    ...(extra.length > 0 ? [`It also holds keys that are not in use: ${extra.join(', ')}`] : []),
    ...(place === 'same_file_system' ? [sameDiskNote] : []),
  ];
}

const sameDiskNote =
  'note: it is on the same file system as the key file: a disk that fails takes both. Keep a copy off this machine.';

/** Where it is known from: a writer of the database can forge the audit. */
function sourcesOf(former: readonly FormerKey[]): readonly string[] {
  return former.map(
    ({ id, namedAtMs }) =>
      `The audit log of the database, which its writers can change, names ${id} last at ${shortTime(namedAtMs)} UTC.`,
  );
}

/** For the page, which then shows a verified backup. */
async function recordVerified(app: App, context: Context, { held, wanted, isSwitchRead }: Verdict): Promise<boolean> {
  const known = wanted.filter((id) => held.includes(id)).join(' ');
  return isSwitchRead && (await recordKeyChange(app, context, backupVerifiedAction, known));
}

async function readKeysInUse(app: App, { terminal }: Context): Promise<KeysInUse & { readonly isSwitchRead: boolean }> {
  const { state } = await app.vault.refresh();
  const isSwitchRead = await isDatabaseAvailable(app);
  if (!isSwitchRead) terminal.note('note: the database does not respond: compared with the key file alone', 'yellow');
  if ('failure' in state) terminal.note(`note: compared with the switch alone: ${state.failure.message}`, 'yellow');
  const inUse = keysInUse(await app.keyFile.read(), app.vault);
  if (inUse.wanted.length > 0) return { ...inUse, isSwitchRead };
  throw new Failure('key_file_missing', `no key is in use here: there is no key file at ${app.keyFile.path}`, {
    hint: 'See ticketmaild encryption status, on the host whose key this is a backup of.',
  });
}

async function isDatabaseAvailable({ store }: App): Promise<boolean> {
  try {
    await store.readSwitch();
    return true;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return false;
    throw error;
  }
}

type ProtectOptions = CommonOptions & { readonly passphraseStdin?: boolean };

const credential = 'ticketmaild-key-passphrase';

/**
 * `key protect`: encrypts the key file with a passphrase (age). The key and all sealed passwords stay the same.
 *
 * Warns first if the daemon may not get the passphrase at its next start. Throws `usage`, `password_missing`, `refused`
 * when it is protected already, `key_file_*`, `disk_*`.
 */
export async function protectKey(options: ProtectOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await explainMissing(app, () => requireBareKeyFile(app));
    if (config.encryption.passphraseFile === null) warnNoPassphraseFile(context);
    using passphrase = await newPassphrase(options, context);
    await app.keyFile.protect(passphrase);
    const recorded = await recordKeyChange(app, context, 'key.protected', null);
    const { path } = app.keyFile;
    const done = `protected the key file ${path} by a passphrase`;
    await printResult(options, context, { path, protected: true, recorded }, done, 'green');
    const advice = [...daemonAdvice(config), 'Earlier backups of the key file have no passphrase.'];
    await printLines(options, context, advice);
    return 0;
  });
}

/** `key unprotect`: removes the passphrase. Throws `refused` when there is none, `key_file_*`, `disk_*`. */
export async function unprotectKey(options: CommonOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    await explainMissing(app, () => app.keyFile.unprotect());
    const recorded = await recordKeyChange(app, context, 'key.unprotected', null);
    const { path } = app.keyFile;
    const done = `removed the passphrase of the key file ${path}`;
    await printResult(options, context, { path, protected: false, recorded }, done, 'green');
    return 0;
  });
}

/** `key_file_missing` of the task gets another hint where encryption is off. */
async function explainMissing(app: App, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (!isFailure(error, 'key_file_missing')) throw error;
    const { switch: inForce, problem } = await app.vault.refresh();
    const isNew = inForce.revision === 0;
    const isOff = problem === null && inForce.state === 'off' && (!isNew || (await isDatabaseAvailable(app)));
    if (!isOff) throw error;
    const state = isNew ? 'was never enabled' : 'is off';
    const hint = `Encryption ${state}: ticketmaild encryption enable creates a key file.`;
    throw new Failure('key_file_missing', error.message, { hint });
  }
}

/** Checked before a passphrase is asked for. */
async function requireBareKeyFile({ keyFile }: App): Promise<void> {
  const reading = await keyFile.read();
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  const isLocked = reading.kind === 'refused' && reading.failure.code === 'key_file_locked';
  if (isLocked || (reading.kind === 'keys' && reading.wrapped !== null)) {
    throw new Failure('refused', `the key file ${keyFile.path} is protected already`, {
      hint: 'For another passphrase remove this one first: ticketmaild key unprotect.',
    });
  }
  if (reading.kind === 'refused') throw reading.failure;
}

function warnNoPassphraseFile({ terminal }: Context): void {
  const lines = [
    'warning: the configuration names no [encryption] passphrase_file. Unless the daemon gets the',
    `passphrase as systemd credential ${credential}, it cannot open the key file when it starts.`,
  ];
  for (const line of lines) terminal.note(line, 'yellow');
}

function daemonAdvice({ encryption }: Config): readonly string[] {
  const { passphraseFile } = encryption;
  if (passphraseFile !== null) return [`The daemon reads the passphrase from ${passphraseFile}: it must be in there.`];
  return [
    'Give the daemon the passphrase before its next start, one of:',
    '  [encryption] passphrase_file = "/PATH", a file of its user with mode 0600',
    `  the credential of the service, as root: systemd-ask-password -n 'Passphrase of the key file:' |`,
    `    systemd-creds encrypt --name=${credential} - /etc/credstore.encrypted/${credential}`,
  ];
}

/** From the prompt, twice, or from standard input. Throws `password_missing`, `usage`. */
async function newPassphrase(options: ProtectOptions, context: Context): Promise<SecretBytes> {
  try {
    return await readPassphrase(options, context);
  } catch (error) {
    if (!isFailure(error, 'password_missing')) throw error;
    const hint = 'Give it at a terminal, or with --passphrase-stdin.';
    throw new Failure('password_missing', 'a passphrase is required', { hint });
  }
}

async function readPassphrase({ passphraseStdin }: ProtectOptions, { terminal }: Context): Promise<SecretBytes> {
  if (passphraseStdin === true) return await terminal.readPassword();
  return await askTwice(terminal, 'New passphrase: ', 'passphrases');
}

/**
 * `key backup FILE`: copies the key file unchanged to a new file, readable by its owner alone.
 *
 * It needs neither the database nor the passphrase. Throws `already_exists`, `key_file_missing`, `disk_*`.
 */
export async function backUpKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const file = resolve(options.file);
  await using copy = await context.createFile(file);
  return await withApp(options, context, async (app, config) => {
    await explainMissing(app, () => app.keyFile.copyTo(copy.write));
    const recorded = await recordKeyChange(app, context, 'key.backed_up', `to ${file}`);
    const fields = { file, key_file: app.keyFile.path, recorded };
    await printResult(options, context, fields, `copied the key file to ${file}`, 'green');
    await printLines(options, context, [
      `Verify it now, and again where you store it: ${asRunHere(commandLine(`key verify ${options.file}`, options.config ?? null))}`,
      'Store it apart from the backups of the database: both together reveal the passwords.',
    ]);
    if (!relative(config.dataDir, file).startsWith('..'))
      context.terminal.note(`note: ${file} is in data_dir: one failure can lose both`, 'yellow');
    return 0;
  });
}

/** Writes an audit entry with the keys of the switch. Without the database it notes that and returns false. */
async function recordKeyChange(
  { store, actor }: Pick<App, 'store' | 'actor'>,
  { terminal }: Pick<Context, 'terminal'>,
  action: string,
  detail: string | null,
): Promise<boolean> {
  try {
    const { row } = await store.readSwitch();
    const keys = { keyId: row?.keyId ?? null, nextKeyId: row?.nextKeyId ?? null };
    await store.audit([{ ...actor, ...keys, action, mailboxId: null, detail }]);
    return true;
  } catch (error) {
    if (!isFailure(error) || error.domain !== 'database') throw error;
    terminal.note(`note: this could not be recorded in the database: ${error.message}`);
    return false;
  }
}

/**
 * `key recover`: the running daemon writes a lost key file back from memory. Throws `daemon_unreachable`, `refused`,
 * `key_file_missing`, `disk_*`.
 */
export async function recoverKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async ({ daemonClient, keyFile }) => {
    const answer = await daemonClient.recover();
    if (options.json === true) await terminal.json(answer);
    else {
      await terminal.line(`written back: ${keyFile.path}, key ${answer.key_ids.join(', ')}`, 'green');
      if (answer.set_aside !== null) await terminal.line(`the former file is now ${answer.set_aside}`);
    }
    if (!answer.recorded) terminal.note('note: this could not be recorded in the database, which does not respond');
    return 0;
  });
}
