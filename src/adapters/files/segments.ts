/**
 * Raw sources in append-only segment files under `raw/`: one file for a worker and a day, frames of zstd (RFC 8878)
 * one after the other, so that a whole batch costs one fsync and expiry is the deletion of a file.
 *
 * The storage thread appends (segment-writer.ts). A row elsewhere holds segment, offset and length. After a failed write the file is left as it is and a new one is
 * begun, so that an offset is never wrong. Files are readable by their owner alone.
 */
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createZstdDecompress, zstdDecompress } from 'node:zlib';
import { takeOver } from '../../async/buffer-pool.ts';
import { causeCode, Failure, onDisk } from '../../errors.ts';
import type { RawPlace } from '../../ingest/model.ts';
import type { RawSources } from '../../ingest/ports.ts';
import { lengthAt } from './blobs.ts';
import type { Start } from './storage-tasks.ts';
import type { StorageThread } from './storage-thread.ts';

const decompress = promisify(zstdDecompress);
const blockBytesMax = 128 * 1024 + 1024;
const namePattern = /^(\d{4})(\d{2})(\d{2})-[0-9a-f-]+\.zst$/;

/** Segments under `folder`, where `thread` writes them. `newId` makes file names that no other worker has. */
export function createRawSources(
  folder: string,
  { clock, newId }: { readonly clock: { nowMs(): number }; readonly newId: () => string },
  thread: StorageThread,
): RawSources {
  const append = async (sources: readonly Uint8Array[]): Promise<readonly RawPlace[]> => {
    if (sources.length === 0) return [];
    const day = new Date(clock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '');
    const moved = sources.map(takeOver);
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
function placesFrom(start: Start | null, lengths: readonly number[]): readonly RawPlace[] {
  if (start === null) throw new Error('raw sources were appended and have no place');
  let { offset } = start;
  return lengths.map((lengthBytes) => {
    const place = { segment: start.segment, offset, lengthBytes };
    offset += lengthBytes;
    return place;
  });
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
  return names.filter((name) => isBefore(name, beforeMs));
}

/** Whether the day in its name was over at `beforeMs`; false for what is no name of a segment. */
function isBefore(name: string, beforeMs: number): boolean {
  const parts = namePattern.exec(name);
  return parts !== null && Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + 1) <= beforeMs;
}
