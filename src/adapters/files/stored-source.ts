/**
 * Verified read of a raw source: location checked, decompression bounded (CWE-409), SHA-256 compared before use.
 *
 * Location and hash come from a row, which a writer of the database may have changed. A frame states its content
 * size (RFC 8878 section 3.1.1.1.4); neither the compressed bytes nor the output may exceed what follows from it.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { createZstdDecompress } from 'node:zlib';
import { causeCode, Failure } from '../../errors.ts';
import type { StoredSource } from '../../ingest/model.ts';
import { openStored, segmentPath } from './names.ts';

/** Bytes of output at a time, each hashed before the next. */
const chunkBytes = 256 * 1024;
/** Longest prefix of a frame up to its content size. */
const headerBytesMax = 18;
const magic = 0xfd2fb528;

/**
 * The source, or its first `bytesMax` bytes; the whole is verified in either case. Throws `source_missing` when the
 * segment is gone or shorter than it was, `source_refused` for anything that was not stored by this program.
 */
export async function readStoredSource(
  folder: string,
  source: StoredSource,
  bytesMax: number | null,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = segmentPath(folder, source.segment);
  if (path === null) throw refused(source, 'its row names a file that is no segment');
  const { offset, lengthBytes } = source;
  if (!Number.isSafeInteger(offset + lengthBytes) || offset < 0 || lengthBytes <= 0)
    throw refused(source, 'its row names no place in a segment');
  try {
    await using file = await openStored(path, folder);
    const contentBytes = await contentBytesAt(file, source);
    const compressed = await readExactly(file, source, lengthBytes);
    return await decompress(compressed, contentBytes, source, Math.min(bytesMax ?? contentBytes, contentBytes));
  } catch (error) {
    if (causeCode(error) === 'ENOENT')
      throw new Failure('source_missing', `segment ${source.segment} is gone`, { cause: error });
    throw error;
  }
}

/** Checks the lengths before memory is taken. */
async function contentBytesAt(file: FileHandle, source: StoredSource): Promise<number> {
  const { offset, lengthBytes } = source;
  if ((await file.stat()).size < offset + lengthBytes) throw shorter(source);
  const header = await readExactly(file, source, Math.min(headerBytesMax, lengthBytes));
  const contentBytes = frameContentBytes(header);
  if (contentBytes === null) throw refused(source, 'no frame of zstd with a content size begins there');
  if (lengthBytes > compressedBytesMax(contentBytes)) throw refused(source, 'its row names more than one frame');
  return contentBytes;
}

async function readExactly(file: FileHandle, source: StoredSource, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const { bytesRead } = await file.read(bytes, 0, length, source.offset);
  if (bytesRead !== length) throw shorter(source);
  return bytes;
}

/** Incompressible input grows by a header and three bytes per block (RFC 8878 section 3.1.1). */
function compressedBytesMax(contentBytes: number): number {
  return contentBytes + Math.ceil(contentBytes / 256) + 64 * 1024;
}

/** Frame_Content_Size; null: no frame, or one without it. */
function frameContentBytes(header: Uint8Array): number | null {
  const view = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  if (view.length < 6 || view.readUInt32LE(0) !== magic) return null;
  const descriptor = view.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  if (sizeBytes === 0 || view.length < at + sizeBytes) return null;
  if (sizeBytes === 8) return Number(view.readBigUInt64LE(at));
  return view.readUIntLE(at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
}

/** Output of `keepBytes`, in an ArrayBuffer of its own, which can be transferred to a thread. */
async function decompress(
  compressed: Uint8Array,
  contentBytes: number,
  source: StoredSource,
  keepBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const hashing = createHash('sha256');
  const kept = allocate(keepBytes, source);
  let length = 0;
  const stream = createZstdDecompress({ chunkSize: Math.min(chunkBytes, Math.max(1024, contentBytes)) });
  stream.end(compressed);
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      if (length + chunk.length > contentBytes) break;
      hashing.update(chunk);
      if (length < keepBytes) kept.set(chunk.subarray(0, keepBytes - length), length);
      length += chunk.length;
    }
  } catch (error) {
    throw refused(source, 'the bytes there are no frame of zstd', error);
  }
  if (length === contentBytes && hashing.digest('hex') === source.sha256) return kept;
  throw refused(source, 'the bytes there have another SHA-256');
}

function allocate(bytes: number, source: StoredSource): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    throw refused(source, 'a frame there states an impossible size', error);
  }
}

function shorter({ segment }: StoredSource): Failure {
  return new Failure('source_missing', `segment ${segment} is shorter than it was`);
}

/** The name of a segment is not repeated: it may be any text. */
function refused({ segment, offset }: StoredSource, why: string, cause?: unknown): Failure {
  const where = segmentPath('', segment) === null ? '' : ` (${segment}, offset ${offset})`;
  const more = cause === undefined ? {} : { cause };
  return new Failure('source_refused', `the stored source is refused: ${why}${where}`, more);
}
