/** Clock port: wall time, monotonic time and sleep, passed in so that tests control time. */

export interface Clock {
  nowMs(): number;
  /** Only ever goes on, whatever is done to the time of day; for durations. */
  monotonicMs(): number;
  /** Resolves after `ms`, or early when `signal` fires; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
