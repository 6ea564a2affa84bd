/**
 * Compresses (zstd, RFC 8878) and hashes sources for the main thread, which does not stand still for it: the work is done
 * aside, and of a large source piece by piece. Rejects with what the library says, when memory is short.
 */
import { createHash, hash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createZstdCompress, zstdCompress, zstdDecompress } from 'node:zlib';

export type Compressed = { readonly compressed: Uint8Array; readonly sha256: string };

/** Of a source, and of what comes out. */
const pieceBytes = 256 * 1024;
const compressAside = promisify(zstdCompress);
const decompressAside = promisify(zstdDecompress);

/** For what is small, in one go. */
export async function compress(source: Uint8Array): Promise<Compressed> {
  return { compressed: await compressAside(source), sha256: hash('sha256', source, 'hex') };
}

/**
 * For what is large: hashing takes a moment at a time, and the pieces that come out are freed at once; many that wait
 * to be joined would leave holes in the memory of the process.
 */
export async function compressLarge(source: Uint8Array): Promise<Compressed> {
  const hashing = createHash('sha256');
  const cut = function* () {
    for (let at = 0; at < source.length; at += pieceBytes) {
      const piece = source.subarray(at, at + pieceBytes);
      hashing.update(piece);
      yield piece;
    }
  };
  // Pages that nothing was written to take no memory.
  let out = new ArrayBuffer(compressedBytesMax(source.length));
  let length = 0;
  const stream = createZstdCompress({ pledgedSrcSize: source.length, chunkSize: pieceBytes });
  await pipeline(cut, stream, async (pieces: AsyncIterable<Uint8Array<ArrayBuffer>>) => {
    let last = new ArrayBuffer(0);
    for await (const piece of pieces) {
      // The library cuts pieces from a buffer until it is full.
      if (piece.buffer !== last) last.transfer(0);
      last = piece.buffer;
      new Uint8Array(out).set(piece, length);
      length += piece.length;
    }
  });
  out = out.transfer(length);
  return { compressed: new Uint8Array(out), sha256: hashing.digest('hex') };
}

/** What cannot be compressed grows by a header and three bytes for each block (RFC 8878 section 3.1.1). */
function compressedBytesMax(sourceBytes: number): number {
  return sourceBytes + Math.ceil(sourceBytes / 256) + 64 * 1024;
}

/** The source again. */
export function decompress({ compressed }: Compressed): Promise<Uint8Array> {
  return decompressAside(compressed);
}
