/**
 * Memory for the sources of mails, shared with the parse threads and used again and again: one pool for the process.
 *
 * A source goes from the socket into a slab and is parsed there: nobody copies it, and no collector has to find out that
 * it is gone. Who took a slab gives it back once, when nobody looks into it any more; one that is not given back is left to
 * the collector. What is larger than a slab gets memory of its own, which is given back in the same way. Never fails.
 */
import { Failure } from '../errors.ts';

/** A source larger than this is rare, and its memory better free than kept. */
const slabBytesMax = 1024 * 1024;
const slabBytesMin = 4 * 1024;
/** Of slabs that wait for their next source, all sizes together. */
const idleBytesMax = 6 * 1024 * 1024;

const idle = new Map<number, SharedArrayBuffer[]>();
let idleBytes = 0;
/** By the view, not by the slab: an old view of a slab that has a new owner must not give it away. */
const taken = new WeakSet<Uint8Array>();

/** So many bytes, with whatever the source before has left in them. */
export function takeSlab(lengthBytes: number): Buffer {
  const bytes =
    lengthBytes > slabBytesMax
      ? Buffer.allocUnsafeSlow(lengthBytes)
      : Buffer.from(slabOf(slabSizeOf(lengthBytes)), 0, lengthBytes);
  taken.add(bytes);
  return bytes;
}

/** `bytes` themselves if they were taken here, else a copy of them that is. */
export function inSlab(bytes: Uint8Array): Uint8Array {
  if (taken.has(bytes)) return bytes;
  const copy = takeSlab(bytes.length);
  copy.set(bytes);
  return copy;
}

/** To be called once for what was taken. Anything else is freed if it owns its memory, and left alone if not. */
export function giveBack(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (!taken.delete(bytes) || buffer instanceof ArrayBuffer) {
    release(bytes);
    return;
  }
  if (idleBytes + buffer.byteLength > idleBytesMax) return;
  idleBytes += buffer.byteLength;
  const same = idle.get(buffer.byteLength);
  if (same === undefined) idle.set(buffer.byteLength, [buffer]);
  else same.push(buffer);
}

function slabOf(sizeBytes: number): SharedArrayBuffer {
  const slab = idle.get(sizeBytes)?.pop();
  if (slab === undefined) return new SharedArrayBuffer(sizeBytes);
  idleBytes -= sizeBytes;
  return slab;
}

/** One of a few sizes, a power of two or the half between two, so that a third is unused at most. */
function slabSizeOf(lengthBytes: number): number {
  let size = slabBytesMin;
  while (size < lengthBytes) size *= 2;
  const between = (size / 4) * 3;
  return size > slabBytesMin && between >= lengthBytes ? between : size;
}

/**
 * Gives memory back at once, or away.
 *
 * The garbage collector sees the small handle of a buffer, not the megabytes behind it: left alone, the sources and
 * attachments of many windows pile up before it looks. A buffer that was released or taken over has length 0.
 */

/** Frees the memory behind `bytes`; what is a part of a larger buffer belongs to others too and is left alone. */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength && !buffer.detached) buffer.transfer(0);
}

/**
 * The same bytes in a buffer of their own, which can be moved to a thread. Who had them has them no more; a part of a
 * larger buffer is copied. Throws when they were given away before: they would be taken for empty.
 */
export function takeOver(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  if (!(buffer instanceof ArrayBuffer)) return new Uint8Array(bytes);
  if (buffer.detached) throw new Failure('unexpected', 'bytes that were given away are used again');
  return buffer.byteLength === bytes.byteLength ? new Uint8Array(buffer.transfer()) : new Uint8Array(bytes);
}
