/**
 * Deadlines on promises: the value in time, or null or a failure once the time is up. The work itself is not cancelled.
 * And deadlines in run time of this process, which a suspended machine does not use up.
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

// Deadlines in run time: time during which the machine is suspended (a paused virtual machine, a frozen cgroup,
// SIGSTOP) does not count. One timer serves all of them.

const tickMs = 50;
/** Limit of what one late tick counts: this thread may have been busy while a parser thread ran. */
const lateMsMax = 1_000;

type OpenDeadline = { leftMs: number; countedAtMs: number; readonly onOver: () => void };

export class RunTimeDeadlines {
  readonly #open = new Set<OpenDeadline>();
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;

  /** `nowMs`: a monotonic clock. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Calls `onOver` once after `ms`, never after disposal. Does not keep the process alive. */
  start(ms: number, onOver: () => void): Disposable {
    const open = { leftMs: ms, countedAtMs: this.#nowMs(), onOver };
    this.#open.add(open);
    this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
    return { [Symbol.dispose]: () => this.#open.delete(open) };
  }

  #tick(): void {
    if (this.#open.size === 0) this.#stop();
    const nowMs = this.#nowMs();
    for (const open of this.#open) {
      open.leftMs -= Math.min(nowMs - open.countedAtMs, lateMsMax);
      open.countedAtMs = nowMs;
      if (open.leftMs <= 0 && this.#open.delete(open)) open.onOver();
    }
  }

  #stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
