/**
 * Secret bytes: redacted in every printed form (JSON, string, inspection) and zeroed after use.
 *
 * Each secret has an ArrayBuffer of its own of at least 4 KiB: V8 keeps typed arrays of up to 64 bytes on its moving
 * heap and leaves copies of them behind. After `wipe` the bytes are zeros and `use` throws. Secrets are copied with
 * `copySecret` alone.
 */
import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

/** Smallest ArrayBuffer that V8 never moves. */
const blockBytes = 4096;
const placeholder = '[secret]';

export class SecretBytes {
  #bytes: Uint8Array<ArrayBuffer> | null;

  private constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /** Copies `source` and wipes it: the only constructor. */
  static take(source: Uint8Array): SecretBytes {
    const bytes = secretBuffer(source.length);
    copySecret(source, bytes);
    source.fill(0);
    return new SecretBytes(bytes);
  }

  get length(): number {
    return this.#bytes?.length ?? 0;
  }

  /** Lends the bytes to `reader`, which must not retain them. */
  use<T>(reader: (bytes: Uint8Array<ArrayBuffer>) => T): T {
    if (this.#bytes === null) throw new Error('secret bytes used after wipe');
    return reader(this.#bytes);
  }

  /** A copy, which is wiped on its own. */
  copy(): SecretBytes {
    return this.use((bytes) => {
      const copy = secretBuffer(bytes.length);
      copySecret(bytes, copy);
      return new SecretBytes(copy);
    });
  }

  /** Constant-time comparison; false for different lengths. */
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

/**
 * Zeroed buffer for a secret, in an ArrayBuffer that V8 never moves, so that a wipe leaves no copy. The caller wipes
 * it.
 */
export function secretBuffer(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(blockBytes, sizeBytes)), 0, sizeBytes);
}

/**
 * Copies `source` to `target` from `at` on, byte by byte in general registers. `TypedArray.set` copies through vector
 * registers, and V8 saves those to memory that is never wiped when it deoptimizes a function that runs next.
 */
export function copySecret(source: Uint8Array, target: Uint8Array, at = 0): void {
  for (let index = 0; index < source.length; index += 1) target[at + index] = source[index] ?? 0;
}
