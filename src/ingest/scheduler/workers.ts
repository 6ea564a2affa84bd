/**
 * Membership and failover of the workers of one database, by heartbeats in the table `workers` (encryption/sync.ts).
 *
 * A worker without a heartbeat for ten seconds, by the database's clock, counts as dead: its leases are reclaimed. If
 * it was only suspended, the fencing token refuses what it still writes. A process of this machine that has ended is
 * known to be dead at once. A silent worker of an earlier boot of this machine is removed; if it runs on another
 * machine of the same name, its next heartbeat restores it. This worker counts as live whatever its own row says, as
 * its heartbeats may fail where everything else works.
 */
import type { Clock } from '../../async/clock.ts';
import { events, type Log } from '../../events.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import type { WorkerIdentity, WorkerList, WorkerRow } from '../ports.ts';
import type { Readiness } from '../readiness.ts';
import type { IngestStore } from '../stores.ts';

/** A worker with a heartbeat within this time, by the database's clock, counts as live. */
export const workerLiveMs = 10_000;

/** Workers with a recent heartbeat that are not known to be dead. */
export async function liveWorkers<Row extends WorkerRow>(ports: {
  readonly store: { listWorkers(liveMs: number): Promise<readonly Row[]> };
  readonly worker: Pick<WorkerIdentity, 'isDead'>;
}): Promise<readonly Row[]> {
  return (await ports.store.listWorkers(workerLiveMs)).filter((row) => isLive(row, ports.worker));
}

function isLive({ live, worker }: WorkerRow, self: Pick<WorkerIdentity, 'isDead'>): boolean {
  return live && !self.isDead(worker);
}

/** The host of a row, which may hold any text: a sentence in it would read as one of this program. */
export function workerHost(host: string): string {
  return /^[\w.-]{1,64}$/.test(host) ? host : 'a host with an unprintable name';
}

export function workerPlace({ host, pid }: { readonly host: string; readonly pid: number }): string {
  return `${workerHost(host)} (pid ${pid})`;
}

export type LiveWorkersPorts = {
  readonly store: Pick<IngestStore, 'reclaimLeasesOfDeadWorkers' | 'reclaimAllLeases'> &
    WorkerList & { removeWorker(worker: string): Promise<void> };
  readonly worker: WorkerIdentity;
  readonly clock: Clock;
  readonly log: Log;
};

export interface LiveWorkers {
  /** Reads the heartbeats, at most every two seconds, and reclaims the leases of dead workers. */
  refresh(): Promise<void>;
  /** True when this worker is the preferred one of the mailbox. */
  isPreferredHere(mailboxId: string): boolean;
  check(): Readiness['checks']['workers'];
}

const refreshMs = 2000;

export function createLiveWorkers(ports: LiveWorkersPorts): LiveWorkers {
  const { store, worker: self, clock, log } = ports;
  let seen: readonly WorkerRow[] = [];
  let refreshedAtMs = Number.NEGATIVE_INFINITY;
  let live: readonly string[] = [self.name];

  const reportReclaimed = (worker: string): void => log.warn({ worker }, events.leaseReclaimed);

  const remove = async (worker: string): Promise<void> => {
    if (await store.reclaimAllLeases(worker)) reportReclaimed(worker);
    await store.removeWorker(worker);
  };

  return {
    refresh: async () => {
      if (clock.monotonicMs() - refreshedAtMs < refreshMs) return;
      const before = new Set(seen.filter((one) => !one.live).map((one) => one.worker));
      const all = await store.listWorkers(workerLiveMs);
      const isSilent = ({ worker, live }: WorkerRow) => !live && worker !== self.name && before.has(worker);
      const isGone = (one: WorkerRow) => self.isDead(one.worker) || (isSilent(one) && self.isOfEarlierBoot(one.worker));
      const gone = all.filter((one) => one.worker !== self.name && isGone(one));
      seen = all.filter((one) => !gone.includes(one));
      for (const { worker } of gone) await remove(worker);
      live = [...new Set([self.name, ...seen.filter((one) => isLive(one, self)).map((one) => one.worker)])];
      // Dead in two reads in a row: when the database's clock steps forward, all workers are silent until their next
      // heartbeat.
      if (seen.some(isSilent))
        (await store.reclaimLeasesOfDeadWorkers(workerLiveMs, self.name)).forEach(reportReclaimed);
      refreshedAtMs = clock.monotonicMs();
    },
    isPreferredHere: (mailboxId) => preferredWorker(mailboxId, live) === self.name,
    check: () => workersCheck(seen, self.name),
  };
}

function workersCheck(seen: readonly WorkerRow[], me: string): Readiness['checks']['workers'] {
  const list = seen.map(({ host, pid, live, seenAtMs }) => ({
    host,
    pid,
    live,
    seen_at: isoTime(seenAtMs),
  }));
  const live = list.filter((one) => one.live).length;
  const dead = seen.find((one) => !one.live);
  if (dead === undefined) return { status: 'ok', since: null, reason: null, hint: null, live, list };
  const warning = dead.worker === me ? unrecorded : silent(dead);
  return { status: 'warning', since: isoTime(dead.seenAtMs), ...warning, live, list };
}

const unrecorded = {
  reason: 'the heartbeats of this worker do not reach the database',
  hint: hints.workerUnrecorded,
};

function silent({ host, pid }: WorkerRow) {
  return {
    reason: `no heartbeat from the worker on ${host} (pid ${pid})`,
    hint: hints.workerSilent,
  };
}

/**
 * Rendezvous hashing: all workers compute the same preferred worker for a mailbox without coordination; null without
 * any.
 *
 * It is the live worker whose name and the mailbox id together have the highest hash. Mailboxes spread evenly, and when
 * a worker joins or leaves, only its own mailboxes move. A preference only: the lease decides, and any worker polls a
 * mailbox that has been due for some seconds. Pure.
 */
export function preferredWorker(mailboxId: string, workers: readonly string[]): string | null {
  let preferred: string | null = null;
  let highest = -1;
  for (const worker of workers) {
    const number = mix(fnv1a(`${mailboxId}\n${worker}`));
    if (number < highest || (number === highest && preferred !== null && worker > preferred)) continue;
    highest = number;
    preferred = worker;
  }
  return preferred;
}

const fnvOffsetBasis = 0x811c9dc5;
const fnvPrime = 0x01000193;

/** FNV-1a, 32 bits, over UTF-16 code units. */
function fnv1a(text: string): number {
  let hash = fnvOffsetBasis;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), fnvPrime);
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: names of workers differ in few digits, and each must reach the highest bits. */
function mix(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
