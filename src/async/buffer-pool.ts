/**
 * Buffer pool for message sources: shared memory that is reused, one pool for the process.
 *
 * A source is received from the socket into a pooled buffer and parsed there by another thread, without a copy and
 * without garbage collection. Callers release a buffer exactly once, after its last reader. A leaked buffer is
 * garbage-collected. A source larger than 1 MiB gets memory of its own, which is released in the same way.
 */
import { Failure } from '../errors.ts';

/** A larger source is rare, and its memory is better freed than retained. */
const pooledBytesMax = 1024 * 1024;
const pooledBytesMin = 4 * 1024;
/** Of buffers that wait for their next source, all sizes together. */
const idleBytesMax = 6 * 1024 * 1024;

const idle = new Map<number, SharedArrayBuffer[]>();
let idleBytes = 0;
/** By the view, not by its memory: an old view of memory that has a new owner must not release it. */
const acquired = new WeakSet<Uint8Array>();

/** A buffer of `lengthBytes`, not zeroed: it holds what the source before it left there. */
export function acquire(lengthBytes: number): Buffer {
  const bytes =
    lengthBytes > pooledBytesMax
      ? Buffer.allocUnsafeSlow(lengthBytes)
      : Buffer.from(memoryOf(pooledSizeOf(lengthBytes)), 0, lengthBytes);
  acquired.add(bytes);
  return bytes;
}

/** `bytes` themselves if they were acquired here, else an acquired copy of them. */
export function copyIn(bytes: Uint8Array): Uint8Array {
  if (acquired.has(bytes)) return bytes;
  const copy = acquire(bytes.length);
  copy.set(bytes);
  return copy;
}

/**
 * Returns an acquired buffer to the pool. Any other buffer is detached if it owns its memory, and stays as it is if
 * not.
 */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (!acquired.delete(bytes) || buffer instanceof ArrayBuffer) {
    detach(bytes);
    return;
  }
  if (idleBytes + buffer.byteLength > idleBytesMax) return;
  idleBytes += buffer.byteLength;
  const same = idle.get(buffer.byteLength);
  if (same === undefined) idle.set(buffer.byteLength, [buffer]);
  else same.push(buffer);
}

function memoryOf(sizeBytes: number): SharedArrayBuffer {
  const memory = idle.get(sizeBytes)?.pop();
  if (memory === undefined) return new SharedArrayBuffer(sizeBytes);
  idleBytes -= sizeBytes;
  return memory;
}

/** A power of two or the half between two of them, so that at most a third is unused. */
function pooledSizeOf(lengthBytes: number): number {
  let size = pooledBytesMin;
  while (size < lengthBytes) size *= 2;
  const between = (size / 4) * 3;
  return size > pooledBytesMin && between >= lengthBytes ? between : size;
}

// Memory outside the pool. The garbage collector sees the small handle of a buffer, not the megabytes behind it: left
// to it, the sources and attachments of many batches would pile up. A detached or transferred buffer has length 0.

/** Frees the memory behind `bytes`. A view of a part of a larger buffer is not freed: the rest may be in use. */
export function detach(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength && !buffer.detached) buffer.transfer(0);
}

/**
 * The same bytes in a buffer of their own, which can be moved to a thread; `bytes` is detached. A view of a part of a
 * larger buffer is copied. Throws `unexpected` when `bytes` was detached before, as it would be taken for empty.
 */
export function transferOwnership(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  if (!(buffer instanceof ArrayBuffer)) return new Uint8Array(bytes);
  if (buffer.detached) throw new Failure('unexpected', 'detached bytes are used again');
  return buffer.byteLength === bytes.byteLength ? new Uint8Array(buffer.transfer()) : new Uint8Array(bytes);
}
