/**
 * Fixtures of the key file tests: key files, passphrases, failures; failures are searched for every secret made here.
 */

import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { readKeyBackup } from '../../../src/adapters/keyfile/backup.ts';
import { createKeyFile, type KeyFileMaintenance, type KeyFileOptions } from '../../../src/adapters/keyfile/key-file.ts';
import { createNewFile } from '../../../src/adapters/process/new-file.ts';
import type { KeyFile, KeyFileReading } from '../../../src/encryption/ports.ts';
import type { Failure } from '../../../src/errors.ts';
import { generateKey, type KeySet, keyIds, serializeKeySet } from '../../../src/secret/key.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { failureOf as anyFailureOf } from '../../support/promises.ts';

/** The lowest that is accepted. */
export const testWorkFactor = 14;

const secrets = new Set<string>();

export function passphraseOf(text: string): SecretBytes {
  if (text !== '') secrets.add(text);
  return SecretBytes.take(Buffer.from(text));
}

export function freshKeys(count = 1): KeySet {
  const keys = Array.from({ length: count }, () => generateKey((bytes) => randomFillSync(bytes)));
  for (const key of keys) {
    const bytes = key.object.export();
    for (const form of ['hex', 'base64', 'latin1'] as const) secrets.add(bytes.toString(form));
    // As Node shows a buffer, and an array of bytes.
    secrets.add(bytes.toString('hex').replaceAll(/(..)(?!$)/g, '$1 '));
    secrets.add([...bytes].slice(0, 8).join(', '));
  }
  return keys;
}

/** The bytes of a plain key file. */
export function contentOf(keys: KeySet): Buffer {
  return serializeKeySet(keys).use((bytes) => Buffer.from(bytes));
}

export type TestKeyFile = KeyFile & KeyFileMaintenance & { asked: number; given: SecretBytes[] };

/** `passphrase` is what the source gives; a function is asked each time. */
export function keyFileIn(
  dataDir: string,
  options: Partial<KeyFileOptions> & { readonly says?: string | null | (() => string | null) } = {},
): TestKeyFile {
  const { says = null, ...more } = options;
  const source = async (): Promise<SecretBytes | null> => {
    file.asked += 1;
    const text = typeof says === 'function' ? says() : says;
    if (text === null) return null;
    const passphrase = passphraseOf(text);
    file.given.push(passphrase);
    return passphrase;
  };
  const made = createKeyFile({
    dataDir,
    passphrase: source,
    nowMs: Date.now,
    workFactor: testWorkFactor,
    ...more,
  });
  const file: TestKeyFile = Object.assign(made, { asked: 0, given: [] });
  return file;
}

export function pathIn(dataDir: string): string {
  return join(dataDir, 'encryption-key.bin');
}

/** The ids of the keys that are read, or what else there is: `absent`, or the code of the failure. */
export function said(reading: KeyFileReading): readonly string[] | string {
  if (reading.kind === 'keys') return keyIds(reading.keys);
  if (reading.kind === 'absent') return 'absent';
  return holdsNoSecret(reading.failure).code;
}

/** The failure of a reading that is refused. */
export function failureIn(reading: KeyFileReading): Failure {
  if (reading.kind !== 'refused') throw new Error(`the reading is not refused: ${reading.kind}`);
  return holdsNoSecret(reading.failure);
}

/** The failure of `task`, which shows no secret. */
export async function failureOf(task: Promise<unknown>): Promise<Failure> {
  return holdsNoSecret(await anyFailureOf(task));
}

function holdsNoSecret(failure: Failure): Failure {
  const all = inspect(failure, { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null });
  const texts = `${all} ${JSON.stringify(failure)} ${failure.message} ${failure.hint}`;
  for (const secret of secrets)
    if (texts.includes(secret)) throw new Error(`a failure shows a secret: ${failure.code}`);
  return failure;
}

/** Resolves after `timeMs`. */
export const pause = (timeMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, timeMs));

/** Copies the key file as `key backup` does. */
export async function copyTo(keyFile: TestKeyFile, path: string): Promise<void> {
  await using copy = await createNewFile(path);
  await keyFile.copyTo(copy.write);
}

/** The keys of a copy, as `key verify` reads them. */
export async function keysIn(keyFile: TestKeyFile, path: string): Promise<KeySet> {
  return await keyFile.keysIn(path, (await readKeyBackup(path)).content);
}
