/**
 * Data folder: created with mode 0700, refused when world-writable; and the write probe of its disk.
 *
 * The probe measures the free space also where writing fails: a full disk still answers statfs.
 */

import { existsSync } from 'node:fs';
import { mkdir, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asFailure, causeCode, Failure } from '../../errors.ts';
import type { Disk } from '../../ingest/ports.ts';
import { shellArg } from '../../text/shell.ts';
import { onDisk } from '../process/disk-errors.ts';

const writableByOthers = 0o002;

/** Throws `disk_failed` when it cannot be created, `refused` when it is world-writable. */
export async function makeDataFolder(dataDir: string): Promise<void> {
  try {
    await makeFolder(dataDir);
    const { mode } = await stat(dataDir);
    if ((mode & writableByOthers) === 0) return;
  } catch (error) {
    throw new Failure('disk_failed', `data_dir ${dataDir} cannot be created (${causeCode(error)})`, { cause: error });
  }
  const hint = `Restrict it: chmod o-w ${shellArg(dataDir)}; then check it for files of others.`;
  throw new Failure('refused', `data_dir ${dataDir} is world-writable`, { hint });
}

/** Recursive mkdir; Node's own never returns below a parent such as /proc, which exists and accepts no files. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (causeCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const isParentMissing = causeCode(error) === 'ENOENT' && !existsSync(dirname(path));
    if (!isParentMissing) throw error;
    await makeFolder(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

/** More than a full file system may still accept. */
const probeBytes = 16 * 1024;

/** Write probe: writes, syncs and removes a file, and measures the free space. `name` is unique per worker. */
export function diskProbe(dataDir: string, name: string): Disk {
  const path = join(dataDir, `.disk-probe-${name}`);
  return {
    probe: async () => {
      const failure = await writeFailure(dataDir, path);
      return { failure, freeBytes: await freeBytes(dataDir) };
    },
  };
}

async function writeFailure(dataDir: string, path: string): Promise<Failure | null> {
  try {
    await onDisk(`a file under data_dir ${dataDir}`, async () => {
      try {
        await writeProbe(path);
      } finally {
        await rm(path, { force: true });
      }
    });
    return null;
  } catch (error) {
    return asFailure(error);
  }
}

/** For a user that is not root; null: the file system does not say. */
async function freeBytes(dataDir: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(dataDir);
    return bavail * bsize;
  } catch {
    return null;
  }
}

async function writeProbe(path: string): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  await file.writeFile(new Uint8Array(probeBytes).fill(1));
  await file.sync();
}
