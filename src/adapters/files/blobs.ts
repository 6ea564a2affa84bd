/**
 * Attachments as content-addressed files: `blobs/ab/ab12…` holds the bytes whose SHA-256 that is.
 *
 * A blob is written to a temporary name, synced, renamed, and its folder synced, so that it exists whole or not at
 * all. One that is there already is only touched: its new time of change keeps housekeeping away from it. Files are
 * readable by their owner alone.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import type { Blobs } from '../../ingest/ports.ts';
import { onDisk } from './failures.ts';

type Blob = { readonly sha256: string; readonly content: Uint8Array };

const writersMax = 16;

/** Blobs under `folder`, which is made when the first one is written. `newId` gives temporary names. */
export function createBlobs(folder: string, newId: () => string): Blobs {
  return {
    write: (blobs) => onDisk('an attachment', () => writeAll(folder, blobs, newId)),
    read: (sha256) => onDisk('an attachment', () => readFile(pathOf(folder, sha256))),
    untouchedSince: (beforeMs) => listUntouched(folder, beforeMs),
    removeUntouched: (name, beforeMs) => onDisk('an attachment', () => removeUntouched(folder, name, beforeMs)),
  };
}

function pathOf(folder: string, sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Failure('not_found', 'that is not the SHA-256 of a blob');
  return join(folder, sha256.slice(0, 2), sha256);
}

async function writeAll(folder: string, blobs: readonly Blob[], newId: () => string): Promise<void> {
  const waiting = [...new Map(blobs.map((blob) => [blob.sha256, blob])).values()];
  const changed = new Set<string>();
  const writer = async () => {
    for (let blob = waiting.pop(); blob !== undefined; blob = waiting.pop()) {
      const path = pathOf(folder, blob.sha256);
      if (await touch(path, blob.content.length)) continue;
      await writeOne(path, blob.content, newId());
      changed.add(dirname(path));
    }
  };
  await Promise.all(Array.from({ length: Math.min(writersMax, waiting.length) }, writer));
  await Promise.all([...changed].map(syncFolder));
}

/** True when the whole blob is there; its time is now, so that it is not taken for unused. */
async function touch(path: string, sizeBytes: number): Promise<boolean> {
  try {
    const now = new Date();
    await utimes(path, now, now);
    return (await stat(path)).size === sizeBytes;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function writeOne(path: string, content: Uint8Array, id: string): Promise<void> {
  const created = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (created !== undefined) await syncFolder(dirname(created));
  const temporary = `${path}.${id}.tmp`;
  try {
    await using file = await open(temporary, 'wx', 0o600);
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await rename(temporary, path);
}

/** Makes new names in `folder` last (fsync of a folder). */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  await handle.sync();
}

const removing = '.removing';

/** Names of blobs, and of temporary files that a crash left, that nobody touched since `beforeMs`. */
async function* listUntouched(folder: string, beforeMs: number): AsyncGenerator<string> {
  for (const prefix of await namesIn(folder)) {
    for (const found of await namesIn(join(folder, prefix))) {
      const name = found.endsWith(removing) ? await putBack(join(folder, prefix), found) : found;
      if ((await stat(join(folder, prefix, name))).mtimeMs < beforeMs) yield name;
    }
  }
}

/** A removal that a crash interrupted is undone: whether the blob is needed is asked again. */
async function putBack(folder: string, found: string): Promise<string> {
  const name = found.slice(0, -removing.length);
  await rename(join(folder, found), join(folder, name));
  return name;
}

/**
 * Moves the file aside, looks at its time once more, and only then removes it: a writer that touched it before the
 * move is seen, one that comes after finds nothing and writes it anew.
 */
async function removeUntouched(folder: string, name: string, beforeMs: number): Promise<boolean> {
  const path = join(folder, name.slice(0, 2), name);
  const aside = path + removing;
  await rename(path, aside);
  if ((await stat(aside)).mtimeMs >= beforeMs) {
    await rename(aside, path);
    return false;
  }
  await rm(aside);
  return true;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (causeCode(error) === 'ENOENT' || causeCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
