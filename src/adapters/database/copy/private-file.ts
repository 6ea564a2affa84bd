/**
 * Check of a SQLite file that a copy writes to (CWE-377): no other user may have made it, read it, or exchange it.
 *
 * Its folder can be changed by this user and root alone, and so can each folder above, where a sticky one such as /tmp
 * will do. A file that is there already belongs to this user, has mode 0600 and no second name.
 */
import { lstat, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { causeCode, Failure } from '../../../errors.ts';
import { shellArg } from '../../../text/shell.ts';

const writableByOthers = 0o022;
const forOthers = 0o077;
const sticky = 0o1000;

/** Throws `refused`. A missing folder is left to the one who creates the file. */
export async function requirePrivateFile(path: string): Promise<void> {
  const folder = await orNull(realpath(dirname(path)));
  if (folder === null) return;
  for (let at = folder; ; at = dirname(at)) {
    const { uid, mode } = await stat(at);
    const isProtected = (mode & writableByOthers) === 0 || (at !== folder && (mode & sticky) !== 0);
    if (!isOurs(uid) || !isProtected) throw refusal(path, at, 'the folder');
    if (at === dirname(at)) break;
  }
  const file = await orNull(lstat(path));
  if (file === null) return;
  const isPrivate = file.isFile() && file.uid === process.geteuid?.() && (file.mode & forOthers) === 0;
  if (!isPrivate || file.nlink !== 1) throw refusal(path, path, 'the file');
}

function isOurs(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function refusal(path: string, at: string, what: string): Failure {
  const hint = `See ls -ld ${shellArg(at)}. Name a new file in a folder that only the user of the daemon can change.`;
  return new Failure('refused', `The target ${path} may be read or exchanged by another user: ${what} ${at}.`, {
    hint,
  });
}
