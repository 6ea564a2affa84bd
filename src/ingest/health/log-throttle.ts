/**
 * When a failure that repeats is worth another line in the log: when it changes, and at its 2nd, 4th, 8th … time in a row.
 *
 * A thing that fails every second for a night then fills a screen and not the disk, and still shows that it goes on. That holds
 * for one that fails now so, now so, too: of its changes the first eight are told, and then the 16th, 32nd … Pure; what is
 * kept is one small entry for each key that is in trouble.
 */

export type Told = {
  /** True when it is worth a line. */
  readonly isNews: boolean;
  /** How many times in a row it has failed, in whatever way; for a recovery, before that. */
  readonly count: number;
};

export type Repetition = {
  /** `state` names the failure (its code); null: it works again, and the key is forgotten. */
  tell(key: string, state: string | null): Told;
};

type Trouble = { readonly state: string; readonly count: number; readonly changes: number };

const none: Trouble = { state: '', count: 0, changes: 0 };
const changesToldMin = 8;

/** A memory of its own. A recovery is news only where there was a failure before. */
export function createRepetition(): Repetition {
  const troubles = new Map<string, Trouble>();
  return {
    tell(key, state) {
      const before = troubles.get(key) ?? none;
      if (state === null) return { isNews: troubles.delete(key), count: before.count };
      const isChange = before.state !== state;
      const [count, changes] = [before.count + 1, before.changes + (isChange ? 1 : 0)];
      troubles.set(key, { state, count, changes });
      const isToldChange = isChange && (changes <= changesToldMin || isPowerOfTwo(changes));
      return { isNews: isToldChange || isPowerOfTwo(count), count };
    },
  };
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}
