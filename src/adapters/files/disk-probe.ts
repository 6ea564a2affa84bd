/** Whether a file can be written and synced under the data folder, and how much room is left there. */
import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { onDisk } from '../../errors.ts';
import type { Disk } from '../../ingest/ports.ts';

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
