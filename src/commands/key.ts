/**
 * `key show`: fingerprints and state of the key file, from the file alone; never a byte of a key.
 */

import { timingSafeEqual } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { relative, resolve } from 'node:path';
import type { App } from '../compose/compose.ts';
import type { Config } from '../config/config.ts';
import { commandLine } from '../encryption/help.ts';
import type { KeyFileReading } from '../encryption/ports.ts';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { type KeyId, keyIds } from '../secret/key.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { requiredKeyIds } from '../secret/switch.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { lineWriter } from './encryption/operation.ts';

type KeyFileSummary = {
  readonly path: string;
  readonly state: 'absent' | 'ok' | 'refused';
  /** null: they cannot be known. */
  readonly key_ids: readonly string[] | null;
  readonly protected: boolean | null;
  readonly owner: string | null;
  /** As `0600`. */
  readonly mode: string | null;
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string } | null;
};

/** Exit code 0 also for a key file that is absent or refused: that is shown. */
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
  const failure = reading.kind === 'refused' ? reading.failure : null;
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
  return uid === process.getuid?.() ? userInfo().username : `uid ${uid}`;
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
 * `key verify FILE`: is this backup the key in use? Compared are key ids: with the key file, and with what the switch names.
 *
 * So a backup can be tried before it is put back, while the key file is lost. Without the database the key file alone is
 * compared with, and that is said.
 */

/** Exit code 1 when it is not the same. Throws `key_file_missing`, `key_file_refused`, `key_file_locked`. */
export async function verifyKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const file = resolve(options.file);
  return await withApp(options, context, async (app) => {
    const held = await app.keyFile.idsIn(file);
    const { ids: inUse, isSwitchRead } = await idsInUse(app, context);
    const lacks = inUse.filter((id) => !held.includes(id));
    const extra = held.filter((id) => !inUse.includes(id));
    const same = lacks.length === 0;
    if (options.json === true)
      await terminal.json({ same, file, key_ids: held, in_use: inUse, lacks, extra, switch_read: isSwitchRead });
    else await terminal.line(resultText(file, held, inUse, lacks), same ? 'green' : 'red');
    if (same && extra.length > 0) terminal.note(`It also holds what is not in use: ${extra.join(', ')}`);
    return same ? 0 : 1;
  });
}

function resultText(file: string, held: readonly KeyId[], inUse: readonly KeyId[], lacks: readonly KeyId[]): string {
  if (lacks.length === 0) return `same: ${file} holds key ${inUse.join(', ')}, which is in use`;
  if (lacks.length < inUse.length) return `not the same: ${file} lacks key ${lacks.join(', ')}, which is in use`;
  return `not the same: ${file} is another key, ${held.join(', ')}; in use is ${inUse.join(', ')}`;
}

type KeysInUse = { readonly ids: readonly KeyId[]; readonly isSwitchRead: boolean };

async function idsInUse(app: App, { terminal }: Context): Promise<KeysInUse> {
  const { state, problem, stored, switch: inForce } = await app.vault.refresh();
  const isSwitchRead = await isDatabaseThere(app);
  if (!isSwitchRead) terminal.note('note: the database does not answer: compared with the key file alone', 'yellow');
  if ('failure' in state) terminal.note(`note: compared with the switch alone: ${state.failure.message}`, 'yellow');
  // The row cannot be verified without its key, which is the very one that is looked for.
  const row = problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
  const ids = [...new Set([...keyIds(app.vault.keys()), ...requiredKeyIds(row)])];
  if (ids.length > 0) return { ids, isSwitchRead };
  throw new Failure('key_file_missing', `no key is in use here: there is no key file at ${app.keyFile.path}`, {
    hint: 'See ticketmaild encryption status, on the host whose key this is a backup of.',
  });
}

async function isDatabaseThere({ store }: App): Promise<boolean> {
  try {
    await store.readSwitch();
    return true;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return false;
    throw error;
  }
}

/**
 * `key protect` and `key unprotect`: wraps the key file with a passphrase (age), and takes that off again.
 *
 * The key stays the same, and so do all passwords. A daemon that cannot get the passphrase could not open the key file at
 * its next start: that is said before anything is changed.
 */

type ProtectOptions = CommonOptions & { readonly passphraseStdin?: boolean };

const credential = 'ticketmaild-key-passphrase';

/** Throws `usage`, `password_missing`, `refused` when it is protected, `key_file_*`, `disk_*`. */
export async function protectKey(options: ProtectOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app, config) => {
    await requireBareKeyFile(app);
    if (config.encryption.passphraseFile === null) warnNoPassphraseFile(context);
    using passphrase = await newPassphrase(options, context);
    await app.keyFile.protect(passphrase);
    const recorded = await recordKeyChange(app, context, 'key.protected', null);
    if (options.json === true) await terminal.json({ path: app.keyFile.path, protected: true, recorded });
    else await terminal.line(`protected the key file ${app.keyFile.path} by a passphrase`, 'green');
    const say = lineWriter(options, terminal);
    for (const line of daemonAdvice(config)) await say(line);
    await say('Backups of the key file from before are still without one.');
    return 0;
  });
}

/** Throws `refused` when it is not protected, `key_file_*`, `disk_*`. */
export async function unprotectKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    await app.keyFile.unprotect();
    const recorded = await recordKeyChange(app, context, 'key.unprotected', null);
    if (options.json === true) await terminal.json({ path: app.keyFile.path, protected: false, recorded });
    else await terminal.line(`the key file ${app.keyFile.path} is without a passphrase now`, 'green');
    return 0;
  });
}

/** Before a passphrase is asked for. */
async function requireBareKeyFile({ keyFile }: App): Promise<void> {
  const reading = await keyFile.read();
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  const isLocked = reading.kind === 'refused' && reading.failure.code === 'key_file_locked';
  if (isLocked || (reading.kind === 'keys' && reading.wrapped !== null)) {
    throw new Failure('refused', `the key file ${keyFile.path} is protected already`, {
      hint: 'For another passphrase take the one off first: ticketmaild key unprotect.',
    });
  }
  if (reading.kind === 'refused') throw reading.failure;
}

function warnNoPassphraseFile({ terminal }: Context): void {
  terminal.note(
    'warning: the configuration names no [encryption] passphrase_file. Unless the daemon gets the',
    'yellow',
  );
  terminal.note(
    `passphrase as systemd credential ${credential}, it cannot open the key file when it starts.`,
    'yellow',
  );
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

/** From the prompt, twice, or all of standard input. */
async function newPassphrase(options: ProtectOptions, context: Context): Promise<SecretBytes> {
  try {
    return await readPassphrase(options, context);
  } catch (error) {
    if (!isFailure(error, 'password_missing')) throw error;
    const hint = 'Give it at a terminal, or with --passphrase-stdin.';
    throw new Failure('password_missing', 'a passphrase is needed, and none is given', { hint });
  }
}

async function readPassphrase({ passphraseStdin }: ProtectOptions, { terminal }: Context): Promise<SecretBytes> {
  if (passphraseStdin === true) return await terminal.readPassword();
  const first = await terminal.askPassword('New passphrase: ');
  try {
    using second = await terminal.askPassword('The same again: ');
    if (isEqual(first, second)) return first;
  } catch (error) {
    first.wipe();
    throw error;
  }
  first.wipe();
  throw new Failure('usage', 'the two passphrases are not the same', { hint: 'Nothing was changed: try it again.' });
}

function isEqual(a: SecretBytes, b: SecretBytes): boolean {
  return a.length === b.length && a.use((first) => b.use((second) => timingSafeEqual(first, second)));
}

/**
 * `key backup FILE`: copies the key file as it is, for its owner alone, and never over another file.
 *
 * It needs neither the database nor the passphrase of a protected key file.
 */

/** Throws `already_exists`, `key_file_missing`, `disk_*`. */
export async function backUpKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const file = resolve(options.file);
  return await withApp(options, context, async (app, config) => {
    await app.keyFile.copyTo(file);
    const recorded = await recordKeyChange(app, context, 'key.backed_up', `to ${file}`);
    if (options.json === true) await terminal.json({ file, key_file: app.keyFile.path, recorded });
    else await terminal.line(`copied the key file to ${file}`, 'green');
    const say = lineWriter(options, terminal);
    await say(
      `Verify it now, and wherever you bring it: ${commandLine(`key verify ${options.file}`, options.config ?? null)}`,
    );
    await say('Keep it apart from the backups of the database: whoever has both has the passwords.');
    if (!relative(config.dataDir, file).startsWith('..'))
      terminal.note(`note: ${file} lies in data_dir itself: what loses the one loses the other`, 'yellow');
    return 0;
  });
}

/**
 * Rows of the audit table about the key file. The key file is worth more than the row: a database that is away is told,
 * and stops nothing.
 */

/** False, after a note, when the database is away. The keys in the row are those that the switch names. */
export async function recordKeyChange(
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
 * `key recover`: the key file is lost or damaged, and the daemon that runs still holds the keys: it writes them back.
 */

/** Throws `daemon_unreachable`, `refused` when there is nothing to recover, `key_file_missing`, `disk_*`. */
export async function recoverKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async ({ daemonClient }) => {
    const answer = await daemonClient.recover();
    if (options.json === true) await terminal.json(answer);
    else {
      await terminal.line(`written back: ${answer.path}, key ${answer.key_ids.join(', ')}`, 'green');
      if (answer.set_aside !== null) await terminal.line(`what was there is kept as ${answer.set_aside}`);
    }
    if (!answer.recorded) terminal.note('note: this could not be recorded in the database, which does not answer');
    return 0;
  });
}
