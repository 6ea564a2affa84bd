/**
 * Small files that decide about security: atomic durable writes, and reads under rules about kind, owner, mode and
 * size.
 *
 * A write goes to a temporary file (mode 0600, random name) in the same folder, fsync, link(2) without overwriting or
 * rename(2), then fsync of the folder. Root writes into a folder of root alone: a command has become the owner of the
 * data folder by then. The next write removes temporary files that a crash left. A read judges the open file, not its
 * name, so nothing can be exchanged between check and read, and never blocks on a pipe. Errors: the code of the rules,
 * `already_exists`, `disk_full`, `disk_failed`, `refused`.
 */
import { randomBytes } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, link, lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { secretBuffer } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';
import { onDisk } from '../process/disk-errors.ts';

// Writing.

const staleAfterMs = 60_000;

/** Writes a new file. Throws `already_exists` for anything at `path`, a dangling link too. */
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

/** Replaces what is at `path`. When `beforeRename` throws, nothing is changed. */
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

function existsAlreadyFailure(path: string, cause: unknown): Failure {
  const hint = `Check what it is, and move it away or choose another name: ls -ld ${shellArg(path)}`;
  return new Failure('already_exists', `${path} exists already`, { cause, hint });
}

async function writeTemporaryThen(
  path: string,
  content: Uint8Array,
  settle: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(16).toString('hex')}.tmp`);
  await refuseFolderOfAnother(folder);
  try {
    const writtenAtMs = await writeTemporary(temporary, content);
    await removeStaleTemporaries(path, writtenAtMs - staleAfterMs);
    await settle(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(folder);
}

/** Returns the modification time, by the clock of the file system. */
async function writeTemporary(temporary: string, content: Uint8Array): Promise<number> {
  await using file = await open(temporary, 'wx', 0o600);
  await file.chmod(0o600);
  await file.writeFile(content);
  await file.sync();
  return (await file.stat()).mtimeMs;
}

/** Root is still root where the data folder was root's: one of another user has taken its place since. */
async function refuseFolderOfAnother(folder: string): Promise<void> {
  if (ownUserId() !== 0) return;
  const { uid } = await stat(folder);
  if (uid === 0) return;
  const hint = `Find out who exchanged it: ls -ld ${shellArg(folder)}`;
  throw new Failure('refused', `${folder} belongs to user ${uid}: root writes nothing there`, { hint });
}

/** Removes temporary files for `path` older than `beforeMs`: their writers have died. */
async function removeStaleTemporaries(path: string, beforeMs: number): Promise<void> {
  const folder = dirname(path);
  const start = `.${basename(path)}.`;
  const isTemporary = (name: string) => name.startsWith(start) && /^[0-9a-f]{32}\.tmp$/.test(name.slice(start.length));
  for (const name of (await readdir(folder)).filter(isTemporary)) {
    try {
      const stats = await lstat(join(folder, name));
      if (stats.isFile() && stats.mtimeMs < beforeMs) await rm(join(folder, name), { force: true });
    } catch (error) {
      // Removed by another writer, or owned by another user: harmless.
      if (!['ENOENT', 'EACCES', 'EPERM'].includes(causeCode(error))) throw error;
    }
  }
}

/** fsync of a folder: makes new names durable, where the file system supports it. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (causeCode(error) !== 'EINVAL') throw error;
  }
}

/** `onDisk`, with a hint about the folder of `path`. */
export async function onDiskAt<T>(path: string, task: () => Promise<T>): Promise<T> {
  const folder = shellArg(dirname(path));
  const hint = `Check owner and mode of the folder, and the free space: ls -ld ${folder}; df ${folder}`;
  return await onDisk(path, task, hint);
}

// Reading.

/** `content` null: unchanged since the known identity. The caller wipes the content. */
type SmallFile = {
  readonly identity: string;
  readonly changedAtMs: number;
  readonly content: Uint8Array<ArrayBuffer> | null;
};

/**
 * null: no file. A file with the identity `known` is not read. A file that changes during the read is read once more.
 */
export function readSmallFile(path: string, rules: FileRules, known: string | null = null): Promise<SmallFile | null> {
  return onDiskAt(path, async () => {
    for (let tries = 0; tries < 2; tries += 1) {
      await using file = await openFile(path, rules);
      if (file === null) return null;
      const found = await readOpen(file, path, rules, known);
      if (found !== null) return found;
    }
    const hint = 'The read is repeated; find the process that writes it.';
    throw violationFailure(path, { predicate: 'changes while it is read', hint }, rules);
  });
}

/** null: it changed meanwhile. */
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

/** Reads one byte more than allowed, to detect a file that grew. */
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

/** Equal identities: the same file, unchanged as far as timestamps can tell. */
function identityOf(stats: BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = stats;
  return [dev, ino, size, mtimeNs, ctimeNs, mode, uid].join(':');
}

/** stat of the path; null: nothing there, or not accessible. */
async function statPath(path: string, isLinkFollowed: boolean): Promise<BigIntStats | null> {
  try {
    return await (isLinkFollowed ? stat(path, { bigint: true }) : lstat(path, { bigint: true }));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** null: no file. O_NONBLOCK: does not wait for the other end of a pipe. */
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
  if (code === 'ELOOP') return rules.isLinkFollowed ? linkLoop(path) : symbolicLink(path);
  if (code === 'ENXIO') return wrongKind(path, 'a socket or a device', rules);
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return accessDenied(path, dirname(path), await statPath(path, rules.isLinkFollowed));
}

// Rules.

export type FileRules = {
  /** For error messages: `the key file`. */
  readonly description: string;
  readonly code: 'key_file_refused' | 'disk_failed';
  /** Trusted users; the hint names the first. null: any. */
  readonly owners: readonly number[] | null;
  /** Mode bits that must not be set. */
  readonly forbiddenMode: number;
  readonly isLinkFollowed: boolean;
  /** The user named the path, perhaps by mistake: no hint removes or moves what is there. */
  readonly isNamedByUser?: boolean;
  readonly sizeBytesMax: number;
};

/**
 * A violated rule. `predicate` continues a sentence that begins with the file; `hint` contains the repairing command.
 */
export type RuleViolation = { readonly predicate: string; readonly hint: string };

/** No access for group and others, as ssh requires for a private key. */
export const readableByOthers = 0o077;
export const writableByOthers = 0o022;

/** Platforms without user ids: 0 (root). */
function ownUserId(): number {
  return process.geteuid?.() ?? 0;
}

/**
 * Users whose files in `folder` are trusted: this user and root; for root, the owner of the folder (the service) and
 * root.
 */
export async function trustedOwners(folder: string): Promise<readonly number[]> {
  const own = ownUserId();
  if (own !== 0) return [own, 0];
  try {
    return [(await stat(folder)).uid, 0];
  } catch (error) {
    // A missing or inaccessible folder is reported when the file is opened.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return [0];
    throw error;
  }
}

/** The first violated rule; null: none. */
export function ruleViolation(path: string, stats: BigIntStats, rules: FileRules): RuleViolation | null {
  const owner = Number(stats.uid);
  const mode = Number(stats.mode) & 0o7777;
  if (stats.isSymbolicLink()) return symbolicLink(path);
  if (!stats.isFile()) return wrongKind(path, kindOf(stats), rules);
  if (rules.owners !== null && !rules.owners.includes(owner)) return wrongOwner(path, owner, rules.owners[0] ?? 0);
  if ((mode & rules.forbiddenMode) !== 0) return wrongMode(path, mode, rules.forbiddenMode);
  if (stats.size <= rules.sizeBytesMax) return null;
  const hint = `Check what it is: ls -l ${shellArg(path)}`;
  return { predicate: `has ${stats.size} bytes; at most ${rules.sizeBytesMax} are allowed`, hint };
}

function kindOf(stats: BigIntStats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a named pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

/** A read from a pipe or device could block forever. */
function wrongKind(path: string, kind: string, { isNamedByUser = false }: FileRules): RuleViolation {
  const word = shellArg(path);
  const removal =
    kind === 'a folder' ? `Move it away: mv ${word} ${shellArg(`${path}.aside`)}` : `Remove it: rm ${word}`;
  const hint = isNamedByUser ? `Give the path of a regular file. To see what is there: ls -la ${word}` : removal;
  return { predicate: `is ${kind}`, hint };
}

/** ELOOP although links are followed. */
function linkLoop(path: string): RuleViolation {
  return { predicate: 'is a symbolic link that leads to itself', hint: `Check the path: ls -l ${shellArg(path)}` };
}

/** It could lead anywhere. Also for ELOOP, the error of open(2) with O_NOFOLLOW. */
function symbolicLink(path: string): RuleViolation {
  const word = shellArg(path);
  return {
    predicate: 'is a symbolic link',
    hint: `Put the file itself there: rm ${word} && install -m 600 FILE ${word}`,
  };
}

function wrongOwner(path: string, owner: number, wanted: number): RuleViolation {
  const hint = `Change its owner: chown ${userNameOrId(wanted)} ${shellArg(path)}`;
  const whom = wanted === 0 ? 'not root' : `neither user ${wanted} nor root`;
  return { predicate: `belongs to user ${owner}, who is ${whom}`, hint };
}

function wrongMode(path: string, mode: number, forbidden: number): RuleViolation {
  const can = (mode & forbidden & writableByOthers) === 0 ? 'read' : 'changed';
  const why = `can be ${can} by others than its owner: its mode is ${modeText(mode)}`;
  return { predicate: why, hint: `Close it: chmod 600 ${shellArg(path)}` };
}

/** Only the user of the daemon shall own it: another user is advised to become that user, not to take it over. */
const otherUser = 'Run the command as the user of the daemon, or as root. If this is that user:';

/** Access to an existing file is denied. `stats` null: its folder is not accessible either. */
function accessDenied(path: string, folder: string, stats: BigIntStats | null): RuleViolation {
  const own = ownUserId();
  const user = userNameOrId(own);
  if (stats === null) {
    const repair = `chown ${user} ${shellArg(folder)} && chmod 700 ${shellArg(folder)}`;
    return { predicate: `lies in a folder that user ${own} cannot enter`, hint: `${otherUser} ${repair}` };
  }
  const why = `cannot be read by user ${own}: it belongs to user ${stats.uid}, mode ${modeText(Number(stats.mode))}`;
  const word = shellArg(path);
  const isOwn = Number(stats.uid) === own;
  return {
    predicate: why,
    hint: isOwn ? `Make it readable for its owner: chmod 600 ${word}` : `${otherUser} chown ${user} ${word}`,
  };
}

function violationFailure(path: string, complaint: RuleViolation, rules: FileRules, cause?: unknown): Failure {
  const more = { hint: complaint.hint, ...(cause === undefined ? {} : { cause }) };
  return new Failure(rules.code, `${rules.description} ${path} ${complaint.predicate}`, more);
}

function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** Name of this user; for another user the number, which chown accepts too. */
function userNameOrId(id: number): string {
  if (id !== ownUserId()) return String(id);
  try {
    return shellArg(userInfo().username);
  } catch (error) {
    // No passwd entry, as in many containers.
    if (['ERR_SYSTEM_ERROR', 'ENOENT'].includes(causeCode(error))) return String(id);
    throw error;
  }
}
