/**
 * One daemon for one SQLite file: a lock that the kernel takes away from a process that dies, however it dies.
 *
 * It is the lock of a second, empty database beside the first, which nothing else opens: commands work on the first one as
 * before. With MySQL or MariaDB any number of daemons work together, and there is nothing to lock.
 */
import { open } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { Failure } from '../../errors.ts';

const busy = 5;

/** Held until it is disposed. Throws `worker_running`. Where the lock cannot be made at all, nothing is held. */
export async function lockForDaemon(databasePath: string): Promise<Disposable> {
  const path = `${databasePath}-daemon`;
  try {
    await (await open(path, 'a', 0o600)).close();
    const lock = new DatabaseSync(path, { timeout: 0 });
    lock.exec('begin exclusive');
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (typeof error === 'object' && error !== null && Reflect.get(error, 'errcode') === busy)
      throw new Failure('worker_running', `another daemon works on ${databasePath}`, { cause: error });
    // A disk on which nothing can be written says so in its own check, and is tried again.
    return { [Symbol.dispose]: () => undefined };
  }
}
