/**
 * Writes a small file so that it is there whole or not at all, and on the disk when the call resolves.
 *
 * The content goes into a temporary file beside it (mode 0600, a name that nobody guesses), which is synced and then
 * linked without overwriting anything, or renamed over what is there; then the folder is synced. Root gives it to the
 * owner of the folder, so that the service can read what a command wrote. What a crash leaves behind is removed by the
 * next writing. Errors: `already_exists`, `disk_full`, `disk_failed`.
 */

import { randomBytes } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, link, lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { causeCode, Failure, onDisk } from '../../errors.ts';
import { secretBuffer } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';

const staleAfterMs = 60_000;

/** Throws `already_exists` when there is anything at `path`, be it a link that leads nowhere. */
export async function writeNew(path: string, content: Uint8Array): Promise<void> {
  await onDiskAt(path, () =>
    writeTemporaryThen(path, content, async (temporary) => {
      try {
        await link(temporary, path);
      } catch (error) {
        if (causeCode(error) === 'EEXIST') throw existsAlreadyFailure(path, error);
        throw error;
      }
    }),
  );
}

/** Takes the place of what is at `path`. `beforeRename` may still throw: then everything stays as it was. */
export async function writeOver(
  path: string,
  content: Uint8Array,
  beforeRename: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await onDiskAt(path, () =>
    writeTemporaryThen(path, content, async (temporary) => {
      await beforeRename();
      await rename(temporary, path);
    }),
  );
}

/** A new file anywhere, also where there are no links; not atomic, so a failed one is removed again. */
export async function writeCopy(path: string, content: Uint8Array): Promise<void> {
  await onDiskAt(path, async () => {
    const file = await createFile(path);
    try {
      await using open = file;
      await open.writeFile(content);
      await open.sync();
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    await syncFolder(dirname(path));
  });
}

/** Never through a link: a new file is asked for. */
async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (error) {
    if (causeCode(error) === 'EEXIST') throw existsAlreadyFailure(path, error);
    throw error;
  }
}

export function existsAlreadyFailure(path: string, cause: unknown): Failure {
  const hint = `Look at what is there, and move it away or choose another name: ls -ld ${shellArg(path)}`;
  return new Failure('already_exists', `there is something at ${path} already`, { cause, hint });
}

async function writeTemporaryThen(
  path: string,
  content: Uint8Array,
  settle: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(16).toString('hex')}.tmp`);
  try {
    const writtenAtMs = await writeTemporary(temporary, folder, content);
    await removeStaleTemporaries(path, writtenAtMs - staleAfterMs);
    await settle(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(folder);
}

/** The time of the writing, by the clock of the disk. */
async function writeTemporary(temporary: string, folder: string, content: Uint8Array): Promise<number> {
  await using file = await open(temporary, 'wx', 0o600);
  await file.chmod(0o600);
  await giveToFolderOwner(file, folder);
  await file.writeFile(content);
  await file.sync();
  return (await file.stat()).mtimeMs;
}

async function giveToFolderOwner(file: FileHandle, folder: string): Promise<void> {
  if (ownUserId() !== 0) return;
  const { uid, gid } = await stat(folder);
  if (uid !== 0) await file.chown(uid, gid);
}

/** Temporary files for `path` that are older than `beforeMs`: whoever wrote them is gone. */
async function removeStaleTemporaries(path: string, beforeMs: number): Promise<void> {
  const folder = dirname(path);
  const start = `.${basename(path)}.`;
  const isOurs = (name: string) => name.startsWith(start) && /^[0-9a-f]{32}\.tmp$/.test(name.slice(start.length));
  for (const name of (await readdir(folder)).filter(isOurs)) {
    try {
      const stats = await lstat(join(folder, name));
      if (stats.isFile() && stats.mtimeMs < beforeMs) await rm(join(folder, name), { force: true });
    } catch (error) {
      // Another writer was faster, or it is not ours to remove; it is in nobody's way.
      if (!['ENOENT', 'EACCES', 'EPERM'].includes(causeCode(error))) throw error;
    }
  }
}

/** Makes new names in `folder` last (fsync of a folder), where the file system knows that. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (causeCode(error) !== 'EINVAL') throw error;
  }
}

/**
 * Reads a small file whole, under rules about its kind, owner, mode and size, never waiting on what is no file.
 *
 * It is judged by the open file, not by its name, so nobody can put another in its place between the look and the reading.
 * A file that changes meanwhile is read again, once. The content may be secret: it is in a buffer that the caller wipes.
 * Errors: the code of the rules for what is there, `disk_failed` for what the disk does.
 */

/** `content` null: it is the known one. The caller wipes the content. */
type SmallFile = {
  readonly identity: string;
  readonly changedAtMs: number;
  readonly content: Uint8Array<ArrayBuffer> | null;
};

/** Two equal ones: the same file, unchanged, as far as times of the disk can tell. */
export function identityOf(stats: BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = stats;
  return [dev, ino, size, mtimeNs, ctimeNs, mode, uid].join(':');
}

/** null when nothing is there. A file with the identity `known` is not read. */
export function readSmallFile(path: string, rules: FileRules, known: string | null = null): Promise<SmallFile | null> {
  return onDiskAt(path, async () => {
    for (let tries = 0; tries < 2; tries += 1) {
      await using file = await openFile(path, rules);
      if (file === null) return null;
      const found = await readOpen(file, path, rules, known);
      if (found !== null) return found;
    }
    const hint = 'It is tried again; find out what keeps writing it.';
    throw violationFailure(path, { predicate: 'changes while it is read', hint }, rules);
  });
}

/** null when it changed meanwhile. */
async function readOpen(
  file: FileHandle,
  path: string,
  rules: FileRules,
  known: string | null,
): Promise<SmallFile | null> {
  const stats = await file.stat({ bigint: true });
  const complaint = ruleViolation(path, stats, rules);
  if (complaint !== null) throw violationFailure(path, complaint, rules);
  const found = { identity: identityOf(stats), changedAtMs: Number(stats.ctimeMs) };
  if (found.identity === known) return { ...found, content: null };
  const content = await readContent(file, rules.sizeBytesMax);
  if (content.length === Number(stats.size) && (await isUnchanged(file, path, stats, rules)))
    return { ...found, content };
  content.fill(0);
  return null;
}

/** One byte more than is allowed, so that a file that grew is seen. */
async function readContent(file: FileHandle, sizeBytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = secretBuffer(sizeBytesMax + 1);
  let length = 0;
  try {
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } catch (error) {
    buffer.fill(0);
    throw error;
  }
}

async function isUnchanged(file: FileHandle, path: string, before: BigIntStats, rules: FileRules): Promise<boolean> {
  if (identityOf(await file.stat({ bigint: true })) !== identityOf(before)) return false;
  const named = await statPath(path, rules.isLinkFollowed);
  return named !== null && named.ino === before.ino && named.dev === before.dev;
}

/** What is at the path now; null for nothing, or for what cannot be looked at. */
async function statPath(path: string, isLinkFollowed: boolean): Promise<BigIntStats | null> {
  try {
    return await (isLinkFollowed ? stat(path, { bigint: true }) : lstat(path, { bigint: true }));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** Does not wait for the other end of a pipe. null when nothing is there. */
async function openFile(path: string, rules: FileRules): Promise<FileHandle | null> {
  const noFollow = rules.isLinkFollowed ? 0 : constants.O_NOFOLLOW;
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | noFollow);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    const complaint = await whyNotOpen(path, rules, causeCode(error));
    throw complaint === null ? error : violationFailure(path, complaint, rules, error);
  }
}

async function whyNotOpen(path: string, rules: FileRules, code: string): Promise<RuleViolation | null> {
  if (code === 'ELOOP') return symbolicLink(path);
  if (code === 'ENXIO') return { predicate: 'is a socket or a device', hint: `Remove it: rm ${shellArg(path)}` };
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return accessDenied(path, dirname(path), await statPath(path, rules.isLinkFollowed));
}

/**
 * What a file that holds keys, or decides about them, must be: a regular file of an owner we trust that others cannot
 * reach. Each thing that is wrong is one sentence, with the exact command that puts it right.
 *
 * Trusted are this user and root; for root also the owner of the data folder, who runs the daemon, and to whom root gives
 * the files that it writes there.
 */

export type FileRules = {
  /** As the sentence names it: `the key file`. */
  readonly description: string;
  readonly code: 'key_file_refused' | 'disk_failed';
  /** null: it may belong to anybody. The first one is whom the hint names. */
  readonly owners: readonly number[] | null;
  /** Bits of the mode that must not be set. */
  readonly forbiddenMode: number;
  readonly isLinkFollowed: boolean;
  readonly sizeBytesMax: number;
};

/** What is wrong with a file, as the end of a sentence that begins with its name. */
export type RuleViolation = { readonly predicate: string; readonly hint: string };

/** Group and others: nothing at all, as ssh asks of a private key. */
export const readableByOthers = 0o077;
export const writableByOthers = 0o022;

/** Without such numbers (not on Unix) everything is taken for root's. */
function ownUserId(): number {
  return process.geteuid?.() ?? 0;
}

/** The users whose files in `folder` are believed, first the one to whom they should belong. */
export async function trustedOwners(folder: string): Promise<readonly number[]> {
  const own = ownUserId();
  if (own !== 0) return [own, 0];
  try {
    return [(await stat(folder)).uid, 0];
  } catch (error) {
    // A folder that is not there, or cannot be looked at, is told by whoever opens the file.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return [0];
    throw error;
  }
}

/** null when the file is as the rules say. */
export function ruleViolation(path: string, stats: BigIntStats, rules: FileRules): RuleViolation | null {
  const owner = Number(stats.uid);
  const mode = Number(stats.mode) & 0o7777;
  if (!stats.isFile()) return wrongKind(path, stats);
  if (rules.owners !== null && !rules.owners.includes(owner)) return wrongOwner(path, owner, rules.owners[0] ?? 0);
  if ((mode & rules.forbiddenMode) !== 0) return wrongMode(path, mode, rules.forbiddenMode);
  if (stats.size <= rules.sizeBytesMax) return null;
  const hint = `Look at what it is: ls -l ${shellArg(path)}`;
  return { predicate: `has ${stats.size} bytes, and at most ${rules.sizeBytesMax} are read`, hint };
}

/** A symbolic link can lead anywhere, a folder holds nothing, and from a pipe or a device reading could wait for ever. */
function wrongKind(path: string, stats: BigIntStats): RuleViolation {
  const word = shellArg(path);
  if (stats.isSymbolicLink()) return symbolicLink(path);
  if (stats.isDirectory())
    return { predicate: 'is a folder', hint: `Move it away: mv ${word} ${shellArg(`${path}.aside`)}` };
  const kind = stats.isFIFO() ? 'a named pipe' : stats.isSocket() ? 'a socket' : 'a device';
  return { predicate: `is ${kind}`, hint: `Remove it: rm ${word}` };
}

/** The system says this by an error of its own when a file is opened. */
function symbolicLink(path: string): RuleViolation {
  const word = shellArg(path);
  return {
    predicate: 'is a symbolic link',
    hint: `Put the file itself there: rm ${word} && install -m 600 FILE ${word}`,
  };
}

function wrongOwner(path: string, owner: number, wanted: number): RuleViolation {
  const hint = `Give it to its user: chown ${userNameOrId(wanted)} ${shellArg(path)}`;
  const whom = wanted === 0 ? 'not root' : `neither user ${wanted} nor root`;
  return { predicate: `belongs to user ${owner}, who is ${whom}`, hint };
}

function wrongMode(path: string, mode: number, forbidden: number): RuleViolation {
  const can = (mode & forbidden & writableByOthers) === 0 ? 'read' : 'changed';
  const why = `can be ${can} by others than its owner: its mode is ${modeText(mode)}`;
  return { predicate: why, hint: `Close it: chmod 600 ${shellArg(path)}` };
}

/** Only the daemon's user is to have it: whoever else asks is told to be that user, not to take it over. */
const otherUser = 'If this user is not the one of the daemon, ask as that one, or as root. If it is:';

/** Why the system refuses to open a file that is there. `stats` null: its folder is closed as well. */
function accessDenied(path: string, folder: string, stats: BigIntStats | null): RuleViolation {
  const own = ownUserId();
  const user = userNameOrId(own);
  if (stats === null) {
    const repair = `chown ${user} ${shellArg(folder)} && chmod 700 ${shellArg(folder)}`;
    return { predicate: `lies in a folder that user ${own} cannot enter`, hint: `${otherUser} ${repair}` };
  }
  const why = `cannot be read by user ${own}: it belongs to user ${stats.uid}, with the mode ${modeText(Number(stats.mode))}`;
  const word = shellArg(path);
  const isOwn = Number(stats.uid) === own;
  return {
    predicate: why,
    hint: isOwn ? `Let its user read it: chmod 600 ${word}` : `${otherUser} chown ${user} ${word}`,
  };
}

function violationFailure(path: string, complaint: RuleViolation, rules: FileRules, cause?: unknown): Failure {
  const more = { hint: complaint.hint, ...(cause === undefined ? {} : { cause }) };
  return new Failure(rules.code, `${rules.description} ${path} ${complaint.predicate}`, more);
}

function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** The name of this user; of another one the number, which chown takes as well. */
function userNameOrId(id: number): string {
  if (id !== ownUserId()) return String(id);
  try {
    return shellArg(userInfo().username);
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (['ERR_SYSTEM_ERROR', 'ENOENT'].includes(causeCode(error))) return String(id);
    throw error;
  }
}

/** `onDisk`, with a hint on the folder of `path`. */
export async function onDiskAt<T>(path: string, task: () => Promise<T>): Promise<T> {
  const folder = shellArg(dirname(path));
  const hint = `Look at owner and mode of the folder, and at the disk: ls -ld ${folder}; df ${folder}`;
  return await onDisk(path, task, hint);
}
