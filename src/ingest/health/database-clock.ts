/**
 * Clock of the database as this worker knows it: what it said when rows were read, carried on by the monotonic clock.
 *
 * Times in the tables are by that clock, so that a step of the time of this machine changes no verdict. After a step of
 * the database's own clock nothing counts as due for longer than since then.
 */
import type { Clock } from '../../async/clock.ts';

export interface DatabaseClock {
  /** `nowMs`: what the database says now. */
  read(nowMs: number): void;
  /** Milliseconds since 1970; by the clock of this machine before the first reading. */
  nowMs(): number;
  /** How long it has not stepped, as far as is known. */
  steadyMs(): number;
}

/** A reading that is late by a slow query is no step. */
const stepMsMin = 60_000;

export function createDatabaseClock(clock: Pick<Clock, 'nowMs' | 'monotonicMs'>): DatabaseClock {
  let aheadMs: number | null = null;
  let steppedAtMs = Number.NEGATIVE_INFINITY;
  return {
    read: (nowMs) => {
      const nextMs = nowMs - clock.monotonicMs();
      if (aheadMs !== null && Math.abs(nextMs - aheadMs) > stepMsMin) steppedAtMs = clock.monotonicMs();
      aheadMs = nextMs;
    },
    nowMs: () => (aheadMs === null ? clock.nowMs() : clock.monotonicMs() + aheadMs),
    steadyMs: () => clock.monotonicMs() - steppedAtMs,
  };
}
