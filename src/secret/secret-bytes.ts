/**
 * Bytes that must not be printed, and are wiped after use.
 *
 * The bytes live in one ArrayBuffer of their own of at least 4 KiB: V8 keeps typed arrays of up to 64 bytes on its
 * moving heap and leaves copies of them behind. Every printed form (JSON, text, inspection) is a fixed word. After
 * `wipe` the bytes are zeros and `use` throws.
 */
import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

const scratchBytes = 4096;
const placeholder = '[secret]';

export class SecretBytes {
  #bytes: Uint8Array<ArrayBuffer> | null;

  private constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /** Copies `source` and wipes it: the one way in. */
  static take(source: Uint8Array): SecretBytes {
    const bytes = new Uint8Array(new ArrayBuffer(Math.max(scratchBytes, source.length)), 0, source.length);
    bytes.set(source);
    source.fill(0);
    return new SecretBytes(bytes);
  }

  get length(): number {
    return this.#bytes?.length ?? 0;
  }

  /** Lends the bytes to `reader`, which must not keep them. */
  use<T>(reader: (bytes: Uint8Array<ArrayBuffer>) => T): T {
    if (this.#bytes === null) throw new Error('secret bytes are used after they were wiped');
    return reader(this.#bytes);
  }

  /** In the same time wherever they differ. Of different length: false. */
  equals(other: SecretBytes): boolean {
    return this.use((mine) => other.use((theirs) => mine.length === theirs.length && timingSafeEqual(mine, theirs)));
  }

  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toJSON(): string {
    return placeholder;
  }

  toString(): string {
    return placeholder;
  }

  [inspect.custom](): string {
    return placeholder;
  }
}

/** Buffers for secrets: each in a block of memory of its own that V8 never moves, so that a wipe leaves no copy. */

const blockBytes = 4096;

/** All zeros. Whoever takes it wipes it. */
export function secretBuffer(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(blockBytes, sizeBytes)), 0, sizeBytes);
}
