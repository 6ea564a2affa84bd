/**
 * The scheduler: every wake asks the database which mailboxes are due, and visits as many of them as the limits allow.
 *
 * Due times live in the database, so that a wake is only a wake: missed, late or doubled ones do no harm. A database
 * that cannot be reached is a state, not an end: it is told once when it goes and once when it comes back. While files
 * cannot be written, or nothing at a mail server can be reached, no visit begins that could only fail.
 */

import { asFailure } from '../../errors.ts';
import { createInvalidTeller } from '../health/reporter.ts';
import { createClockComparison } from './clock-skew.ts';
import { createWaiting, type Waiting } from './due-queue.ts';
import { createVisits, type SchedulerPorts, type SchedulerSettings, type Visits } from './poll-runner.ts';

interface Scheduler {
  /** Looks for due mailboxes and starts visits; does nothing while the last wake is still asking. */
  wake(): Promise<void>;
  /** Resolves when no visit is under way. */
  idle(): Promise<void>;
  /** The time to drain is over: what the visits that are cut off have to say is no news. */
  abandon(): void;
  /** Visits under way, and mailboxes that were due at the last wake and found no place. */
  busy(): { readonly visits: number; readonly due: number; readonly dueMs: number };
}

const dueAtOnce = 500;

/** The loop; `stop` ends visits after the window they are at, and keeps new ones from starting. `settings` is asked anew. */
export function createScheduler(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  stop: AbortSignal,
): Scheduler {
  const { vitals, disk, teller } = ports;
  const visits = createVisits(ports, settings, stop, () => next());
  const waiting = createWaiting(ports, settings, visits);
  const ask = createAsk(ports, settings, visits, waiting);
  let isAsking = false;

  const wake = async (): Promise<void> => {
    vitals.turning.woke();
    if (isAsking || stop.aborted) return;
    isAsking = true;
    vitals.turning.asking();
    try {
      await disk.refresh();
      await ask();
      if (!stop.aborted) waiting.begin();
      teller.database(null);
    } catch (error) {
      teller.database(asFailure(error));
    } finally {
      isAsking = false;
      vitals.turning.asked();
    }
  };

  /** A place has become free. */
  const next = (): void => {
    if (stop.aborted) return;
    if (waiting.isDry()) void wake();
    else waiting.begin();
  };

  return {
    wake,
    abandon: visits.abandon,
    idle: visits.idle,
    busy: () => ({ visits: visits.busy(), ...waiting.count() }),
  };
}

/** Everything that a wake has to ask the database. */
function createAsk(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  visits: Visits,
  waiting: Waiting,
): () => Promise<void> {
  const { store, clock, vitals, fleet, push, hosts, passwords } = ports;
  const tellInvalid = createInvalidTeller(ports);
  const compareClocks = createClockComparison(ports, () => settings().intervalMs);
  let isPrepared = false;
  let { intervalMs } = settings();

  /** After a reload with a shorter interval nobody waits out the longer one. */
  const keepInterval = async (): Promise<void> => {
    const nextMs = settings().intervalMs;
    if (nextMs < intervalMs) await store.hurryAll();
    intervalMs = nextMs;
  };

  const prepare = async (): Promise<void> => {
    if (isPrepared) return;
    vitals.turning.asking(true);
    await ports.prepare();
    isPrepared = true;
    vitals.turning.asking();
  };

  return async () => {
    await prepare();
    await visits.recoverLeases();
    await fleet.refresh();
    await compareClocks();
    const askedAtMs = clock.monotonicMs();
    await store.adoptMailboxes();
    vitals.answered(clock.monotonicMs() - askedAtMs);
    await tellInvalid();
    await push.refresh();
    await keepInterval();
    const closed = hosts.list().filter((server) => !hosts.admits(server));
    const due = await store.dueMailboxes(dueAtOnce, passwords.keyIds(), settings().loginRefusalsMax, closed);
    waiting.put(due, due.length < dueAtOnce);
  };
}
