/**
 * Work that is tried again when the server gave it up: a deadlock, a lock that somebody held for too long, or, at the
 * commit on a cluster, a row that was changed through another node.
 *
 * Five times in all, within 20 s, with a random pause before each; then `database_conflict`. When the connection breaks
 * during the commit it is unknown what holds, so nothing is repeated: `database_unavailable`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../../errors.ts';
import { isTransient } from './errors.ts';
import type { SqlExecutor } from './tables.ts';

const triesMax = 5;
const triesMsMax = 20_000;
const pauseMs = 10;

/** `work` runs anew in each try. It must use nothing but the connection that it is given: SQLite has only that one. */
export async function inTransaction<T>(db: SqlExecutor, work: (transaction: SqlExecutor) => Promise<T>): Promise<T> {
  return withRetries(() => db.transaction().execute(work), isTransient);
}

/** Does `work` again while `isWorthIt` says so of its failure. */
export async function withRetries<T>(work: () => Promise<T>, isWorthIt: (failure: Failure) => boolean): Promise<T> {
  const endMs = performance.now() + triesMsMax;
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure && isWorthIt(error))) throw error;
      if (tries === triesMax || performance.now() > endMs) throw error;
    }
    // Two that were in each other's way must not meet again in step.
    await sleep(Math.random() * pauseMs * 2 ** tries);
  }
}
