/**
 * The files of the data folder: attachments (`blobs/`) and raw sources (`raw/`), written by one thread beside the main
 * one.
 *
 * Disposing lets what is under way come to its end, then ends the thread; what comes later is refused as `interrupted`.
 */

import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createZstdDecompress, zstdDecompress } from 'node:zlib';
import { detach, transferOwnership } from '../../async/buffer-pool.ts';
import { causeCode, Failure, onDisk } from '../../errors.ts';
import { chunksOf } from '../../ingest/fetch/batches.ts';
import type { RawLocation } from '../../ingest/model.ts';
import type { Blobs, RawSources } from '../../ingest/ports.ts';
import { createStorageThread, type StorageThread } from './storage-thread.ts';
import type { Start } from './writers.ts';

type Storage = {
  readonly blobs: Blobs;
  readonly raw: RawSources;
  /** Files come soon: the thread is started now, and not waited for. Never throws. */
  readonly prepare: () => void;
} & AsyncDisposable;

/** The thread starts when the first file comes, or `prepare` is called. `newId` makes names that no other worker has. */
export function createStorage(dataDir: string, clock: { nowMs(): number }, newId: () => string): Storage {
  const folders = { blobs: join(dataDir, 'blobs'), raw: join(dataDir, 'raw') };
  const thread = createStorageThread(folders);
  const blobs = createBlobs(folders.blobs, newId, thread);
  const raw = createRawSources(folders.raw, { clock, newId }, thread);
  const running = new Set<Promise<unknown>>();
  let isOver = false;
  const followed = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isOver) throw new Failure('interrupted', 'the files are closed');
    const done = work();
    running.add(done);
    try {
      return await done;
    } finally {
      running.delete(done);
    }
  };
  return {
    blobs: { ...blobs, write: (given) => followed(() => blobs.write(given)) },
    raw: { ...raw, append: (sources) => followed(() => raw.append(sources)) },
    prepare: () => {
      if (!isOver) thread.prepare();
    },
    [Symbol.asyncDispose]: async () => {
      isOver = true;
      await Promise.allSettled(running);
      await thread.end();
    },
  };
}

/**
 * Attachments as content-addressed files: `blobs/ab/ab12…` holds the bytes whose SHA-256 that is.
 *
 * The storage thread writes them (blob-writer.ts). A blob is written to a temporary name, synced, renamed, and its folder synced, so that it exists whole or not at
 * all. One that is there already is only touched: its new time of change keeps housekeeping away from it. Files are
 * readable by their owner alone.
 */

type Blob = { readonly sha256: string; readonly content: Uint8Array };

/** So many are open at a time, and known to the thread: a mail can have thousands. */
const blobsAtOnce = 64;

/** Blobs under `folder`, where `thread` writes them. `newId` gives temporary names. */
function createBlobs(folder: string, newId: () => string, thread: StorageThread): Blobs {
  return {
    write: (blobs) => onDisk('an attachment', () => writeAll(blobs, newId, thread)),
    read: (sha256) => onDisk('an attachment', () => readFile(pathOf(folder, sha256))),
    lengthOf: (sha256) => onDisk('an attachment', () => lengthAt(pathOf(folder, sha256))),
    untouchedSince: (beforeMs) => listUntouched(folder, beforeMs),
    removeUntouched: (name, beforeMs) => onDisk('an attachment', () => removeUntouched(folder, name, beforeMs)),
  };
}

/** In bytes; null when there is no such file. */
async function lengthAt(path: string): Promise<number | null> {
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
      const moved = portion.map(([sha256, content]) => ({ sha256, content: transferOwnership(content) }));
      await thread.run({ what: 'blobs', id: newId(), blobs: moved });
    }
  } finally {
    for (const { content } of blobs) detach(content);
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

/**
 * Raw sources in append-only segment files under `raw/`: one file for a worker and a day, frames of zstd (RFC 8878)
 * one after the other, so that a whole batch costs one fsync and expiry is the deletion of a file.
 *
 * The storage thread appends (segment-writer.ts). A row elsewhere holds segment, offset and length. After a failed write the file is left as it is and a new one is
 * begun, so that an offset is never wrong. Files are readable by their owner alone.
 */

const decompress = promisify(zstdDecompress);
const blockBytesMax = 128 * 1024 + 1024;
const namePattern = /^(\d{4})(\d{2})(\d{2})-[0-9a-f-]+\.zst$/;

/** Segments under `folder`, where `thread` writes them. `newId` makes file names that no other worker has. */
function createRawSources(
  folder: string,
  { clock, newId }: { readonly clock: { nowMs(): number }; readonly newId: () => string },
  thread: StorageThread,
): RawSources {
  const append = async (sources: readonly Uint8Array[]): Promise<readonly RawLocation[]> => {
    if (sources.length === 0) return [];
    const day = new Date(clock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '');
    const moved = sources.map(transferOwnership);
    const lengths = moved.map(({ length }) => length);
    const start = await thread.run({ what: 'append', id: newId(), day, sources: moved });
    return placesFrom(start, lengths);
  };
  return {
    append: (sources) => onDisk('a raw source', () => append(sources)),
    read: (place, bytesMax) => onDisk('a raw source', () => readOne(folder, place, bytesMax ?? null)),
    lengthOf: (segment) => onDisk('a raw segment', () => lengthAt(join(folder, segment))),
    isBefore,
    segmentsBefore: (beforeMs) => onDisk('the raw folder', () => listBefore(folder, beforeMs)),
    remove: (segment) => onDisk('a raw segment', () => rm(join(folder, segment), { force: true })),
  };
}

/** One after the other. */
function placesFrom(start: Start | null, lengths: readonly number[]): readonly RawLocation[] {
  if (start === null) throw new Error('raw sources were appended and have no place');
  let { offset } = start;
  return lengths.map((lengthBytes) => {
    const place = { segment: start.segment, offset, lengthBytes };
    offset += lengthBytes;
    return place;
  });
}

async function readOne(folder: string, place: RawLocation, bytesMax: number | null): Promise<Uint8Array<ArrayBuffer>> {
  try {
    await using file = await open(join(folder, place.segment), 'r');
    // The first block of a frame is never larger than what is read here.
    const length = bytesMax === null ? place.lengthBytes : Math.min(place.lengthBytes, bytesMax + blockBytesMax);
    const compressed = new Uint8Array(length);
    const { bytesRead } = await file.read(compressed, 0, length, place.offset);
    if (bytesRead !== length) throw new Failure('source_missing', `segment ${place.segment} is shorter than it was`);
    return owned(bytesMax === null ? await decompress(compressed) : await decompressStart(compressed, bytesMax));
  } catch (error) {
    if (causeCode(error) === 'ENOENT')
      throw new Failure('source_missing', `segment ${place.segment} is gone`, { cause: error });
    throw error;
  }
}

/** Stops as soon as there is enough: little can become very much. */
async function decompressStart(compressed: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const stream = createZstdDecompress();
  stream.on('error', () => undefined);
  stream.write(compressed);
  // The end of the frame is missing on purpose.
  stream.flush(() => stream.push(null));
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    if (length >= bytesMax) break;
  }
  return Buffer.concat(pieces).subarray(0, bytesMax);
}

/** In an ArrayBuffer of its own, so that it can be moved to a thread. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.byteLength
    ? new Uint8Array(bytes.buffer)
    : new Uint8Array(bytes);
}

async function listBefore(folder: string, beforeMs: number): Promise<readonly string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (causeCode(error) === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => isBefore(name, beforeMs));
}

/** Whether the day in its name was over at `beforeMs`; false for what is no name of a segment. */
function isBefore(name: string, beforeMs: number): boolean {
  const parts = namePattern.exec(name);
  return parts !== null && Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + 1) <= beforeMs;
}
