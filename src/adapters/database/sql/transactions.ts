/**
 * Transaction retry with jitter: after a deadlock, a lock timeout, or a certification conflict at the commit on Galera.
 *
 * Five attempts within 20 s, with a random pause before each retry; then `database_conflict`. After a connection that
 * broke during the commit the result is unknown, so nothing is retried: `database_unavailable`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../../errors.ts';
import { isTransient } from './errors.ts';
import type { SqlExecutor } from './tables.ts';

const triesMax = 5;
const retryMsMax = 20_000;
const pauseMs = 10;

/** `work` runs again in each attempt. It must use its transaction alone: SQLite has only that connection. */
export async function inTransaction<T>(db: SqlExecutor, work: (transaction: SqlExecutor) => Promise<T>): Promise<T> {
  return withRetries(() => db.transaction().execute(work), isTransient);
}

/** Repeats `work` while `isRetryable` accepts its failure. */
export async function withRetries<T>(work: () => Promise<T>, isRetryable: (failure: Failure) => boolean): Promise<T> {
  const endMs = performance.now() + retryMsMax;
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure && isRetryable(error))) throw error;
      if (tries === triesMax || performance.now() > endMs) throw error;
    }
    // Jitter, so that two conflicting transactions do not meet again.
    await sleep(Math.random() * pauseMs * 2 ** tries);
  }
}
