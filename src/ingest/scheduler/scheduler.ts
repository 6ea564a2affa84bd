/**
 * Scheduler: every tick queries the database for due mailboxes and starts as many polls as the limits allow.
 *
 * Ticks come every second, and between them when a mailbox is due whose connection ended while it idled. Due times are
 * stored in the database, so a missed, late or doubled tick does no harm. An unreachable database is a state, not an
 * error: it is logged once when it goes and once when it returns. No poll starts that could only fail: while files
 * cannot be written, or the circuit breaker of the mail server is open.
 */
import { asFailure } from '../../errors.ts';
import { createRowReporter } from '../health/reporter.ts';
import { createClockComparison } from './clock-skew.ts';
import { createDueQueue, type DueQueue } from './due-queue.ts';
import {
  createPollRunner,
  isEmbedded,
  type PollRunner,
  type SchedulerPorts,
  type SchedulerSettings,
} from './poll-runner.ts';

interface Scheduler {
  /** Queries due mailboxes and starts polls; returns at once while the query of the last tick is still running. */
  tick(): Promise<void>;
  /** Resolves when no poll is in progress. */
  drained(): Promise<void>;
  /** The shutdown timeout is over: failures of polls that are cut off are not reported. */
  suppressReports(): void;
  /** Polls in progress; mailboxes that are due and wait for a slot, and for how long the first of them has waited. */
  load(): {
    readonly polls: number;
    /** Those of them that are long (long-polls.ts). */
    readonly pollsLong: number;
    readonly due: number;
    readonly dueMs: number;
  };
}

/** Mailboxes that one query returns. */
const dueMailboxesMax = 500;
/** Regular ticks are so far apart (daemon.ts). */
const tickMs = 1000;

/** `stop` ends polls after their current batch and prevents new ones. `settings` is read on every tick. */
export function createScheduler(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  stop: AbortSignal,
): Scheduler {
  const { clock, health, disk, reporter } = ports;
  const runner = createPollRunner(
    ...([ports, settings, stop] as const),
    () => slotFreed(),
    (afterMs) => dueAgain(afterMs),
  );
  const queue = createDueQueue(ports, settings, runner);
  const refill = createRefill(ports, settings, runner, queue);
  let isQuerying = false;
  let isTickAwaited = false;

  const tick = async (): Promise<void> => {
    health.liveness.tick();
    if (isQuerying || stop.aborted) return;
    isQuerying = true;
    health.liveness.queryStarted();
    try {
      await disk.refresh();
      await refill();
      if (!stop.aborted) queue.startRunnable();
      reporter.databaseState(null);
    } catch (error) {
      const failure = asFailure(error);
      if (failure.domain === 'disk' || isEmbedded(ports)) await disk.confirm();
      reporter.databaseState(failure);
    } finally {
      isQuerying = false;
      health.liveness.queryEnded();
    }
  };

  const slotFreed = (): void => {
    if (stop.aborted) return;
    if (queue.needsRefill()) void tick();
    else queue.startRunnable();
  };

  /** One tick at a time: hundreds of connections may end together. */
  const dueAgain = (afterMs: number): void => {
    if (afterMs > tickMs || isTickAwaited) return;
    isTickAwaited = true;
    void clock.sleep(afterMs, stop).then(() => {
      isTickAwaited = false;
      return tick();
    });
  };

  return {
    tick,
    suppressReports: runner.suppressReports,
    drained: runner.drained,
    load: () => ({ ...runner.activity(), ...queue.waiting() }),
  };
}

/** Everything that a tick asks the database, the due mailboxes last. */
function createRefill(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  runner: PollRunner,
  queue: DueQueue,
): () => Promise<void> {
  const { store, clock, health, workers, idleSlots, circuitBreaker, credentials } = ports;
  const reportRows = createRowReporter(ports);
  const compareClocks = createClockComparison(ports, () => settings().intervalMs);
  let isPrepared = false;
  let { intervalMs } = settings();

  /** After a reload with a shorter interval no mailbox waits out the longer one. */
  const applyInterval = async (): Promise<void> => {
    const nextMs = settings().intervalMs;
    if (nextMs < intervalMs) await store.makeAllDue();
    intervalMs = nextMs;
  };

  const prepare = async (): Promise<void> => {
    if (isPrepared) return;
    health.liveness.queryStarted(true);
    await ports.prepare();
    isPrepared = true;
    health.liveness.queryStarted();
  };

  return async () => {
    await prepare();
    await runner.reclaimUnusedLeases();
    await workers.refresh();
    await compareClocks();
    const startedAtMs = clock.monotonicMs();
    await store.scheduleNewMailboxes();
    health.recordDatabasePing(clock.monotonicMs() - startedAtMs);
    await reportRows();
    await idleSlots.refresh();
    await applyInterval();
    const excludedServers = circuitBreaker.openCircuits().filter((server) => !circuitBreaker.allows(server));
    const due = await store.dueMailboxes(
      dueMailboxesMax,
      credentials.keyIds(),
      settings().loginFailuresMax,
      excludedServers,
    );
    queue.replace(due, due.length < dueMailboxesMax);
  };
}
