/**
 * Clock skew and steps: every ten seconds compares this machine's clock with the database's, which due times are based
 * on.
 *
 * When the database's clock steps back by an hour, every mailbox would wait an hour more: those that did not fail are
 * made due, and those that failed start their wait again. What a comparison cannot detect, a step before the first one
 * (a reboot that corrected the time) or a due time that another program wrote, shows in mailboxes that wait longer than
 * the polling policy allows: they are made due each time.
 */
import type { Clock } from '../../async/clock.ts';
import { events, type Log } from '../../events.ts';
import type { HealthRecorder } from '../health/health.ts';
import { longestWaitMs } from '../polling-policy.ts';
import type { DatabaseHealth } from '../ports.ts';
import type { IngestStore } from '../stores.ts';

export type ClockPorts = {
  readonly store: Pick<DatabaseHealth, 'databaseNowMs'> & Pick<IngestStore, 'makeAllDue' | 'makeStrandedDue'>;
  readonly health: Pick<HealthRecorder, 'recordClockOffset'>;
  readonly clock: Clock;
  readonly log: Log;
};

const compareMs = 10_000;
const stepMsMin = 5000;

/** Compares at most every ten seconds. `intervalMs` is the poll interval in force. Throws `database_*`. */
export function createClockComparison(
  { store, health, clock, log }: ClockPorts,
  intervalMs: () => number,
): () => Promise<void> {
  let comparedAtMs = Number.NEGATIVE_INFINITY;
  let databaseAheadMs: number | null = null;
  return async () => {
    if (clock.monotonicMs() - comparedAtMs < compareMs) return;
    const [timeMs, sinceMs] = [clock.nowMs(), clock.monotonicMs()];
    const databaseMs = await store.databaseNowMs();
    const halfMs = (clock.monotonicMs() - sinceMs) / 2;
    health.recordClockOffset(timeMs + halfMs - databaseMs);
    const aheadMs = databaseMs - (sinceMs + halfMs);
    const [settings, isStart] = [{ intervalMs: intervalMs() }, databaseAheadMs === null];
    await store.makeStrandedDue((mailbox) => longestWaitMs(mailbox, settings, isStart));
    const steppedMs = databaseAheadMs === null ? 0 : aheadMs - databaseAheadMs;
    if (steppedMs < -stepMsMin) await store.makeAllDue();
    if (Math.abs(steppedMs) > stepMsMin) log.warn({ stepped_ms: Math.round(steppedMs) }, events.databaseClockStepped);
    databaseAheadMs = aheadMs;
    comparedAtMs = clock.monotonicMs();
  };
}
