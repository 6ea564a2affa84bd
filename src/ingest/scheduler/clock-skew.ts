/**
 * Compares this machine's clock with the database's, every ten seconds, and notices when the database's is set back.
 *
 * Due times are in the database's time. Set back by an hour, every mailbox would wait an hour more: so all that wait without
 * having failed are made due, and those that failed begin their wait anew. It may also have been set back while nobody looked
 * (the machine was started anew with the right time): so the first look goes for what waits longer than anything does.
 */

import type { Clock } from '../../async/clock.ts';
import { events, type Log } from '../../events.ts';
import type { Vitals } from '../health/health.ts';
import type { DatabaseHealth } from '../ports.ts';
import type { IngestStore } from '../stores.ts';

export type ClockPorts = {
  readonly store: Pick<DatabaseHealth, 'databaseNowMs'> & Pick<IngestStore, 'hurryAll' | 'hurryStranded'>;
  readonly vitals: Pick<Vitals, 'clockOffset'>;
  readonly clock: Clock;
  readonly log: Log;
};

const everyMs = 10_000;
const stepMsMin = 5000;

/** Looks, if the last look is a while ago. `intervalMs` is that between two visits to a mailbox. Throws `database_*`. */
export function createClockComparison(
  { store, vitals, clock, log }: ClockPorts,
  intervalMs: () => number,
): () => Promise<void> {
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let databaseAheadMs: number | null = null;
  return async () => {
    if (clock.monotonicMs() - lookedAtMs < everyMs) return;
    const [timeMs, sinceMs] = [clock.nowMs(), clock.monotonicMs()];
    const databaseMs = await store.databaseNowMs();
    const halfMs = (clock.monotonicMs() - sinceMs) / 2;
    vitals.clockOffset(timeMs + halfMs - databaseMs);
    const aheadMs = databaseMs - (sinceMs + halfMs);
    if (databaseAheadMs === null) await store.hurryStranded(intervalMs());
    const steppedMs = databaseAheadMs === null ? 0 : aheadMs - databaseAheadMs;
    if (steppedMs < -stepMsMin) await store.hurryAll();
    if (Math.abs(steppedMs) > stepMsMin) log.warn({ stepped_ms: Math.round(steppedMs) }, events.databaseClockStepped);
    databaseAheadMs = aheadMs;
    lookedAtMs = clock.monotonicMs();
  };
}
