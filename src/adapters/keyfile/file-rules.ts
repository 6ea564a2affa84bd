/**
 * What a file that holds keys, or decides about them, must be: a regular file of an owner we trust that others cannot
 * reach. Each thing that is wrong is one sentence, with the exact command that puts it right.
 *
 * Trusted are this user and root; for root also the owner of the data folder, who runs the daemon, and to whom root gives
 * the files that it writes there.
 */
import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { causeCode, Failure } from '../../errors.ts';

export type FileRules = {
  /** As the sentence names it: `the key file`. */
  readonly what: string;
  readonly code: 'key_file_refused' | 'disk_failed';
  /** null: it may belong to anybody. The first one is whom the hint names. */
  readonly owners: readonly number[] | null;
  /** Bits of the mode that must not be set. */
  readonly forbiddenMode: number;
  readonly isLinkFollowed: boolean;
  readonly sizeBytesMax: number;
};

/** What is wrong with a file, as the end of a sentence that begins with its name. */
export type Complaint = { readonly why: string; readonly hint: string };

/** Group and others: nothing at all, as ssh asks of a private key. */
export const readableByOthers = 0o077;
export const writableByOthers = 0o022;

/** Without such numbers (not on Unix) everything is taken for root's. */
export function ownUserId(): number {
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
export function complaintAbout(path: string, stats: BigIntStats, rules: FileRules): Complaint | null {
  const owner = Number(stats.uid);
  const mode = Number(stats.mode) & 0o7777;
  if (!stats.isFile()) return wrongKind(path, stats);
  if (rules.owners !== null && !rules.owners.includes(owner)) return wrongOwner(path, owner, rules.owners[0] ?? 0);
  if ((mode & rules.forbiddenMode) !== 0) return wrongMode(path, mode, rules.forbiddenMode);
  if (stats.size <= rules.sizeBytesMax) return null;
  const hint = `Look at what it is: ls -l ${shellWord(path)}`;
  return { why: `has ${stats.size} bytes, and at most ${rules.sizeBytesMax} are read`, hint };
}

/** A symbolic link can lead anywhere, a folder holds nothing, and from a pipe or a device reading could wait for ever. */
function wrongKind(path: string, stats: BigIntStats): Complaint {
  const word = shellWord(path);
  if (stats.isSymbolicLink()) return symbolicLink(path);
  if (stats.isDirectory())
    return { why: 'is a folder', hint: `Move it away: mv ${word} ${shellWord(`${path}.aside`)}` };
  const kind = stats.isFIFO() ? 'a named pipe' : stats.isSocket() ? 'a socket' : 'a device';
  return { why: `is ${kind}`, hint: `Remove it: rm ${word}` };
}

/** The system says this by an error of its own when a file is opened. */
export function symbolicLink(path: string): Complaint {
  const word = shellWord(path);
  return { why: 'is a symbolic link', hint: `Put the file itself there: rm ${word} && install -m 600 FILE ${word}` };
}

function wrongOwner(path: string, owner: number, wanted: number): Complaint {
  const hint = `Give it to its user: chown ${userWord(wanted)} ${shellWord(path)}`;
  const whom = wanted === 0 ? 'not root' : `neither user ${wanted} nor root`;
  return { why: `belongs to user ${owner}, who is ${whom}`, hint };
}

function wrongMode(path: string, mode: number, forbidden: number): Complaint {
  const can = (mode & forbidden & writableByOthers) === 0 ? 'read' : 'changed';
  const why = `can be ${can} by others than its owner: its mode is ${modeText(mode)}`;
  return { why, hint: `Close it: chmod 600 ${shellWord(path)}` };
}

/** Only the daemon's user is to have it: whoever else asks is told to be that user, not to take it over. */
const otherUser = 'If this user is not the one of the daemon, ask as that one, or as root. If it is:';

/** Why the system refuses to open a file that is there. `stats` null: its folder is closed as well. */
export function accessDenied(path: string, folder: string, stats: BigIntStats | null): Complaint {
  const own = ownUserId();
  const user = userWord(own);
  if (stats === null) {
    const repair = `chown ${user} ${shellWord(folder)} && chmod 700 ${shellWord(folder)}`;
    return { why: `lies in a folder that user ${own} cannot enter`, hint: `${otherUser} ${repair}` };
  }
  const why = `cannot be read by user ${own}: it belongs to user ${stats.uid}, with the mode ${modeText(Number(stats.mode))}`;
  const word = shellWord(path);
  const isOwn = Number(stats.uid) === own;
  return { why, hint: isOwn ? `Let its user read it: chmod 600 ${word}` : `${otherUser} chown ${user} ${word}` };
}

export function complaintFailure(path: string, complaint: Complaint, rules: FileRules, cause?: unknown): Failure {
  const more = { hint: complaint.hint, ...(cause === undefined ? {} : { cause }) };
  return new Failure(rules.code, `${rules.what} ${path} ${complaint.why}`, more);
}

function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** The name of this user; of another one the number, which chown takes as well. */
function userWord(id: number): string {
  if (id !== ownUserId()) return String(id);
  try {
    return shellWord(userInfo().username);
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (['ERR_SYSTEM_ERROR', 'ENOENT'].includes(causeCode(error))) return String(id);
    throw error;
  }
}

/** `text` as one word of a shell's command line. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
