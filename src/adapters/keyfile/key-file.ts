/**
 * The key file, `encryption-key.bin` in the data folder: keys as they are, or protected by a passphrase as an age file.
 *
 * Refused is whatever others could read or put there: a link, a folder, a pipe, another owner, an open mode. Writing is
 * atomic and never ends the protection of a file by itself. One thing at a time is done with it by each object; two
 * processes meet at the link and the rename, and a file that changed under a change is left alone (`refused`). Errors:
 * `key_file_missing`, `key_file_refused`, `key_file_locked`, `already_exists`, `refused`, `disk_full`, `disk_failed`.
 */
import { join } from 'node:path';
import { createMutex } from '../../async/mutex.ts';
import type { KeyFile, KeyFileReading } from '../../encryption/ports.ts';
import { Failure, isFailure } from '../../errors.ts';
import { type KeyId, keyIds } from '../../secret/key.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';
import type { PassphraseSource } from './age.ts';
import { workFactorDefault } from './age.ts';
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

/** What commands do with the key file beside. */
export type KeyFileMaintenance = {
  /** Wraps the keys in the file with `passphrase`, which is only lent. Throws `refused` when they are wrapped already. */
  protect(passphrase: SecretBytes): Promise<void>;
  /** Takes the protection off, with the passphrase of the source. Throws `refused` when there is none. */
  unprotect(): Promise<void>;
  /** The file as it is, in a new file (mode 0600) anywhere. Throws `already_exists`. */
  copyTo(path: string): Promise<void>;
  /** Of another file, such as a backup, whoever owns it. Throws `not_found`, `key_file_refused`, `key_file_locked`. */
  idsIn(path: string): Promise<readonly KeyId[]>;
};

export type KeyFileOptions = {
  readonly dataDir: string;
  /** Asked only when a wrapped file is to be opened or written. */
  readonly passphrase: PassphraseSource;
  readonly nowMs: () => number;
  /** The base-2 logarithm of the cost of a passphrase. */
  readonly workFactor?: number;
};

const fileName = 'encryption-key.bin';

/** Nothing is opened before the first call. */
export function createKeyFile(options: KeyFileOptions): KeyFile & KeyFileMaintenance {
  const { dataDir: folder, passphrase: source, nowMs, workFactor = workFactorDefault } = options;
  const path = join(folder, fileName);
  const reader = createKeyReader({ path, folder, source, nowMs });
  const place: KeyFileContext = { path, folder, source, reader, workFactor };
  const mutex = createMutex();
  return {
    path,
    read: () => mutex.run(() => readingOf(reader)),
    create: (keys, wrapped = null) =>
      mutex.run(() =>
        wrapped === null ? writeBareKeys(keys, (content) => writeNew(path, content)) : writeNew(path, wrapped),
      ),
    replace: (keys) => mutex.run(() => replaceKeys(place, keys)),
    setAside: (reason) => mutex.run(() => setAside(path, reason, nowMs())),
    protect: (passphrase) => mutex.run(() => protectKeys(place, passphrase)),
    unprotect: () => mutex.run(() => unprotectKeys(place)),
    copyTo: (target) => mutex.run(() => copyKeyFile(place, target)),
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
    throw new Failure('not_found', `there is no file at ${path}`, { hint: `Look for it: ls -l ${shellArg(path)}` });
  }
  return keyIds(await reader.keysOfOther(path, found.content));
}
