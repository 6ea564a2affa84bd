/** The data folder: made for us alone, and refused where everybody could put something into it. */

import { existsSync } from 'node:fs';
import { mkdir, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { causeCode, Failure, onDisk } from '../../errors.ts';
import type { Disk } from '../../ingest/ports.ts';
import { shellArg } from '../../text/shell.ts';

const writableByOthers = 0o002;

/** Throws `disk_failed` when it cannot be made, `refused` when everybody can write to it. */
export async function makeDataFolder(dataDir: string): Promise<void> {
  try {
    await makeFolder(dataDir);
    const { mode } = await stat(dataDir);
    if ((mode & writableByOthers) === 0) return;
  } catch (error) {
    throw new Failure('disk_failed', `data_dir ${dataDir} cannot be made (${causeCode(error)})`, { cause: error });
  }
  const hint = `Close it: chmod o-w ${shellArg(dataDir)}; then look for files in it that are not yours.`;
  throw new Failure('refused', `data_dir ${dataDir} can be written by everybody`, { hint });
}

/** Like a recursive mkdir, which never ends where a parent exists and can hold nothing (/proc). */
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

/** Whether a file can be written and synced under the data folder, and how much room is left there. */

/** Larger than what a full file system may still find room for. */
const probeBytes = 16 * 1024;

/** `name` tells the files of several workers apart. */
export function diskProbe(dataDir: string, name: string): Disk {
  const path = join(dataDir, `.disk-probe-${name}`);
  return {
    probe: () =>
      onDisk(`a file under data_dir ${dataDir}`, async () => {
        try {
          await write(path);
        } finally {
          await rm(path, { force: true });
        }
        const { bavail, bsize } = await statfs(dataDir);
        return { freeBytes: bavail * bsize };
      }),
  };
}

async function write(path: string): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  await file.writeFile(new Uint8Array(probeBytes).fill(1));
  await file.sync();
}
