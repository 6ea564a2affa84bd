/** Deadlines on promises: a value in time, or a fallback or a failure once the time is up. */
import { Failure } from '../errors.ts';
import type { Clock } from './clock.ts';

export function late(ms: number): Failure {
  return new Failure('database_unavailable', `the database has not answered for ${ms / 1000} s`);
}

/** What `answer` resolves to in a box, or null when that takes longer than `ms`. What it says later is nobody's concern. */
export async function within<T>(answer: Promise<T>, ms: number, clock: Clock): Promise<{ readonly value: T } | null> {
  const done = new AbortController();
  const boxed = answer.then((value) => ({ value }));
  try {
    return await Promise.race([boxed, clock.sleep(ms, done.signal).then(() => null)]);
  } finally {
    done.abort();
    boxed.catch(() => undefined);
  }
}

/** Throws `database_unavailable` when it takes longer than `ms`. */
export async function inTime<T>(answer: Promise<T>, ms: number, clock: Clock): Promise<T> {
  const done = await within(answer, ms, clock);
  if (done === null) throw late(ms);
  return done.value;
}
