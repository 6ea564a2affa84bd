/**
 * Cached reader of the key file: an unchanged file costs one stat, and a wrapped one is unwrapped once.
 *
 * The cache of unwrapped keys is keyed by content: name, owner and times do not matter. A wrong passphrase is tried
 * again after five seconds at the earliest. Errors: `key_file_refused`, `key_file_locked`, `disk_failed`; messages name
 * the file, never its content.
 */

import type { KeyFileReading } from '../../encryption/ports.ts';
import { Failure, isFailure } from '../../errors.ts';
import { type KeySet, parseKeySet } from '../../secret/key.ts';
import { shellArg } from '../../text/shell.ts';
import { cachePassphrase, isWrapped, type PassphraseSource, unwrapKeys, wrappedBytesMax } from './age.ts';
import { type FileRules, onDiskAt, readableByOthers, readSmallFile, trustedOwners } from './small-file.ts';

type KeysReading = Extract<KeyFileReading, { kind: 'keys' }>;

export type KeyReader = {
  /** null: no key file. Throws why the file cannot be used. */
  read(): Promise<KeysReading | null>;
  /** The keys in `content` (wiped) of another file, at `path`, without caching them. */
  keysOfOther(path: string, content: Uint8Array): Promise<KeySet>;
  /** Caches the keys of a file that was just written. */
  remember(wrapped: Uint8Array, keys: KeySet): void;
};

type UnwrappedKeys = { readonly wrapped: Uint8Array; readonly keys: KeySet };
type FailedUnwrap = { readonly wrapped: Uint8Array; readonly failure: Failure; readonly atMs: number };

const passphraseRetryMs = 5000;
/** File timestamps are coarse: two changes within this time may have the same one. */
const timestampGranularityMs = 2000;

/** The key file itself: a trusted owner, no access for others, no link. */
export async function keyFileRules(folder: string): Promise<FileRules> {
  return {
    description: 'the key file',
    code: 'key_file_refused',
    owners: await onDiskAt(folder, () => trustedOwners(folder)),
    forbiddenMode: readableByOthers,
    isLinkFollowed: false,
    sizeBytesMax: wrappedBytesMax,
  };
}

/** A backup copy, anywhere. */
export const backupFileRules: FileRules = {
  description: 'the file',
  code: 'key_file_refused',
  owners: null,
  forbiddenMode: 0,
  isLinkFollowed: true,
  isNamedByUser: true,
  sizeBytesMax: wrappedBytesMax,
};

/** `path` is in `folder`. `source` is asked for the passphrase when a wrapped file is opened. */
export function createKeyReader(options: {
  readonly path: string;
  readonly folder: string;
  readonly source: PassphraseSource;
  readonly nowMs: () => number;
}): KeyReader {
  const { path, folder, source, nowMs } = options;
  const opener = createUnwrapCache(source, nowMs);
  let last: { readonly identity: string; readonly isSettled: boolean; readonly reading: KeysReading } | null = null;
  const readContent = async (content: Uint8Array): Promise<KeysReading> => {
    if (!isWrapped(content)) return { kind: 'keys', keys: bareKeys(path, content), wrapped: null };
    const wrapped = content.slice();
    return { kind: 'keys', keys: await opener.open(wrapped), wrapped };
  };
  const read = async (): Promise<KeysReading | null> => {
    const atMs = nowMs();
    const known = last?.isSettled === true ? last.identity : null;
    const found = await readSmallFile(path, await keyFileRules(folder), known);
    if (found === null) {
      last = null;
      opener.forget();
      return null;
    }
    if (found.content === null && last !== null) return last.reading;
    const reading = await withPathInErrors(path, () => readContent(found.content ?? new Uint8Array(0)));
    last = { identity: found.identity, isSettled: atMs - found.changedAtMs > timestampGranularityMs, reading };
    return reading;
  };
  const keysOfOther = (from: string, content: Uint8Array): Promise<KeySet> =>
    withPathInErrors(from, async () => {
      if (!isWrapped(content)) return bareKeys(from, content);
      using asked = cachePassphrase(source);
      return opener.known(content) ?? (await unwrapKeys(content, asked.passphrase));
    });
  return { read, keysOfOther, remember: opener.remember };
}

type UnwrapCache = {
  known(wrapped: Uint8Array): KeySet | null;
  open(wrapped: Uint8Array): Promise<KeySet>;
  remember(wrapped: Uint8Array, keys: KeySet): void;
  forget(): void;
};

function createUnwrapCache(source: PassphraseSource, nowMs: () => number): UnwrapCache {
  let opened: UnwrappedKeys | null = null;
  let failed: FailedUnwrap | null = null;
  const known = (wrapped: Uint8Array): KeySet | null =>
    opened !== null && isSame(opened.wrapped, wrapped) ? opened.keys : null;
  const open = async (wrapped: Uint8Array): Promise<KeySet> => {
    const before = known(wrapped);
    if (before !== null) return before;
    if (failed !== null && isSame(failed.wrapped, wrapped) && isRecent(nowMs() - failed.atMs)) throw failed.failure;
    using asked = cachePassphrase(source);
    try {
      const keys = await unwrapKeys(wrapped, asked.passphrase);
      opened = { wrapped, keys };
      return keys;
    } catch (error) {
      // Without a passphrase no time was spent, and one may be provided at any moment.
      if (asked.isGiven && isFailure(error)) failed = { wrapped, failure: error, atMs: nowMs() };
      throw error;
    }
  };
  const remember = (wrapped: Uint8Array, keys: KeySet): void => {
    opened = { wrapped, keys };
  };
  const forget = (): void => {
    opened = null;
    failed = null;
  };
  return { known, open, remember, forget };
}

/** False when the clock was set back. */
function isRecent(ageMs: number): boolean {
  return ageMs >= 0 && ageMs < passphraseRetryMs;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Runs `task`, and puts `path` in front of its key file errors. */
export async function withPathInErrors<T>(path: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!isFailure(error, 'key_file_refused', 'key_file_locked')) throw error;
    throw new Failure(error.code, `${path}: ${error.message}`, { hint: error.hint });
  }
}

/** Parses an unprotected key file; wipes `content`. */
function bareKeys(path: string, content: Uint8Array): KeySet {
  try {
    return parseKeySet(content);
  } catch (error) {
    if (!isFailure(error, 'key_file_refused')) throw error;
    const hint = `Restore it from its backup: install -m 600 BACKUP ${shellArg(path)}`;
    throw new Failure(error.code, error.message, { hint });
  }
}
