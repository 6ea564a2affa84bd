/** Buffers for secrets: each in a block of memory of its own that V8 never moves, so that a wipe leaves no copy. */

const blockBytes = 4096;

/** All zeros. Whoever takes it wipes it. */
export function scratch(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(blockBytes, sizeBytes)), 0, sizeBytes);
}
