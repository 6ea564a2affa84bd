/**
 * Compression (zstd, RFC 8878) and SHA-256 of sources without blocking the main thread: in libuv's threads, a large
 * source in chunks. Rejects with the error of the library when memory is short.
 */
import { createHash, hash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createZstdCompress, zstdCompress, zstdDecompress } from 'node:zlib';
import type { CompressedSource } from '../../ingest/ports.ts';

/** Of input and output. */
const chunkBytes = 256 * 1024;
const zstdCompressAsync = promisify(zstdCompress);
const zstdDecompressAsync = promisify(zstdDecompress);

/** For a small source. The frame states its content size, which bounds a later read. */
export async function compress(source: Uint8Array): Promise<CompressedSource> {
  const compressed = await zstdCompressAsync(source, { pledgedSrcSize: source.length });
  return { compressed, sha256: hash('sha256', source, 'hex') };
}

/**
 * For a large source: hashes in chunks, and copies each output chunk at once into one buffer, since chunks that are
 * joined at the end would fragment the heap.
 */
export async function compressLarge(source: Uint8Array): Promise<CompressedSource> {
  const hashing = createHash('sha256');
  const cut = function* () {
    for (let at = 0; at < source.length; at += chunkBytes) {
      const chunk = source.subarray(at, at + chunkBytes);
      hashing.update(chunk);
      yield chunk;
    }
  };
  // Untouched pages take no memory.
  let out = new ArrayBuffer(compressedBytesMax(source.length));
  let length = 0;
  const stream = createZstdCompress({ pledgedSrcSize: source.length, chunkSize: chunkBytes });
  await pipeline(cut, stream, async (chunks: AsyncIterable<Uint8Array<ArrayBuffer>>) => {
    let last = new ArrayBuffer(0);
    for await (const chunk of chunks) {
      // The library slices chunks from a buffer until it is full.
      if (chunk.buffer !== last) last.transfer(0);
      last = chunk.buffer;
      new Uint8Array(out).set(chunk, length);
      length += chunk.length;
    }
  });
  out = out.transfer(length);
  return { compressed: new Uint8Array(out), sha256: hashing.digest('hex') };
}

/** Incompressible input grows by a header and three bytes per block (RFC 8878 section 3.1.1). */
function compressedBytesMax(sourceBytes: number): number {
  return sourceBytes + Math.ceil(sourceBytes / 256) + 64 * 1024;
}

export function decompress({ compressed }: CompressedSource): Promise<Uint8Array> {
  return zstdDecompressAsync(compressed);
}
