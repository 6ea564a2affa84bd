/**
 * Deadlines in run time of this process: time during which the machine is suspended (a paused virtual machine, a frozen
 * cgroup, SIGSTOP) does not count. One timer serves all of them.
 */

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
