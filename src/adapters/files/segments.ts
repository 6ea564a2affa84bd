/**
 * Raw sources in append-only segment files under `raw/`: one file for a worker and a day, frames of zstd (RFC 8878)
 * one after the other, so that a whole batch costs one fsync and expiry is the deletion of a file.
 *
 * A row elsewhere holds segment, offset and length. After a failed write the file is left as it is and a new one is
 * begun, so that an offset is never wrong. Files are readable by their owner alone.
 */
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createZstdDecompress, zstdDecompress } from 'node:zlib';
import { causeCode, Failure } from '../../errors.ts';
import type { RawSources } from '../../ingest/ports.ts';
import type { RawPlace } from '../../ingest/rows.ts';
import { syncFolder } from './blobs.ts';
import { onDisk } from './failures.ts';

type Segment = { readonly name: string; readonly day: string; readonly file: FileHandle; endOffset: number };

const decompress = promisify(zstdDecompress);
const blockBytesMax = 128 * 1024 + 1024;
const namePattern = /^(\d{4})(\d{2})(\d{2})-[0-9a-f-]+\.zst$/;

/** Segments under `folder`. `newId` makes file names that no other worker has. */
export function createRawSources(folder: string, clock: { nowMs(): number }, newId: () => string): RawSources {
  let current: Segment | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const close = async () => {
    const closing = current;
    current = null;
    await closing?.file.close();
  };
  const appendNow = async (sources: readonly Uint8Array[]) => {
    const day = new Date(clock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '');
    if (current !== null && current.day !== day) await close();
    current ??= await begin(folder, day, newId());
    try {
      return await write(current, sources);
    } catch (error) {
      await close();
      throw error;
    }
  };
  return {
    append: (sources) => {
      if (sources.length === 0) return Promise.resolve([]);
      const appended = last.then(() => onDisk('a raw source', () => appendNow(sources)));
      last = appended.catch(() => null);
      return appended;
    },
    read: (place, bytesMax) => onDisk('a raw source', () => readOne(folder, place, bytesMax ?? null)),
    segmentsBefore: (beforeMs) => onDisk('the raw folder', () => listBefore(folder, beforeMs)),
    remove: (segment) => onDisk('a raw segment', () => rm(join(folder, segment), { force: true })),
    [Symbol.asyncDispose]: close,
  };
}

async function begin(folder: string, day: string, id: string): Promise<Segment> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `${day}-${id}.zst`;
  const file = await open(join(folder, name), 'ax', 0o600);
  await syncFolder(folder);
  return { name, day, file, endOffset: 0 };
}

async function write(segment: Segment, sources: readonly Uint8Array[]): Promise<readonly RawPlace[]> {
  let offset = segment.endOffset;
  const places = sources.map(({ length }) => {
    const place = { segment: segment.name, offset, lengthBytes: length };
    offset += length;
    return place;
  });
  await writeWhole(segment.file, sources);
  await segment.file.datasync();
  segment.endOffset = offset;
  return places;
}

/** Writes all of `sources`; a short write is an error, because the offsets would be wrong. */
async function writeWhole(file: FileHandle, sources: readonly Uint8Array[]): Promise<void> {
  const total = sources.reduce((sum, source) => sum + source.length, 0);
  const { bytesWritten } = await file.writev(sources as Uint8Array[]);
  if (bytesWritten !== total) throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
}

async function readOne(folder: string, place: RawPlace, bytesMax: number | null): Promise<Uint8Array<ArrayBuffer>> {
  try {
    await using file = await open(join(folder, place.segment), 'r');
    // The first block of a frame is never larger than what is read here.
    const length = bytesMax === null ? place.lengthBytes : Math.min(place.lengthBytes, bytesMax + blockBytesMax);
    const compressed = new Uint8Array(length);
    const { bytesRead } = await file.read(compressed, 0, length, place.offset);
    if (bytesRead !== length) throw new Failure('source_gone', `segment ${place.segment} is shorter than it was`);
    return owned(bytesMax === null ? await decompress(compressed) : await decompressStart(compressed, bytesMax));
  } catch (error) {
    if (causeCode(error) === 'ENOENT')
      throw new Failure('source_gone', `segment ${place.segment} is gone`, { cause: error });
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
  return names.filter((name) => {
    const parts = namePattern.exec(name);
    return parts !== null && Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + 1) <= beforeMs;
  });
}
