/**
 * How long to wait before the next poll of a mailbox that failed: doubling from the poll interval up to a limit,
 * with jitter so that fifty mailboxes of one server do not come back in the same second. Pure; randomness comes in.
 */

/**
 * Milliseconds to wait after `failures` failed polls in a row (1 or more). `random` is from 0 to 1.
 * The first wait is at least one second; jitter takes away up to a quarter, never adds.
 */
export function backOffMs(failures: number, intervalMs: number, waitMsMax: number, random: number): number {
  const doublings = Math.min(Math.max(failures, 1) - 1, 20);
  const first = Math.max(1000, Math.min(intervalMs, 15_000));
  const full = Math.min(first * 2 ** doublings, Math.max(waitMsMax, first));
  return Math.round(full * (1 - 0.25 * random));
}
