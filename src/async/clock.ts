/** Clock port: wall time, monotonic time and sleep, passed in so that tests control time. */

export interface Clock {
  /** Milliseconds since 1970 (UTC). Steps when the system time is set. */
  nowMs(): number;
  /** Milliseconds since an arbitrary start. Never steps back; for durations. */
  monotonicMs(): number;
  /** Resolves after `ms`, or early when `signal` fires; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
