/** Promises in tests: waiting for a condition, the failure with which one rejects, and the work that it takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../src/errors.ts';

/**
 * Asks again and again; fails with `what`. The default is patience for a busy machine, less than the minute after which
 * a lease of a dead worker expires; a promise about time has a limit of its own.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 50_000,
): Promise<Exclude<T, false | null | undefined>> {
  let last: T | undefined;
  for (const endMs = performance.now() + timeoutMs; performance.now() < endMs; await sleep(50)) {
    last = await look();
    if (last !== false && last !== null && last !== undefined) return last as Exclude<T, false | null | undefined>;
  }
  throw new Error(`it never came within ${timeoutMs} ms: ${what}`);
}

/** Throws when the work succeeds, or fails with an error that is no `Failure`. */
export async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`no failure: ${String(error)}`, { cause: error });
}

/**
 * CPU time of this process until `work` is done. Unlike the time on the clock it does not grow while other processes
 * have the processor, so it is what a limit on work compares; a limit on waiting needs the clock.
 */
export async function cpuMsOf(work: Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work;
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
