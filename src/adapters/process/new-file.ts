/**
 * Exclusive creation of output files (O_EXCL), mode 0600: nothing is overwritten, and no link is followed.
 *
 * Root creates a file at once, which stays root's own in every folder, and hands the open descriptor to the user that
 * it becomes. That user may not remove it again, so a shell, started beforehand, removes a file that was not written to
 * its end, also when the process is killed. Any other user creates a file when its content is written. Errors:
 * `already_exists`, `disk_full`, `disk_failed`, `refused`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import { onDisk } from './disk-errors.ts';
import { inheritances, isRoot, nowhere, type OutputFolder, openOutputFolder } from './privileges.ts';

/** Disposing removes a file that was not written. */
export type NewFile = AsyncDisposable & {
  /** Writes the whole content, durably. Call it once. */
  write(content: Uint8Array): Promise<void>;
};

/** Writes new files into one folder. */
export type NewFolder = AsyncDisposable & { write(name: string, content: Uint8Array): Promise<void> };

export async function createNewFile(path: string): Promise<NewFile> {
  if (!isRoot())
    return { write: (content) => writeAt(path, path, content), [Symbol.asyncDispose]: async () => undefined };
  const absolute = resolve(path);
  using output = openOutputFolder(dirname(absolute));
  const file = await create(output.missing.length > 0 ? nowhere : output.pathOf(basename(absolute)), path);
  return heldFile(path, { file, folder: await open(output.pathOf('.')) }, startRemover(basename(absolute), output));
}

/** Mode 0700, with missing parents; an existing one stays unchanged. Root's new one is given to the user it becomes. */
export async function createNewFolder(path: string): Promise<NewFolder> {
  const folder = isRoot() ? await onDisk(path, async () => makeFolder(resolve(path))) : null;
  if (folder === null) await onDisk(path, () => mkdir(path, { recursive: true, mode: 0o700 }));
  const base = folder === null ? path : `/proc/self/fd/${folder}`;
  return {
    write: (name, content) => writeAt(join(base, name), join(path, name), content),
    [Symbol.asyncDispose]: async () => {
      if (folder === null) return;
      inheritances.delete(folder);
      closeSync(folder);
    },
  };
}

/** An open descriptor. */
function makeFolder(path: string): number {
  using output = openOutputFolder(path);
  const folder = output.makeMissing();
  if (output.missing.length > 0) inheritances.add(folder);
  return folder;
}

/** Creates, writes and syncs a file; `shown` is its name in errors. Removes it when writing fails. */
async function writeAt(path: string, shown: string, content: Uint8Array): Promise<void> {
  await using file = await create(path, shown);
  try {
    await writeDurably(file, shown, content);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
  await using folder = await open(dirname(path));
  await syncFolder(folder, shown);
}

type Opened = { readonly file: FileHandle; readonly folder: FileHandle };

function heldFile(path: string, { file, folder }: Opened, remover: ChildProcess): NewFile {
  let verdict = 'remove';
  return {
    async write(content) {
      await writeDurably(file, path, content);
      await syncFolder(folder, path);
      verdict = 'keep';
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([file.close(), folder.close()]);
      const ended = remover.exitCode === null && remover.pid !== undefined ? once(remover, 'close') : null;
      remover.stdin?.end(`${verdict}\n`);
      await ended;
    },
  };
}

/**
 * Ignores the signals of a terminal, which reach it too. Its environment is empty. It stays root, so that no other user
 * can trace it, and removes a name in the open folder alone.
 */
const removeUnlessKept = 'trap "" INT TERM HUP QUIT; read -r verdict; [ "$verdict" = keep ] || rm -f -- "./$1"';

function startRemover(name: string, folder: OutputFolder): ChildProcess {
  const remover = spawn('/bin/sh', ['-c', removeUnlessKept, 'sh', name], {
    ...{ cwd: folder.pathOf('.'), env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } },
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without a shell an unfinished file stays.
  remover.on('error', () => undefined);
  remover.stdin?.on('error', () => undefined);
  return remover;
}

async function create(path: string, shown: string): Promise<FileHandle> {
  return await onDisk(
    shown,
    async () => {
      try {
        return await open(path, 'wx', 0o600);
      } catch (error) {
        if (causeCode(error) !== 'EEXIST') throw error;
        const hint = `Check what it is, and move it away or choose another name: ls -ld ${shellArg(shown)}`;
        throw new Failure('already_exists', `${shown} exists already`, { cause: error, hint });
      }
    },
    writableHint(shown),
  );
}

function writableHint(shown: string): string {
  const folder = shellArg(dirname(shown));
  return `Check owner and mode of the folder, and the free space: ls -ld ${folder}; df ${folder}`;
}

async function writeDurably(file: FileHandle, shown: string, content: Uint8Array): Promise<void> {
  await onDisk(
    shown,
    async () => {
      await file.writeFile(content);
      await file.sync();
    },
    writableHint(shown),
  );
}

/** Makes the name durable, where the file system supports it. */
async function syncFolder(folder: FileHandle, shown: string): Promise<void> {
  await onDisk(basename(shown), async () => {
    try {
      await folder.sync();
    } catch (error) {
      if (causeCode(error) !== 'EINVAL') throw error;
    }
  });
}
