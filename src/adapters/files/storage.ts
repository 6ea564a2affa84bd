/**
 * File storage of the data folder: content-addressed attachments (`blobs/`) and append-only raw sources (`raw/`).
 *
 * The storage thread writes them (writers.ts). Files are readable by their owner only. Disposing waits for writes in
 * progress, then ends the thread; later writes are `interrupted`.
 */

import { hash } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { detach, transferOwnership } from '../../async/buffer-pool.ts';
import { causeCode, Failure } from '../../errors.ts';
import { chunksOf } from '../../ingest/fetch/batches.ts';
import type { StoredSource } from '../../ingest/model.ts';
import type { Blobs, CompressedSource, RawSources } from '../../ingest/ports.ts';
import { onDisk } from '../process/disk-errors.ts';
import { blobPath, openStored, segmentEndMs, segmentPath, storedLength } from './names.ts';
import { createStorageThread, type StorageThread } from './storage-thread.ts';
import { readStoredSource } from './stored-source.ts';
import type { SegmentOffset } from './writers.ts';

type Storage = {
  readonly blobs: Blobs;
  readonly raw: RawSources;
  /** Starts the thread ahead of the first write, without waiting for it. Never throws. */
  readonly prepare: () => void;
} & AsyncDisposable;

/** The thread starts with the first write or `prepare`. `newId` makes names that no other worker uses. */
export function createStorage(dataDir: string, clock: { nowMs(): number }, newId: () => string): Storage {
  const folders = { blobs: join(dataDir, 'blobs'), raw: join(dataDir, 'raw') };
  const thread = createStorageThread(folders);
  const blobs = createBlobs(folders.blobs, newId, thread);
  const raw = createRawSources(folders.raw, { clock, newId }, thread);
  const running = new Set<Promise<unknown>>();
  let isClosed = false;
  const tracked = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isClosed) throw new Failure('interrupted', 'the files are closed');
    const done = work();
    running.add(done);
    try {
      return await done;
    } finally {
      running.delete(done);
    }
  };
  return {
    blobs: { ...blobs, write: (given) => tracked(() => blobs.write(given)) },
    raw: { ...raw, append: (sources) => tracked(() => raw.append(sources)) },
    prepare: () => {
      if (!isClosed) thread.prepare();
    },
    [Symbol.asyncDispose]: async () => {
      isClosed = true;
      await Promise.allSettled(running);
      await thread.end();
    },
  };
}

type BlobContent = { readonly sha256: string; readonly content: Uint8Array };

/** Limit of open files: a message can have thousands of attachments. */
const blobsPerTaskMax = 64;

/** Content-addressed attachments: `blobs/ab/ab12…` holds the bytes with that SHA-256. `newId` makes temporary names. */
function createBlobs(folder: string, newId: () => string, thread: StorageThread): Blobs {
  return {
    write: (blobs) => onDisk('an attachment', () => writeAll(blobs, { folder, newId }, thread)),
    read: (sha256) => onDisk('an attachment', () => readBlob(folder, sha256)),
    lengthOf: (sha256) => onDisk('an attachment', () => storedLength(blobPath(folder, sha256))),
    untouchedSince: (beforeMs) => listUntouched(folder, beforeMs),
    removeUntouched: (name, beforeMs) => onDisk('an attachment', () => removeUntouched(folder, name, beforeMs)),
  };
}

/** Throws `source_refused` for another name than a hash, and for bytes with another one. */
async function readBlob(folder: string, sha256: string): Promise<Uint8Array> {
  const path = checkedBlobPath(folder, sha256);
  await using file = await openStored(path, folder);
  const content = await file.readFile();
  if (hash('sha256', content, 'hex') === sha256) return content;
  throw new Failure('source_refused', `attachment ${sha256} has other bytes than its name says`);
}

/** Nothing but a hash becomes a path. */
function checkedBlobPath(folder: string, sha256: string): string {
  const path = blobPath(folder, sha256);
  if (path === null) throw new Failure('source_refused', 'the name of an attachment is not a SHA-256');
  return path;
}

async function writeAll(
  blobs: readonly BlobContent[],
  { folder, newId }: { readonly folder: string; readonly newId: () => string },
  thread: StorageThread,
): Promise<void> {
  try {
    for (const { sha256 } of blobs) checkedBlobPath(folder, sha256);
    const once = [...new Map(blobs.map((blob) => [blob.sha256, blob.content]))];
    for (const portion of chunksOf(once, blobsPerTaskMax)) {
      const moved = portion.map(([sha256, content]) => ({ sha256, content: transferOwnership(content) }));
      await thread.run({ what: 'blobs', id: newId(), blobs: moved });
    }
  } finally {
    for (const { content } of blobs) detach(content);
  }
}

const removalSuffix = '.removing';

/** Names of blobs, and of temporary files left by a crash, that were last touched before `beforeMs`. */
async function* listUntouched(folder: string, beforeMs: number): AsyncGenerator<string> {
  for (const prefix of await namesIn(folder)) {
    for (const found of await namesIn(join(folder, prefix))) {
      const name = found.endsWith(removalSuffix) ? await undoRemoval(join(folder, prefix), found) : found;
      if ((await stat(join(folder, prefix, name))).mtimeMs < beforeMs) yield name;
    }
  }
}

/** Undoes a removal that a crash interrupted: whether the blob is in use is checked again. */
async function undoRemoval(folder: string, found: string): Promise<string> {
  const name = found.slice(0, -removalSuffix.length);
  await rename(join(folder, found), join(folder, name));
  return name;
}

/**
 * Renames the file, checks its time again, and only then removes it: a writer that touched it before the rename is
 * noticed, one that arrives later finds nothing and writes it again.
 */
async function removeUntouched(folder: string, name: string, beforeMs: number): Promise<boolean> {
  const path = join(folder, name.slice(0, 2), name);
  const aside = path + removalSuffix;
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

/**
 * Append-only segment files: one per worker and day, of concatenated zstd frames (RFC 8878). A batch costs one fsync,
 * and expiry is the deletion of a file. The database stores segment, offset and length of each source.
 */
function createRawSources(
  folder: string,
  { clock, newId }: { readonly clock: { nowMs(): number }; readonly newId: () => string },
  thread: StorageThread,
): RawSources {
  const append = async (sources: readonly CompressedSource[]): Promise<readonly StoredSource[]> => {
    if (sources.length === 0) return [];
    const day = new Date(clock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '');
    const moved = sources.map(({ compressed }) => transferOwnership(compressed));
    const extents = moved.map(({ length }, index) => ({ length, sha256: sources[index]?.sha256 ?? '' }));
    const start = await thread.run({ what: 'append', id: newId(), day, sources: moved });
    return storedFrom(start, extents);
  };
  return {
    append: (sources) => onDisk('a raw source', () => append(sources)),
    read: (source, bytesMax) => onDisk('a raw source', () => readStoredSource(folder, source, bytesMax ?? null)),
    lengthOf: (segment) => onDisk('a raw segment', () => storedLength(segmentPath(folder, segment))),
    isBefore,
    segmentsBefore: (beforeMs) => onDisk('the raw folder', () => segmentsBefore(folder, beforeMs)),
    remove: (segment) => onDisk('a raw segment', () => removeSegment(folder, segment)),
  };
}

/** The sources follow each other. */
function storedFrom(
  start: SegmentOffset | null,
  extents: readonly { readonly length: number; readonly sha256: string }[],
): readonly StoredSource[] {
  if (start === null) throw new Error('raw sources were appended without an offset');
  let { offset } = start;
  return extents.map(({ length, sha256 }) => {
    const stored = { segment: start.segment, offset, lengthBytes: length, sha256 };
    offset += length;
    return stored;
  });
}

async function removeSegment(folder: string, name: string): Promise<void> {
  const path = segmentPath(folder, name);
  if (path !== null) await rm(path, { force: true });
}

async function segmentsBefore(folder: string, beforeMs: number): Promise<readonly string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (causeCode(error) === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => isBefore(name, beforeMs));
}

/** True when the day of the segment was over at `beforeMs`; false for other names. */
function isBefore(name: string, beforeMs: number): boolean {
  const endMs = segmentEndMs(name);
  return endMs !== null && endMs <= beforeMs;
}
