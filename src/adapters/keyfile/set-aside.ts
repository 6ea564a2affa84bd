/**
 * Renames whatever is at a path to a name that says why and when, overwriting nothing. One that was cut off between its
 * new name and the end of its old one is ended, not begun anew.
 */
import { link, lstat, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { causeCode } from '../../errors.ts';
import { existsAlready, syncFolder } from './atomic-file.ts';
import { onDisk } from './disk-failures.ts';

const triesMax = 1000;

/** `PATH.REASON-20261124T180102Z`, with -2, -3 … when that is taken; null when nothing is at `path`. */
export function setAside(path: string, reason: string, nowMs: number): Promise<string | null> {
  return onDisk(path, async () => {
    const begun = await begunBefore(path, reason);
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
    throw existsAlready(first, undefined);
  });
}

/** The other name that this very file has already; null when it has none. */
async function begunBefore(path: string, reason: string): Promise<string | null> {
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
