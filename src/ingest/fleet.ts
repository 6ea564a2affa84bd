/**
 * The workers of one database, as this one sees them: who is live, who is at home where, and what the dead have left.
 *
 * Every worker reports to the table `workers` (encryption/keeper.ts); who has not for ten seconds by the database's clock
 * counts as dead, and its mailboxes are freed for the others. If it only slept, the fence refuses whatever it still writes.
 * A process of this machine that has ended is known to be dead at once.
 */
import { events, type Log } from '../events.ts';
import type { SeenWorker, WorkerList } from './daemon-ports.ts';
import { homeOf } from './homes.ts';
import { isoTime } from './iso-time.ts';
import type { Clock, IngestStore, Workers } from './ports.ts';
import type { Readiness } from './readiness.ts';

export type FleetPorts = {
  readonly store: Pick<IngestStore, 'freeDeadLeases' | 'freeLeasesOf'> &
    WorkerList & { removeWorker(worker: string): Promise<void> };
  readonly workers: Workers;
  readonly clock: Clock;
  readonly log: Log;
};

export interface Fleet {
  /** Looks at the workers, if the last look is a while ago. */
  refresh(): Promise<void>;
  isHome(mailboxId: string): boolean;
  check(): Readiness['checks']['workers'];
}

const workerLiveMs = 10_000;
const lookMs = 2000;

export function createFleet(ports: FleetPorts): Fleet {
  const { store, workers, clock, log } = ports;
  let seen: readonly SeenWorker[] = [];
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let live: readonly string[] = [workers.me];

  const recovered = (worker: string): void => log.warn({ worker }, events.leaseRecovered);

  const forget = async (worker: string): Promise<void> => {
    if (await store.freeLeasesOf(worker)) recovered(worker);
    await store.removeWorker(worker);
  };

  return {
    refresh: async () => {
      if (clock.monotonicMs() - lookedAtMs < lookMs) return;
      const before = new Set(seen.filter((one) => !one.live).map((one) => one.worker));
      const all = await store.listWorkers(workerLiveMs);
      seen = all.filter(({ worker }) => !workers.isDead(worker));
      for (const { worker } of all) if (workers.isDead(worker)) await forget(worker);
      live = [...new Set([workers.me, ...seen.filter((one) => one.live).map((one) => one.worker)])];
      // Seen dead twice: when the database's clock is set forward, everybody looks dead until the next report.
      if (seen.some((one) => !one.live && before.has(one.worker)))
        (await store.freeDeadLeases(workerLiveMs)).forEach(recovered);
      lookedAtMs = clock.monotonicMs();
    },
    isHome: (mailboxId) => homeOf(mailboxId, live) === workers.me,
    check: () => workersCheck(seen),
  };
}

function workersCheck(seen: readonly SeenWorker[]): Readiness['checks']['workers'] {
  const list = seen.map(({ host, pid, live, seenAtMs }) => ({
    host,
    pid,
    live,
    seen_at: isoTime(seenAtMs),
  }));
  const live = list.filter((one) => one.live).length;
  const [dead] = list.filter((one) => !one.live);
  if (dead === undefined) return { status: 'ok', since: null, reason: null, hint: null, live, list };
  return {
    status: 'warning',
    since: dead.seen_at,
    reason: `a worker on ${dead.host} (pid ${dead.pid}) does not report any more`,
    hint: 'Its mailboxes are visited by the others. See its log; one that is gone for good is forgotten after a day.',
    live,
    list,
  };
}
