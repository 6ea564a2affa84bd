/**
 * A value that is looked up for many who ask, where nobody may wait long.
 *
 * What is known is given while it is looked up anew, as long as it is not too old. A look that takes too long, or fails, is
 * told with what was known before it; where nothing was, it is thrown. Of several who ask at once, one look serves all.
 */
import { asFailure, type Failure } from '../errors.ts';
import type { Clock } from './clock.ts';
import { late, within } from './deadline.ts';

type Known<T> = {
  readonly value: T;
  /** When it was looked up. */
  readonly atMs: number;
  /** Why there is nothing newer; null: all is well. */
  readonly trouble: Failure | null;
};

type FreshSettings = {
  /** So long it is not looked up again: milliseconds, or these by how long the last look took. */
  readonly freshMs: number | ((tookMs: number) => number);
  /** So long it may be shown while it is looked up again. */
  readonly usableMs: number;
  /** So long that look is waited for: a look that took longer is begun when the answer is out. */
  readonly quickMs: number;
  /** So long it is waited for when what is known is too old. */
  readonly waitMs: number;
};

export type Fresh<T> = {
  /** Throws what the look threw, and `database_unavailable` when it takes too long, while nothing is known. */
  ask(): Promise<Known<T>>;
  /** Somebody changed something: the next who asks waits for a new look. */
  outdate(): void;
};

/** `changes`: how many were known of when it began. */
type Look = { readonly ended: Promise<unknown>; readonly sinceMs: number; readonly changes: number };
type Kept<T> = Omit<Look, 'ended'> & { readonly value: T; readonly atMs: number; readonly tookMs: number };

/** The answer is out by then. */
const afterwardsMs = 100;
/** A look that has not ended by then is given up: the next who asks begins another one. */
const givenUpMs = 30_000;

export function createFresh<T>(lookUp: () => Promise<T>, clock: Clock, settings: FreshSettings): Fresh<T> {
  const { freshMs, usableMs, quickMs, waitMs } = settings;
  let kept: Kept<T> | null = null;
  let looking: Look | null = null;
  let trouble: Failure | null = null;
  let changes = 0;

  const now = (): number => clock.monotonicMs();
  const begin = (delayMs: number): Look => {
    const known = changes;
    const look = async (): Promise<void> => {
      if (delayMs > 0) await pause(clock, delayMs);
      const sinceMs = now();
      const atMs = clock.nowMs();
      try {
        const value = await lookUp();
        // One that was given up may end after its successor.
        if (kept === null || kept.sinceMs <= sinceMs)
          kept = { value, atMs, sinceMs, tookMs: now() - sinceMs, changes: known };
        trouble = null;
      } catch (error) {
        trouble = asFailure(error);
      }
    };
    const mine: Look = {
      ended: look().finally(() => (looking = looking === mine ? null : looking)),
      sinceMs: now(),
      changes,
    };
    looking = mine;
    return mine;
  };
  const underWay = (): Look | null =>
    looking !== null && looking.changes === changes && now() - looking.sinceMs < givenUpMs ? looking : null;

  const usable = async (known: Kept<T>): Promise<Known<T>> => {
    const restMs = typeof freshMs === 'number' ? freshMs : freshMs(known.tookMs);
    if (now() - known.sinceMs < restMs) return { ...known, trouble };
    const isQuick = known.tookMs <= quickMs;
    const look = underWay() ?? begin(isQuick ? 0 : afterwardsMs);
    if (isQuick) await within(look.ended, quickMs, clock);
    return { ...(kept ?? known), trouble };
  };

  return {
    async ask() {
      if (kept !== null && kept.changes === changes && now() - kept.sinceMs < usableMs) return await usable(kept);
      const look = underWay() ?? begin(0);
      const leftMs = Math.max(0, waitMs - (now() - look.sinceMs));
      const isLate = (await within(look.ended, leftMs, clock)) === null;
      const why = isLate ? late(waitMs) : trouble;
      if (kept !== null) return { ...kept, trouble: why };
      throw why ?? late(waitMs);
    },
    outdate() {
      changes += 1;
    },
  };
}

async function pause(clock: Clock, ms: number): Promise<null> {
  await clock.sleep(ms, new AbortController().signal);
  return null;
}

/**
 * Looking something up for many who ask at once.
 *
 * Whoever asks while a lookup is under way gets its answer too; an answer is good for a moment; a failure is not kept. A
 * lookup that does not end keeps nobody waiting for ever: each asker has a limit, and after `givenUpMs` a new one begins.
 */

type ShareOptions<T> = {
  /** How long an answer is good. */
  readonly freshMs: (answer: T) => number;
  /** How old a lookup under way may be before the next asker begins a new one. */
  readonly givenUpMs: number;
  /** A clock that only goes on. */
  readonly nowMs: () => number;
};

export function shared<T>(lookUp: () => Promise<T>, { freshMs, givenUpMs, nowMs }: ShareOptions<T>): () => Promise<T> {
  let latest: { readonly answer: Promise<T>; goodUntilMs: number } | null = null;
  return () => {
    if (latest !== null && nowMs() < latest.goodUntilMs) return latest.answer;
    const mine = { answer: begin(lookUp), goodUntilMs: nowMs() + givenUpMs };
    latest = mine;
    mine.answer.then(
      (value) => {
        mine.goodUntilMs = nowMs() + freshMs(value);
      },
      () => {
        mine.goodUntilMs = Number.NEGATIVE_INFINITY;
      },
    );
    return mine.answer;
  };
}

/** A lookup that throws at once fails like one that throws later. */
async function begin<T>(lookUp: () => Promise<T>): Promise<T> {
  return lookUp();
}

/** Null when `answer` takes longer than `ms`; what it says later is nobody's concern. */
export async function withinLimit<T>(answer: Promise<T>, ms: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
