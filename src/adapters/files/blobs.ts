/**
 * Attachments as content-addressed files: `blobs/ab/ab12…` holds the bytes whose SHA-256 that is.
 *
 * The storage thread writes them (blob-writer.ts). A blob is written to a temporary name, synced, renamed, and its folder synced, so that it exists whole or not at
 * all. One that is there already is only touched: its new time of change keeps housekeeping away from it. Files are
 * readable by their owner alone.
 */
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { release, takeOver } from '../../async/buffer-pool.ts';
import { causeCode, Failure, onDisk } from '../../errors.ts';
import { chunksOf } from '../../ingest/fetch/batches.ts';
import type { Blobs } from '../../ingest/ports.ts';
import type { StorageThread } from './storage-thread.ts';

type Blob = { readonly sha256: string; readonly content: Uint8Array };

/** So many are open at a time, and known to the thread: a mail can have thousands. */
const blobsAtOnce = 64;

/** Blobs under `folder`, where `thread` writes them. `newId` gives temporary names. */
export function createBlobs(folder: string, newId: () => string, thread: StorageThread): Blobs {
  return {
    write: (blobs) => onDisk('an attachment', () => writeAll(blobs, newId, thread)),
    read: (sha256) => onDisk('an attachment', () => readFile(pathOf(folder, sha256))),
    lengthOf: (sha256) => onDisk('an attachment', () => lengthAt(pathOf(folder, sha256))),
    untouchedSince: (beforeMs) => listUntouched(folder, beforeMs),
    removeUntouched: (name, beforeMs) => onDisk('an attachment', () => removeUntouched(folder, name, beforeMs)),
  };
}

/** In bytes; null when there is no such file. */
export async function lengthAt(path: string): Promise<number | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : null;
  } catch (error) {
    if (causeCode(error) === 'ENOENT' || causeCode(error) === 'ENOTDIR') return null;
    throw error;
  }
}

function pathOf(folder: string, sha256: string): string {
  return join(folder, checkedHash(sha256).slice(0, 2), sha256);
}

/** What is no hash never becomes a path. */
function checkedHash(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Failure('not_found', 'that is not the SHA-256 of a blob');
  return sha256;
}

async function writeAll(blobs: readonly Blob[], newId: () => string, thread: StorageThread): Promise<void> {
  try {
    const once = [...new Map(blobs.map((blob) => [checkedHash(blob.sha256), blob.content]))];
    for (const portion of chunksOf(once, blobsAtOnce)) {
      const moved = portion.map(([sha256, content]) => ({ sha256, content: takeOver(content) }));
      await thread.run({ what: 'blobs', id: newId(), blobs: moved });
    }
  } finally {
    for (const { content } of blobs) release(content);
  }
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
