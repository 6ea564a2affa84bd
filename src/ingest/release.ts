/**
 * Gives memory back at once.
 *
 * The garbage collector sees the small handle of a buffer, not the megabytes behind it: left alone, the sources and
 * attachments of many windows pile up before it looks. A buffer that was released has length 0.
 */

/** Frees the memory behind `bytes`; what is a part of a larger buffer belongs to others too and is left alone. */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength && !buffer.detached) buffer.transfer(0);
}
