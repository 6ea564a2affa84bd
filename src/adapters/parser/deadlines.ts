/**
 * Deadlines in time that this process has run: when the machine stood still for a while (a paused virtual machine, a frozen
 * control group, SIGSTOP), no mail is to blame for it. One timer for all of them.
 */

const tickMs = 50;
/** What counts of a tick that comes late: this thread may have been busy while the other one ran. */
const lateMsMax = 1_000;

type Open = { leftMs: number; countedAtMs: number; readonly onOver: () => void };

export class Deadlines {
  readonly #open = new Set<Open>();
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;

  /** `nowMs`: a clock that only goes on. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Calls `onOver` once, when `ms` have passed; never after it was disposed. Keeps no process alive. */
  start(ms: number, onOver: () => void): Disposable {
    const open = { leftMs: ms, countedAtMs: this.#nowMs(), onOver };
    this.#open.add(open);
    this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
    return { [Symbol.dispose]: () => this.#open.delete(open) };
  }

  #tick(): void {
    if (this.#open.size === 0) this.#rest();
    const nowMs = this.#nowMs();
    for (const open of this.#open) {
      open.leftMs -= Math.min(nowMs - open.countedAtMs, lateMsMax);
      open.countedAtMs = nowMs;
      if (open.leftMs <= 0 && this.#open.delete(open)) open.onOver();
    }
  }

  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
