/**
 * A transaction that is tried again when the server gave it up: a deadlock, or a lock that somebody held for too long.
 *
 * Three times in all; then `database_conflict`. When the connection breaks during the commit it is unknown what holds.
 */
import { Failure } from '../../errors.ts';
import { isTransient } from './failures.ts';
import type { Connected } from './tables.ts';

const triesMax = 3;

/** `work` runs anew in each try. It must use nothing but the connection that it is given: SQLite has only that one. */
export async function inTransaction<T>(db: Connected, work: (transaction: Connected) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db.transaction().execute(work);
    } catch (error) {
      if (!(error instanceof Failure && isTransient(error)) || attempt === triesMax) throw error;
    }
  }
}
