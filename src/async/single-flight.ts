/**
 * Single-flight: concurrent callers of a slow lookup share one run of it; three variants by how old a result may be.
 *
 * `singleFlight` caches a result for a while, `coalesce` none (each caller gets a run begun after its call), and
 * `staleWhileRevalidate` returns a cached value at once while a new one is looked up.
 */
import { asFailure, type Failure } from '../errors.ts';
import type { Clock } from './clock.ts';
import { databaseTimeout, within } from './deadline.ts';

type SingleFlightOptions<T> = {
  /** How long a result is reused. A failure never is. */
  readonly freshMs: (result: T) => number;
  /** A lookup in flight for longer than this is abandoned: the next caller starts another one. */
  readonly abandonedMs: number;
  /** A monotonic clock. */
  readonly nowMs: () => number;
};

/** Single-flight cache: a call joins the lookup in flight, or gets its result while that is fresh. */
export function singleFlight<T>(
  lookUp: () => Promise<T>,
  { freshMs, abandonedMs, nowMs }: SingleFlightOptions<T>,
): () => Promise<T> {
  let latest: { readonly result: Promise<T>; goodUntilMs: number } | null = null;
  return () => {
    if (latest !== null && nowMs() < latest.goodUntilMs) return latest.result;
    // A synchronous throw becomes a rejection.
    const mine = { result: Promise.try(lookUp), goodUntilMs: nowMs() + abandonedMs };
    latest = mine;
    mine.result.then(
      (value) => {
        mine.goodUntilMs = nowMs() + freshMs(value);
      },
      () => {
        mine.goodUntilMs = Number.NEGATIVE_INFINITY;
      },
    );
    return mine.result;
  };
}

/** Coalesces calls: `task` runs once at a time, and all calls during a run share the one run that follows it. */
export function coalesce<T>(task: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  let following: Promise<T> | null = null;
  const start = (): Promise<T> => {
    const run = task().finally(() => {
      if (running === run) running = null;
    });
    running = run;
    return run;
  };
  const startNext = (): Promise<T> => {
    following = null;
    return start();
  };
  return () => {
    if (running === null) return start();
    following ??= running.then(startNext, startNext);
    return following;
  };
}

type RevalidatedValue<T> = {
  readonly value: T;
  /** When it was looked up, in milliseconds since 1970. */
  readonly atMs: number;
  /** Why there is no newer value; null when the last lookup succeeded. */
  readonly trouble: Failure | null;
};

type StaleWhileRevalidateSettings = {
  /** No new lookup for so long; or by how long the last one took. */
  readonly freshMs: number | ((tookMs: number) => number);
  /** A value of up to this age is returned while a new one is looked up. */
  readonly usableMs: number;
  /** The caller waits this long for that lookup. Where the last one took longer, it is started after the response. */
  readonly quickMs: number;
  /** The caller waits this long when there is no usable value. */
  readonly waitMs: number;
};

export type StaleWhileRevalidate<T> = {
  /** Throws what the lookup threw, or `database_unavailable` after `waitMs`, only while there is no value at all. */
  get(): Promise<RevalidatedValue<T>>;
  /** What was looked up changed: the next caller waits for a new lookup. */
  invalidate(): void;
};

/** `changes`: how many invalidations preceded it. */
type Lookup = { readonly ended: Promise<unknown>; readonly sinceMs: number; readonly changes: number };
type CachedValue<T> = Omit<Lookup, 'ended'> & { readonly value: T; readonly atMs: number; readonly tookMs: number };

/** The response has been sent by then. */
const afterResponseMs = 100;
/** A lookup in flight for longer than this is abandoned. */
const abandonedMs = 30_000;

/** Single-flight cache with stale-while-revalidate (RFC 5861), whose lookups query the database. */
export function staleWhileRevalidate<T>(
  lookUp: () => Promise<T>,
  clock: Clock,
  settings: StaleWhileRevalidateSettings,
): StaleWhileRevalidate<T> {
  const { freshMs, usableMs, quickMs, waitMs } = settings;
  let cached: CachedValue<T> | null = null;
  let latest: Lookup | null = null;
  let trouble: Failure | null = null;
  let changes = 0;

  const now = (): number => clock.monotonicMs();
  const start = (delayMs: number): Lookup => {
    const known = changes;
    const run = async (): Promise<void> => {
      if (delayMs > 0) await clock.sleep(delayMs, new AbortController().signal);
      const sinceMs = now();
      const atMs = clock.nowMs();
      try {
        const value = await lookUp();
        // An abandoned lookup may end after its successor.
        if (cached === null || cached.sinceMs <= sinceMs)
          cached = { value, atMs, sinceMs, tookMs: now() - sinceMs, changes: known };
        trouble = null;
      } catch (error) {
        trouble = asFailure(error);
      }
    };
    const mine: Lookup = {
      ended: run().finally(() => (latest = latest === mine ? null : latest)),
      sinceMs: now(),
      changes,
    };
    latest = mine;
    return mine;
  };
  const inFlight = (): Lookup | null =>
    latest !== null && latest.changes === changes && now() - latest.sinceMs < abandonedMs ? latest : null;

  const revalidate = async (known: CachedValue<T>): Promise<RevalidatedValue<T>> => {
    const fresh = typeof freshMs === 'number' ? freshMs : freshMs(known.tookMs);
    if (now() - known.sinceMs < fresh) return { ...known, trouble };
    const isQuick = known.tookMs <= quickMs;
    const lookup = inFlight() ?? start(isQuick ? 0 : afterResponseMs);
    if (isQuick) await within(lookup.ended, quickMs, clock);
    return { ...(cached ?? known), trouble };
  };

  return {
    async get() {
      if (cached !== null && cached.changes === changes && now() - cached.sinceMs < usableMs)
        return await revalidate(cached);
      const lookup = inFlight() ?? start(0);
      const leftMs = Math.max(0, waitMs - (now() - lookup.sinceMs));
      const isLate = (await within(lookup.ended, leftMs, clock)) === null;
      const why = isLate ? databaseTimeout(waitMs) : trouble;
      if (cached !== null) return { ...cached, trouble: why };
      throw why ?? databaseTimeout(waitMs);
    },
    invalidate() {
      changes += 1;
    },
  };
}
