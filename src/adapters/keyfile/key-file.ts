/**
 * Key file `encryption-key.bin` in the data folder: raw keys, or the same keys protected by a passphrase (age).
 *
 * Refuses a file that others can read or could have put there: a link, a folder, a pipe, another owner, an open mode.
 * Writes are atomic and retain the passphrase protection. A mutex serializes the operations of one object; two
 * processes are serialized by link(2) and rename(2): each change compares the file again right before the rename, and
 * leaves one that another process changed meanwhile as it is. Errors: `key_file_missing`, `key_file_refused`,
 * `key_file_locked`, `already_exists`, `refused`, `disk_full`, `disk_failed`.
 */
import { randomBytes } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createMutex } from '../../async/mutex.ts';
import type { BackupPlace, FilePlace, KeyFile, KeyFileReading } from '../../encryption/ports.ts';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { checkKeyFileSize, type KeySet, serializeKeySet } from '../../secret/key.ts';
import { passphraseProblem } from '../../secret/passphrase.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';
import { cachePassphrase, isWrapped, type PassphraseSource, unwrapKeys, workFactorDefault, wrapKeys } from './age.ts';
import { backupPlace } from './backup.ts';
import { backupFileRules, createKeyReader, type KeyReader, keyFileRules, withPathInErrors } from './reader.ts';
import { type FileRules, onDiskAt, readSmallFile, syncFolder, writeNew, writeOver } from './small-file.ts';

/** Maintenance operations of the `key` commands. */
export type KeyFileMaintenance = {
  /** Protects the keys with `passphrase`, which it borrows. Throws `refused` when they are already, `usage`. */
  protect(passphrase: SecretBytes): Promise<void>;
  /** Removes the protection, with the passphrase of the source. Throws `refused` for an unprotected file. */
  unprotect(): Promise<void>;
  /** Lends the content of the file, which no rule refuses, to the writer of a copy. */
  copyTo(write: (content: Uint8Array) => Promise<void>): Promise<void>;
  /** The keys in `content` of another file, at `path`; wipes it. Throws `key_file_refused`, `key_file_locked`. */
  keysIn(path: string, content: Uint8Array): Promise<KeySet>;
  /** Where a backup is, as seen from the key file. */
  placeOf(backup: FilePlace): Promise<BackupPlace>;
};

export type KeyFileOptions = {
  readonly dataDir: string;
  /** Asked only when a protected file is opened or written. */
  readonly passphrase: PassphraseSource;
  readonly nowMs: () => number;
  /** Base-2 logarithm of scrypt's N for a new passphrase. */
  readonly workFactor?: number;
};

type KeyFileContext = {
  readonly path: string;
  readonly folder: string;
  readonly source: PassphraseSource;
  readonly reader: KeyReader;
  readonly workFactor: number;
};

const fileName = 'encryption-key.bin';

/** Opens nothing before the first call. */
export function createKeyFile(options: KeyFileOptions): KeyFile & KeyFileMaintenance {
  const { dataDir: folder, passphrase: source, nowMs, workFactor = workFactorDefault } = options;
  const path = join(folder, fileName);
  const reader = createKeyReader({ path, folder, source, nowMs });
  const context: KeyFileContext = { path, folder, source, reader, workFactor };
  const mutex = createMutex();
  return {
    path,
    read: () => mutex.run(() => readingOf(reader)),
    create: (keys, wrapped = null) =>
      mutex.run(() =>
        wrapped === null ? writeBareKeys(keys, (content) => writeNew(path, content)) : writeNew(path, wrapped),
      ),
    replace: (keys) => mutex.run(() => replaceKeys(context, keys)),
    setAside: (reason) => mutex.run(() => setAside(path, reason, nowMs())),
    protect: (passphrase) => mutex.run(() => protectKeys(context, passphrase)),
    unprotect: () => mutex.run(() => unprotectKeys(context)),
    copyTo: (write) => mutex.run(() => copyKeyFile(context, write)),
    keysIn: (other, content) => mutex.run(() => reader.keysOfOther(other, content)),
    placeOf: (backup) => backupPlace(backup, path),
  };
}

async function readingOf(reader: KeyReader): Promise<KeyFileReading> {
  try {
    return (await reader.read()) ?? { kind: 'absent' };
  } catch (error) {
    if (isFailure(error, 'key_file_refused', 'key_file_locked', 'disk_failed'))
      return { kind: 'refused', failure: error };
    throw error;
  }
}

async function replaceKeys(file: KeyFileContext, keys: KeySet): Promise<void> {
  const before = await takeSnapshot(file.path);
  const { wrapped } = before;
  if (wrapped === null) return await writeBareKeys(keys, (content) => overwrite(file, before, content));
  using asked = cachePassphrase(file.source);
  // Verifies the passphrase first: a new one in the source alone must not lock the keys under another than the file
  // has.
  await withPathInErrors(file.path, () => unwrapKeys(wrapped, asked.passphrase));
  await overwriteWrapped(file, before, keys, await asked.passphrase());
}

async function protectKeys(file: KeyFileContext, passphrase: SecretBytes): Promise<void> {
  const problem = passphrase.length === 0 ? null : passphraseProblem(passphrase);
  if (problem !== null) throw new Failure('usage', problem, { hint: 'Nothing was changed: choose another one.' });
  const before = await takeSnapshot(file.path);
  if (before.wrapped !== null) {
    const hint = 'To change the passphrase, remove it first: ticketmaild key unprotect';
    throw new Failure('refused', `the key file ${file.path} is protected already`, { hint });
  }
  const reading = await file.reader.read();
  if (reading === null) throw keyFileMissing(file.path);
  await overwriteWrapped(file, before, reading.keys, passphrase);
}

async function unprotectKeys(file: KeyFileContext): Promise<void> {
  const before = await takeSnapshot(file.path);
  const { wrapped } = before;
  if (before.identity === null) throw keyFileMissing(file.path);
  if (wrapped === null) throw new Failure('refused', `the key file ${file.path} is not protected by a passphrase`);
  using asked = cachePassphrase(file.source);
  const keys = await withPathInErrors(file.path, () => unwrapKeys(wrapped, asked.passphrase));
  await writeBareKeys(keys, (content) => overwrite(file, before, content));
}

/** An unprotected file must have a valid size: a copy of a broken file is no backup. */
async function copyKeyFile(file: KeyFileContext, write: (content: Uint8Array) => Promise<void>): Promise<void> {
  const found = await readSmallFile(file.path, await keyFileRules(file.folder));
  if (found?.content == null) throw keyFileMissing(file.path);
  const { content } = found;
  try {
    if (!isWrapped(content)) await withPathInErrors(file.path, async () => checkKeyFileSize(content.length));
    await write(content);
  } finally {
    content.fill(0);
  }
}

/** Renames what is at `path` to `PATH.REASON-20261124T180102Z-RANDOM`, atomically; null: nothing is there. */
function setAside(path: string, reason: string, nowMs: number): Promise<string | null> {
  const time = new Date(nowMs).toISOString().replace(/\.\d+/, '').replaceAll(/[-:]/g, '');
  // The random part keeps two processes from choosing the same name: rename(2) would overwrite.
  const target = `${path}.${reason}-${time}-${randomBytes(4).toString('hex')}`;
  return onDiskAt(path, async () => {
    try {
      await rename(path, target);
    } catch (error) {
      if (causeCode(error) === 'ENOENT') return null;
      throw error;
    }
    await syncFolder(dirname(path));
    return target;
  });
}

/** Lends the content of an unprotected key file to `write`, then wipes it. */
async function writeBareKeys(keys: KeySet, write: (content: Uint8Array) => Promise<void>): Promise<void> {
  using content = serializeKeySet(keys);
  await content.use(write);
}

async function overwriteWrapped(
  file: KeyFileContext,
  before: FileSnapshot,
  keys: KeySet,
  passphrase: SecretBytes,
): Promise<void> {
  const wrapped = await wrapKeys(keys, passphrase, file.workFactor);
  await overwrite(file, before, wrapped);
  file.reader.remember(wrapped, keys);
}

/** The file before a change. `identity` null: no file. `wrapped` null: no age file. */
type FileSnapshot = { readonly identity: string | null; readonly wrapped: Uint8Array | null };

async function overwrite({ path }: KeyFileContext, before: FileSnapshot, content: Uint8Array): Promise<void> {
  await writeOver(path, content, async () => {
    const { identity } = await takeSnapshot(path);
    if (identity === before.identity) return;
    const hint = `Nothing was written. Check the file and run the command again: ls -l ${shellArg(path)}`;
    throw new Failure('refused', `the key file ${path} was changed by another process meanwhile`, { hint });
  });
}

/** Owner and mode of a file to be overwritten do not matter; it must only be readable. */
const overwriteRules: FileRules = {
  ...backupFileRules,
  description: 'the key file',
  isLinkFollowed: false,
  isNamedByUser: false,
};

async function takeSnapshot(path: string): Promise<FileSnapshot> {
  const found = await readSmallFile(path, overwriteRules);
  if (found?.content == null) return { identity: null, wrapped: null };
  const wrapped = isWrapped(found.content) ? found.content.slice() : null;
  found.content.fill(0);
  return { identity: found.identity, wrapped };
}

function keyFileMissing(path: string): Failure {
  return new Failure('key_file_missing', `there is no key file at ${path}`);
}
