/**
 * Key file `encryption-key.bin` in the data folder: raw keys, or the same keys protected by a passphrase (age).
 *
 * Refuses a file that others can read or could have put there: a link, a folder, a pipe, another owner, an open mode.
 * Writes are atomic and retain the passphrase protection. A mutex serializes the operations of one object; two
 * processes are serialized by link(2) and rename(2), and a file that changes during an operation is left as it is.
 * Errors: `key_file_missing`, `key_file_refused`, `key_file_locked`, `already_exists`, `refused`, `disk_full`,
 * `disk_failed`.
 */
import { join } from 'node:path';
import { createMutex } from '../../async/mutex.ts';
import type { KeyFile, KeyFileReading } from '../../encryption/ports.ts';
import { Failure, isFailure } from '../../errors.ts';
import { type KeyId, keyIds } from '../../secret/key.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';
import { type PassphraseSource, workFactorDefault } from './age.ts';
import { backupFileRules, createKeyReader, type KeyReader } from './reader.ts';
import { readSmallFile, writeNew } from './small-file.ts';
import {
  copyKeyFile,
  type KeyFileContext,
  protectKeys,
  replaceKeys,
  setAside,
  unprotectKeys,
  writeBareKeys,
} from './writer.ts';

/** Maintenance operations of the `key` commands. */
export type KeyFileMaintenance = {
  /** Protects the keys with `passphrase`, which it borrows. Throws `refused` when they are protected already. */
  protect(passphrase: SecretBytes): Promise<void>;
  /** Removes the protection, with the passphrase of the source. Throws `refused` for an unprotected file. */
  unprotect(): Promise<void>;
  /** Copies the file byte by byte to a new file (mode 0600) anywhere. Throws `already_exists`. */
  copyTo(path: string): Promise<void>;
  /**
   * Key ids in another file, such as a backup, of any owner. Throws `not_found`, `key_file_refused`, `key_file_locked`.
   */
  idsIn(path: string): Promise<readonly KeyId[]>;
};

export type KeyFileOptions = {
  readonly dataDir: string;
  /** Asked only when a protected file is opened or written. */
  readonly passphrase: PassphraseSource;
  readonly nowMs: () => number;
  /** Base-2 logarithm of scrypt's N for a new passphrase. */
  readonly workFactor?: number;
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
    copyTo: (target) => mutex.run(() => copyKeyFile(context, target)),
    idsIn: (other) => mutex.run(() => idsIn(other, reader)),
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

async function idsIn(path: string, reader: KeyReader): Promise<readonly KeyId[]> {
  const found = await readSmallFile(path, backupFileRules);
  if (found?.content == null) {
    throw new Failure('not_found', `there is no file at ${path}`, { hint: `Check the path: ls -l ${shellArg(path)}` });
  }
  return keyIds(await reader.keysOfOther(path, found.content));
}
