/**
 * File storage of the data folder: content-addressed attachments (`blobs/`) and append-only raw sources (`raw/`).
 *
 * The storage thread writes them (writers.ts). Files are readable by their owner only. Disposing waits for writes in
 * progress, then ends the thread; later writes are `interrupted`.
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
    write: (blobs) => onDisk('an attachment', () => writeAll(blobs, newId, thread)),
    read: (sha256) => onDisk('an attachment', () => readFile(pathOf(folder, sha256))),
    lengthOf: (sha256) => onDisk('an attachment', () => fileLength(pathOf(folder, sha256))),
    untouchedSince: (beforeMs) => listUntouched(folder, beforeMs),
    removeUntouched: (name, beforeMs) => onDisk('an attachment', () => removeUntouched(folder, name, beforeMs)),
  };
}

/** Bytes; null when there is no such file. */
async function fileLength(path: string): Promise<number | null> {
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

/** Nothing but a hash becomes a path. */
function checkedHash(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Failure('not_found', 'that is not the SHA-256 of a blob');
  return sha256;
}

async function writeAll(blobs: readonly BlobContent[], newId: () => string, thread: StorageThread): Promise<void> {
  try {
    const once = [...new Map(blobs.map((blob) => [checkedHash(blob.sha256), blob.content]))];
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

const decompress = promisify(zstdDecompress);
const blockBytesMax = 128 * 1024 + 1024;
const namePattern = /^(\d{4})(\d{2})(\d{2})-[0-9a-f-]+\.zst$/;

/**
 * Append-only segment files: one per worker and day, of concatenated zstd frames (RFC 8878). A batch costs one fsync,
 * and expiry is the deletion of a file. The database stores segment, offset and length of each source.
 */
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
    return locationsFrom(start, lengths);
  };
  return {
    append: (sources) => onDisk('a raw source', () => append(sources)),
    read: (place, bytesMax) => onDisk('a raw source', () => readSource(folder, place, bytesMax ?? null)),
    lengthOf: (segment) => onDisk('a raw segment', () => fileLength(join(folder, segment))),
    isBefore,
    segmentsBefore: (beforeMs) => onDisk('the raw folder', () => segmentsBefore(folder, beforeMs)),
    remove: (segment) => onDisk('a raw segment', () => rm(join(folder, segment), { force: true })),
  };
}

/** The sources follow each other. */
function locationsFrom(start: SegmentOffset | null, lengths: readonly number[]): readonly RawLocation[] {
  if (start === null) throw new Error('raw sources were appended without an offset');
  let { offset } = start;
  return lengths.map((lengthBytes) => {
    const place = { segment: start.segment, offset, lengthBytes };
    offset += lengthBytes;
    return place;
  });
}

async function readSource(
  folder: string,
  place: RawLocation,
  bytesMax: number | null,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    await using file = await open(join(folder, place.segment), 'r');
    // At least the first block of the frame.
    const length = bytesMax === null ? place.lengthBytes : Math.min(place.lengthBytes, bytesMax + blockBytesMax);
    const compressed = new Uint8Array(length);
    const { bytesRead } = await file.read(compressed, 0, length, place.offset);
    if (bytesRead !== length) throw new Failure('source_missing', `segment ${place.segment} is shorter than it was`);
    return withOwnBuffer(
      bytesMax === null ? await decompress(compressed) : await decompressStart(compressed, bytesMax),
    );
  } catch (error) {
    if (causeCode(error) === 'ENOENT')
      throw new Failure('source_missing', `segment ${place.segment} is gone`, { cause: error });
    throw error;
  }
}

/** Stops at `bytesMax`: a small frame can expand to very much (decompression bomb). */
async function decompressStart(compressed: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const stream = createZstdDecompress();
  stream.on('error', () => undefined);
  stream.write(compressed);
  // The frame is truncated on purpose.
  stream.flush(() => stream.push(null));
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    if (length >= bytesMax) break;
  }
  return Buffer.concat(pieces).subarray(0, bytesMax);
}

/** In an ArrayBuffer of its own, which can be transferred to a thread. */
function withOwnBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength === bytes.byteLength
    ? new Uint8Array(bytes.buffer)
    : new Uint8Array(bytes);
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
  const parts = namePattern.exec(name);
  return parts !== null && Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + 1) <= beforeMs;
}
