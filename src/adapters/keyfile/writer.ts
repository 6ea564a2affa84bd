/**
 * Changes of the key file that look at what is there first: replacing its keys, protecting them, taking that off, copying.
 *
 * A file that another process changed while the passphrase was worked on is never overwritten: that is `refused`, and
 * nothing is lost. Errors: `key_file_missing`, `key_file_refused`, `key_file_locked`, `already_exists`, `disk_*`.
 */

import { link, lstat, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { checkKeyFileSize, type KeySet, serializeKeySet } from '../../secret/key.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';
import { cachePassphrase, isWrapped, type PassphraseSource, unwrapKeys, wrapKeys } from './age.ts';
import { backupFileRules, type KeyReader, keyFileRules, withPathInErrors } from './reader.ts';
import {
  existsAlreadyFailure,
  type FileRules,
  onDiskAt,
  readSmallFile,
  syncFolder,
  writeCopy,
  writeOver,
} from './small-file.ts';

export type KeyFileContext = {
  readonly path: string;
  readonly folder: string;
  readonly source: PassphraseSource;
  readonly reader: KeyReader;
  readonly workFactor: number;
};

/** What is at the path before a change. `identity` null: nothing. `wrapped` null: no age file. */
type FileSnapshot = { readonly identity: string | null; readonly wrapped: Uint8Array | null };

/** Owner and mode do not matter for what is to be overwritten; it must only be possible to look at it. */
const overwriteRules: FileRules = { ...backupFileRules, description: 'the key file', isLinkFollowed: false };

async function takeSnapshot(path: string): Promise<FileSnapshot> {
  const found = await readSmallFile(path, overwriteRules);
  if (found?.content == null) return { identity: null, wrapped: null };
  const wrapped = isWrapped(found.content) ? found.content.slice() : null;
  found.content.fill(0);
  return { identity: found.identity, wrapped };
}

/** Lends the content of a plain key file to `write`, and wipes it. */
export async function writeBareKeys(keys: KeySet, write: (content: Uint8Array) => Promise<void>): Promise<void> {
  using content = serializeKeySet(keys);
  await content.use(write);
}

/** What is protected by a passphrase stays so, by the same one. */
export async function replaceKeys(place: KeyFileContext, keys: KeySet): Promise<void> {
  const before = await takeSnapshot(place.path);
  const { wrapped } = before;
  if (wrapped === null) return await writeBareKeys(keys, (content) => overwrite(place, before, content));
  using asked = cachePassphrase(place.source);
  // Who changed the passphrase of the source alone must not lose the keys that the old one protects.
  await withPathInErrors(place.path, () => unwrapKeys(wrapped, asked.passphrase));
  await overwriteWrapped(place, before, keys, await asked.passphrase());
}

/** `passphrase` is only lent. */
export async function protectKeys(place: KeyFileContext, passphrase: SecretBytes): Promise<void> {
  const before = await takeSnapshot(place.path);
  if (before.wrapped !== null) {
    const hint = 'For another passphrase take the one off first: ticketmaild key unprotect.';
    throw new Failure('refused', `the key file ${place.path} is protected already`, { hint });
  }
  const reading = await place.reader.read();
  if (reading === null) throw keyFileMissing(place.path);
  await overwriteWrapped(place, before, reading.keys, passphrase);
}

export async function unprotectKeys(place: KeyFileContext): Promise<void> {
  const before = await takeSnapshot(place.path);
  const { wrapped } = before;
  if (before.identity === null) throw keyFileMissing(place.path);
  if (wrapped === null) throw new Failure('refused', `the key file ${place.path} is not protected by a passphrase`);
  using asked = cachePassphrase(place.source);
  const keys = await withPathInErrors(place.path, () => unwrapKeys(wrapped, asked.passphrase));
  await writeBareKeys(keys, (content) => overwrite(place, before, content));
}

/** A copy of what could not be used would be no backup: a plain file must at least have the size of one. */
export async function copyKeyFile(place: KeyFileContext, target: string): Promise<void> {
  const found = await readSmallFile(place.path, await keyFileRules(place.folder));
  if (found?.content == null) throw keyFileMissing(place.path);
  const { content } = found;
  try {
    if (!isWrapped(content)) await withPathInErrors(place.path, async () => checkKeyFileSize(content.length));
    await writeCopy(target, content);
  } finally {
    content.fill(0);
  }
}

async function overwriteWrapped(
  place: KeyFileContext,
  before: FileSnapshot,
  keys: KeySet,
  passphrase: SecretBytes,
): Promise<void> {
  const wrapped = await wrapKeys(keys, passphrase, place.workFactor);
  await overwrite(place, before, wrapped);
  place.reader.remember(wrapped, keys);
}

async function overwrite({ path }: KeyFileContext, before: FileSnapshot, content: Uint8Array): Promise<void> {
  await writeOver(path, content, async () => {
    const { identity } = await takeSnapshot(path);
    if (identity === before.identity) return;
    const hint = `Nothing was written. Look at it and run the command again: ls -l ${shellArg(path)}`;
    throw new Failure('refused', `the key file ${path} changed while it was worked on`, { hint });
  });
}

function keyFileMissing(path: string): Failure {
  return new Failure('key_file_missing', `there is no key file at ${path}`);
}

/**
 * Renames whatever is at a path to a name that says why and when, overwriting nothing. One that was cut off between its
 * new name and the end of its old one is ended, not begun anew.
 */

const triesMax = 1000;

/** `PATH.REASON-20261124T180102Z`, with -2, -3 … when that is taken; null when nothing is at `path`. */
export function setAside(path: string, reason: string, nowMs: number): Promise<string | null> {
  return onDiskAt(path, async () => {
    const begun = await interruptedRename(path, reason);
    if (begun !== null) {
      await unlinkLinked(path, begun);
      await syncFolder(dirname(path));
      return begun;
    }
    const time = new Date(nowMs).toISOString().replace(/\.\d+/, '').replaceAll(/[-:]/g, '');
    const first = `${path}.${reason}-${time}`;
    for (let number = 1; number <= triesMax; number += 1) {
      const target = number === 1 ? first : `${first}-${number}`;
      const answer = await moveTo(path, target);
      if (answer === 'taken') continue;
      if (answer === 'nothing') return null;
      await syncFolder(dirname(path));
      return target;
    }
    throw existsAlreadyFailure(first, undefined);
  });
}

/** The other name that this very file has already; null when it has none. */
async function interruptedRename(path: string, reason: string): Promise<string | null> {
  try {
    const { ino, dev, nlink } = await lstat(path, { bigint: true });
    if (nlink < 2n) return null;
    const names = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}.${reason}-`));
    for (const name of names) {
      const other = await lstat(join(dirname(path), name), { bigint: true });
      if (other.ino === ino && other.dev === dev) return join(dirname(path), name);
    }
    return null;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

type Moved = 'moved' | 'taken' | 'nothing';

async function moveTo(path: string, target: string): Promise<Moved> {
  try {
    if (!(await lstat(path)).isFile()) return await renameTo(path, target);
    await link(path, target);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return 'nothing';
    if (code === 'EEXIST') return 'taken';
    // A file of another user may not be linked, and some file systems have no links.
    if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) return renameTo(path, target);
    throw error;
  }
  await unlinkLinked(path, target);
  return 'moved';
}

/** Another file may have come to the path meanwhile: that one stays. */
async function unlinkLinked(path: string, target: string): Promise<void> {
  try {
    const [left, kept] = [await lstat(path, { bigint: true }), await lstat(target, { bigint: true })];
    if (left.dev === kept.dev && left.ino === kept.ino) await unlink(path);
  } catch (error) {
    if (causeCode(error) !== 'ENOENT') throw error;
  }
}

/** For what cannot be linked: a folder, a symbolic link. */
async function renameTo(path: string, target: string): Promise<Moved> {
  try {
    await lstat(target);
    return 'taken';
  } catch (error) {
    if (causeCode(error) !== 'ENOENT') throw error;
  }
  await rename(path, target);
  return 'moved';
}
