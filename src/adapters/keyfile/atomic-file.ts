/**
 * Writes a small file so that it is there whole or not at all, and on the disk when the call resolves.
 *
 * The content goes into a temporary file beside it (mode 0600, a name that nobody guesses), which is synced and then
 * linked without overwriting anything, or renamed over what is there; then the folder is synced. Root gives it to the
 * owner of the folder, so that the service can read what a command wrote. What a crash leaves behind is removed by the
 * next writing. Errors: `exists_already`, `disk_full`, `disk_failed`.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, link, lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { onDisk } from './disk-failures.ts';
import { ownUserId, shellWord } from './file-rules.ts';

const leftOverAfterMs = 60_000;

/** Throws `exists_already` when there is anything at `path`, be it a link that leads nowhere. */
export async function writeNew(path: string, content: Uint8Array): Promise<void> {
  await onDisk(path, () =>
    writeThen(path, content, async (temporary) => {
      try {
        await link(temporary, path);
      } catch (error) {
        if (causeCode(error) === 'EEXIST') throw existsAlready(path, error);
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
  await onDisk(path, () =>
    writeThen(path, content, async (temporary) => {
      await beforeRename();
      await rename(temporary, path);
    }),
  );
}

/** A new file anywhere, also where there are no links; not atomic, so a failed one is removed again. */
export async function writeCopy(path: string, content: Uint8Array): Promise<void> {
  await onDisk(path, async () => {
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
    if (causeCode(error) === 'EEXIST') throw existsAlready(path, error);
    throw error;
  }
}

export function existsAlready(path: string, cause: unknown): Failure {
  const hint = `Look at what is there, and move it away or choose another name: ls -ld ${shellWord(path)}`;
  return new Failure('exists_already', `there is something at ${path} already`, { cause, hint });
}

async function writeThen(
  path: string,
  content: Uint8Array,
  settle: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(16).toString('hex')}.tmp`);
  try {
    const writtenAtMs = await writeTemporary(temporary, folder, content);
    await removeLeftOvers(path, writtenAtMs - leftOverAfterMs);
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
async function removeLeftOvers(path: string, beforeMs: number): Promise<void> {
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
