/**
 * Key file commands: show, verify, back up, protect and recover it. They never print a byte of a key.
 */

import { lstat } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import type { App } from '../compose/compose.ts';
import type { Config } from '../config/config.ts';
import { thisUser } from '../config/machine.ts';
import { commandLine } from '../encryption/help.ts';
import type { KeyFileReading } from '../encryption/ports.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { type KeyId, keyIds, weakKeyFailure, weakKeyRemedy } from '../secret/key.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { requiredKeyIds } from '../secret/switch.ts';
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
      await terminal.line(`hint       ${shown.problem.hint}`);
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
 * and a note says so. Exit code 1 unless it holds every key in use. Throws `key_file_missing`, `key_file_refused` (also
 * for a key that is plainly not random), `key_file_locked`.
 */
export async function verifyKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const file = resolve(options.file);
  const backup = await context.readKeyBackup(file);
  return await withApp(options, context, async (app) => {
    const keys = await app.keyFile.keysIn(file, backup);
    const weak = keys.find(({ weakness }) => weakness !== null);
    if (weak !== undefined) throw weakKeyFailure(file, weak, weakKeyRemedy);
    const inBackup = keyIds(keys);
    const { ids: inUse, isSwitchRead } = await idsInUse(app, context);
    const lacks = inUse.filter((id) => !inBackup.includes(id));
    const extra = inBackup.filter((id) => !inUse.includes(id));
    const same = lacks.length === 0;
    const fields = { same, file, key_ids: inBackup, in_use: inUse, lacks, extra, switch_read: isSwitchRead };
    const text = verifyText(file, inBackup, inUse, lacks);
    await printResult(options, context, fields, text, same ? 'green' : 'red');
    if (same && extra.length > 0) context.terminal.note(`It also holds keys that are not in use: ${extra.join(', ')}`);
    return same ? 0 : 1;
  });
}

function verifyText(
  file: string,
  inBackup: readonly KeyId[],
  inUse: readonly KeyId[],
  lacks: readonly KeyId[],
): string {
  if (lacks.length === 0) return `same: ${file} holds key ${inUse.join(', ')}, which is in use`;
  if (lacks.length < inUse.length) return `not the same: ${file} lacks key ${lacks.join(', ')}, which is in use`;
  return `not the same: ${file} is another key, ${inBackup.join(', ')}; in use is ${inUse.join(', ')}`;
}

type KeysInUse = { readonly ids: readonly KeyId[]; readonly isSwitchRead: boolean };

async function idsInUse(app: App, { terminal }: Context): Promise<KeysInUse> {
  const { state, problem, stored, switch: inForce } = await app.vault.refresh();
  const isSwitchRead = await isDatabaseAvailable(app);
  if (!isSwitchRead) terminal.note('note: the database does not respond: compared with the key file alone', 'yellow');
  if ('failure' in state) terminal.note(`note: compared with the switch alone: ${state.failure.message}`, 'yellow');
  // The row cannot be verified without its key, which is the lost one.
  const row = problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
  const ids = [...new Set([...keyIds(app.vault.keys()), ...requiredKeyIds(row)])];
  if (ids.length > 0) return { ids, isSwitchRead };
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
    `  LoadCredentialEncrypted=${credential} in its unit (systemd-creds(1))`,
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
      `Verify it now, and again where you store it: ${commandLine(`key verify ${options.file}`, options.config ?? null)}`,
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
