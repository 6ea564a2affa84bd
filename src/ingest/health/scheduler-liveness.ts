/**
 * Scheduler liveness: ticks arrive on time and the due-mailbox query returns. Feeds the systemd watchdog and `/readyz`.
 *
 * A query that waits for the database within the deadlines of its statements counts as alive; one without an answer for
 * minutes does not. Uses the monotonic clock, so that a step of the system time is no failure.
 */
import type { Clock } from '../../async/clock.ts';
import { hints } from '../../text/hints.ts';
import { spanText } from '../../text/units.ts';
import type { Check, Readiness } from '../readiness.ts';

export interface SchedulerLiveness {
  tick(): void;
  /** `mayTakeLong`: it brings the tables up to date. */
  queryStarted(mayTakeLong?: boolean): void;
  queryEnded(): void;
  check(): Check & { readonly lag_ms: number | null };
  /** How long it ticks. */
  uptimeMs(): number;
  /** False when only a restart can help. */
  readonly isAlive: boolean;
}

/** Ticks come every second. */
const lagMsMax = 15_000;
/** A query is a few statements, each with a deadline of 30 s. */
const queryMsMax = 5 * 60_000;

export function createSchedulerLiveness(clock: Clock): SchedulerLiveness {
  let lastTickMs: number | null = null;
  let firstTick: { readonly atMs: number; readonly monotonicMs: number } | null = null;
  let query: { readonly sinceMs: number; readonly mayTakeLong: boolean } | null = null;

  const isQueryLost = () => query !== null && !query.mayTakeLong && clock.monotonicMs() - query.sinceMs > queryMsMax;
  const lagMs = () => (lastTickMs === null ? null : clock.monotonicMs() - lastTickMs);

  return {
    tick: () => {
      lastTickMs = clock.monotonicMs();
      firstTick ??= { atMs: clock.nowMs(), monotonicMs: lastTickMs };
    },
    queryStarted: (mayTakeLong = false) => {
      query = { sinceMs: clock.monotonicMs(), mayTakeLong };
    },
    queryEnded: () => {
      query = null;
    },
    uptimeMs: () => (firstTick === null ? 0 : clock.monotonicMs() - firstTick.monotonicMs),
    get isAlive() {
      return (lagMs() ?? 0) <= lagMsMax && !isQueryLost();
    },
    check: () => {
      const lag = lagMs();
      if (lag === null || firstTick === null)
        return { status: 'unknown', since: null, reason: 'starting', hint: null, lag_ms: null };
      const failing = {
        status: 'failing',
        since: new Date(clock.nowMs() - lag).toISOString(),
        hint: hints.schedulerStuck,
      } as const;
      const lagging = { lag_ms: Math.round(lag) };
      if (lag > lagMsMax) return { ...failing, reason: `no tick for ${Math.round(lag / 1000)} s`, ...lagging };
      if (isQueryLost()) return { ...failing, reason: 'a database query does not return', ...lagging };
      return { status: 'ok', since: new Date(firstTick.atMs).toISOString(), reason: null, hint: null, ...lagging };
    },
  };
}

const waitMsMin = 60_000;
const intervalsMax = 3;

type SchedulerLoad = {
  readonly polls: number;
  readonly pollsLong: number;
  readonly due: number;
  readonly dueMs: number;
  readonly intervalMs: number;
};

/** A warning where a due mailbox has waited for a slot for three intervals, and a minute, since the start at most. */
export function schedulerCheck(
  ticks: Pick<SchedulerLiveness, 'check' | 'uptimeMs'>,
  { polls, pollsLong, due, dueMs, intervalMs }: SchedulerLoad,
  nowMs: number,
): Readiness['checks']['scheduler'] {
  const load = { polls, polls_long: pollsLong, due, due_oldest_age_ms: dueMs };
  const liveness = ticks.check();
  const waitMs = Math.min(dueMs, ticks.uptimeMs());
  if (liveness.status !== 'ok' || waitMs < Math.max(waitMsMin, intervalsMax * intervalMs))
    return { ...liveness, ...load };
  const reason = `a due mailbox has waited ${spanText(waitMs)} for a slot: ${polls} polls are in progress, ${pollsLong} of them long`;
  const since = new Date(nowMs - waitMs).toISOString();
  return { ...liveness, status: 'warning', since, reason, hint: hints.slotsTaken, ...load };
}
