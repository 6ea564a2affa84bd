/**
 * Pseudo-random numbers that are the same on every machine for the same seed.
 *
 * The generator is mulberry32: 32 bits of state, good enough for test material and for nothing else. A caller that
 * uses it must keep the order of the calls: one call more or less changes everything that follows.
 */

export type SeededRandom = {
  /** At least 0, below 1. */
  readonly fraction: () => number;
  /** An integer from `least` to `most`, both included. */
  readonly between: (least: number, most: number) => number;
  /** One item of a list that is not empty. */
  readonly pick: <T>(items: readonly T[]) => T;
  /** True with the given probability. */
  readonly chance: (probability: number) => boolean;
  /** `length` bytes, four from each number; the last `length % 4` stay zero. */
  readonly bytes: (length: number) => Buffer<ArrayBuffer>;
};

const twoTo32 = 2 ** 32;
const stateStep = 0x6d2b79f5;

export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + stateStep) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / twoTo32;
  };
  return {
    fraction,
    between: (least, most) => least + Math.floor(fraction() * (most - least + 1)),
    pick: (items) => itemAt(items, Math.floor(fraction() * items.length)),
    chance: (probability) => fraction() < probability,
    bytes: (length) => randomBytes(fraction, length),
  };
}

/** The item at an index that is known to exist. */
export function itemAt<T>(items: readonly T[], index: number): T {
  if (index < 0 || index >= items.length) throw new RangeError(`no item ${index} in a list of ${items.length}`);
  return items[index] as T;
}

function randomBytes(fraction: () => number, length: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(length);
  for (let offset = 0; offset + 4 <= length; offset += 4) {
    bytes.writeUInt32LE(Math.floor(fraction() * twoTo32), offset);
  }
  return bytes;
}
