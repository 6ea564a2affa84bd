/**
 * Deadlines on promises: the value in time, or null or a failure once the time is up. The work itself is not cancelled.
 */
import { Failure } from '../errors.ts';
import type { Clock } from './clock.ts';

type Sleep = Pick<Clock, 'sleep'>;

/** Node's own timer, for adapters that are given no clock. It does not keep the process alive. */
const timer: Sleep = {
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timeout = setTimeout(resolve, ms).unref();
      signal.addEventListener('abort', () => {
        clearTimeout(timeout);
        resolve();
      });
    }),
};

/** The value of `work` in a box, or null when it takes longer than `ms`. A rejection after that is ignored. */
export async function within<T>(
  work: Promise<T>,
  ms: number,
  clock: Sleep = timer,
): Promise<{ readonly value: T } | null> {
  const done = new AbortController();
  const boxed = work.then((value) => ({ value }));
  try {
    return await Promise.race([boxed, clock.sleep(ms, done.signal).then(() => null)]);
  } finally {
    done.abort();
    boxed.catch(() => undefined);
  }
}

/** The value of a database query. Throws `database_unavailable` when it takes longer than `ms`. */
export async function withDatabaseDeadline<T>(query: Promise<T>, ms: number, clock: Sleep): Promise<T> {
  const done = await within(query, ms, clock);
  if (done === null) throw databaseTimeout(ms);
  return done.value;
}

export function databaseTimeout(ms: number): Failure {
  return new Failure('database_unavailable', `the database has not answered for ${ms / 1000} s`);
}
