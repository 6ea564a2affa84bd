/**
 * Log throttle for repeated failures: logs when a failure changes, and its 2nd, 4th, 8th … occurrence in a row.
 *
 * A failure every second for a whole night then fills a screen, not the disk, and still shows that it continues. A
 * flapping failure is throttled too: its first eight changes are logged, then the 16th, 32nd, … Pure; holds one small
 * entry for each key that currently fails.
 */

type LogDecision = {
  readonly shouldLog: boolean;
  /** Failures in a row, of whatever kind; for a recovery, before it. */
  readonly count: number;
};

type LogThrottle = {
  /** `state` is the failure's code; null: the key recovered, which is logged only after a failure. */
  record(key: string, state: string | null): LogDecision;
};

type Entry = { readonly state: string; readonly count: number; readonly changes: number };

const noFailure: Entry = { state: '', count: 0, changes: 0 };
const changesLoggedMin = 8;

export function createLogThrottle(): LogThrottle {
  const entries = new Map<string, Entry>();
  return {
    record(key, state) {
      const before = entries.get(key) ?? noFailure;
      if (state === null) return { shouldLog: entries.delete(key), count: before.count };
      const isChange = before.state !== state;
      const [count, changes] = [before.count + 1, before.changes + (isChange ? 1 : 0)];
      entries.set(key, { state, count, changes });
      const isLoggedChange = isChange && (changes <= changesLoggedMin || isPowerOfTwo(changes));
      return { shouldLog: isLoggedChange || isPowerOfTwo(count), count };
    },
  };
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}
