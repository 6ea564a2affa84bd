/**
 * Gives memory back at once, or away.
 *
 * The garbage collector sees the small handle of a buffer, not the megabytes behind it: left alone, the sources and
 * attachments of many windows pile up before it looks. A buffer that was released or taken over has length 0.
 */
import { Failure } from '../errors.ts';

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
