/**
 * The workers of one database, as this one sees them: who is live, who is at home where, and what the dead have left.
 *
 * Every worker reports to the table `workers` (encryption/keeper.ts); who has not for ten seconds by the database's clock
 * counts as dead, and its mailboxes are freed for the others. If it only slept, the fence refuses whatever it still writes.
 * A process of this machine that has ended is known to be dead at once. This one is alive, whatever its own row says: its
 * reports may fail where all else works. One of an earlier boot of this machine that does not report is forgotten, too: should it
 * be of another machine of the same name, it reports again and is back.
 */

import type { Clock } from '../../async/clock.ts';
import { events, type Log } from '../../events.ts';
import { isoTime } from '../../text/time.ts';
import type { SeenWorker, WorkerList, Workers } from '../ports.ts';
import type { Readiness } from '../readiness.ts';
import type { IngestStore } from '../stores.ts';

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
      const isSilent = ({ worker, live }: SeenWorker) => !live && worker !== workers.me && before.has(worker);
      const isGone = (one: SeenWorker) =>
        workers.isDead(one.worker) || (isSilent(one) && workers.isOfEarlierBoot(one.worker));
      const gone = all.filter((one) => one.worker !== workers.me && isGone(one));
      seen = all.filter((one) => !gone.includes(one));
      for (const { worker } of gone) await forget(worker);
      live = [...new Set([workers.me, ...seen.filter((one) => one.live).map((one) => one.worker)])];
      // Seen dead twice: when the database's clock is set forward, everybody looks dead until the next report.
      if (seen.some(isSilent)) (await store.freeDeadLeases(workerLiveMs, workers.me)).forEach(recovered);
      lookedAtMs = clock.monotonicMs();
    },
    isHome: (mailboxId) => homeOf(mailboxId, live) === workers.me,
    check: () => workersCheck(seen, workers.me),
  };
}

function workersCheck(seen: readonly SeenWorker[], me: string): Readiness['checks']['workers'] {
  const list = seen.map(({ host, pid, live, seenAtMs }) => ({
    host,
    pid,
    live,
    seen_at: isoTime(seenAtMs),
  }));
  const live = list.filter((one) => one.live).length;
  const dead = seen.find((one) => !one.live);
  if (dead === undefined) return { status: 'ok', since: null, reason: null, hint: null, live, list };
  const said = dead.worker === me ? unheard : silent(dead);
  return { status: 'warning', since: isoTime(dead.seenAtMs), ...said, live, list };
}

const unheard = {
  reason: 'the reports of this worker do not get through to the database',
  hint: 'Its log says why (worker.report_failed). Other workers take it for dead and visit its mailboxes.',
};

function silent({ host, pid }: SeenWorker) {
  return {
    reason: `a worker on ${host} (pid ${pid}) does not report any more`,
    hint: 'Its mailboxes are visited by the others. See its log; one that is gone for good is forgotten after a day.',
  };
}

/**
 * Which worker a mailbox is at home with: every worker works it out alike, without asking another one.
 *
 * Rendezvous hashing: of the live workers, the one whose name gives the highest number together with the mailbox. Mailboxes
 * spread evenly, and when a worker comes or goes, only those move that it gets or had. It is a preference, not a right: the
 * lease decides, and a mailbox that its home leaves waiting is anybody's. Pure.
 */

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** null when there is no worker. */
export function homeOf(mailboxId: string, workers: readonly string[]): string | null {
  let home: string | null = null;
  let highest = -1;
  for (const worker of workers) {
    const number = mixed(hashed(`${mailboxId}\n${worker}`));
    if (number < highest || (number === highest && home !== null && worker > home)) continue;
    highest = number;
    home = worker;
  }
  return home;
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function hashed(text: string): number {
  let hash = offsetBasis;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), prime);
  return hash >>> 0;
}

/** Names of workers differ in a few digits: every bit of them must reach the highest ones. */
function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
