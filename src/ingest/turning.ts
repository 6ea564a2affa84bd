/**
 * Whether the scheduler turns: wakes come, and the one that asks the database comes back.
 *
 * Waiting for a database within the deadlines of its statements is turning, too; a wake that does not come, or that is
 * lost in a question for minutes, is not. Goes by the monotonic clock: a step of the time of day is no stand-still.
 */
import type { Clock } from '../async/clock.ts';
import type { Check } from './readiness.ts';

export interface Turning {
  /** A wake came. */
  woke(): void;
  /** A wake asks what is due, and has been told. `mayTakeLong` is for bringing the tables up to date. */
  asking(mayTakeLong?: boolean): void;
  asked(): void;
  check(): Check & { readonly lag_ms: number | null };
  /** False when only a new start can help. */
  readonly isTurning: boolean;
}

/** A wake that is later than this means that the loop does not turn. */
const lagMsMax = 15_000;
/** Statements have a deadline of 30 s each, and a few of them make a question. */
const askMsMax = 5 * 60_000;
const hint = 'The process is stuck or starved: see its CPU use and log.';

export function turning(clock: Clock): Turning {
  let wokeAtMs: number | null = null;
  let firstAtMs: number | null = null;
  let asking: { readonly sinceMs: number; readonly mayTakeLong: boolean } | null = null;

  const isLost = () => asking !== null && !asking.mayTakeLong && clock.monotonicMs() - asking.sinceMs > askMsMax;
  const lagMs = () => (wokeAtMs === null ? null : clock.monotonicMs() - wokeAtMs);

  return {
    woke: () => {
      wokeAtMs = clock.monotonicMs();
      firstAtMs ??= clock.nowMs();
    },
    asking: (mayTakeLong = false) => {
      asking = { sinceMs: clock.monotonicMs(), mayTakeLong };
    },
    asked: () => {
      asking = null;
    },
    get isTurning() {
      return (lagMs() ?? 0) <= lagMsMax && !isLost();
    },
    check: () => {
      const lag = lagMs();
      if (lag === null || firstAtMs === null)
        return { status: 'unknown', since: null, reason: 'starting', hint: null, lag_ms: null };
      const lagging = { hint, lag_ms: Math.round(lag) };
      const since = new Date(clock.nowMs() - lag).toISOString();
      if (lag > lagMsMax)
        return { status: 'failing', since, reason: `no wake for ${Math.round(lag / 1000)} s`, ...lagging };
      if (isLost()) return { status: 'failing', since, reason: 'a question to the database is lost', ...lagging };
      return {
        ...{ status: 'ok', since: new Date(firstAtMs).toISOString(), reason: null, hint: null },
        lag_ms: Math.round(lag),
      };
    },
  };
}
