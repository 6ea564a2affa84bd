/**
 * Of the mailboxes that are due, those that are visited now: what the limits leave room for, and what is ours to visit.
 *
 * Each mailbox has a home among the live workers, which visits it first; one that has waited for some seconds, or that
 * fails (perhaps only from there), is anybody's. Mailboxes that fail get half of the places at most: a hundred servers that
 * never answer do not keep the others waiting. Pure.
 */
import { type Connection, serverKey } from '../model.ts';
import type { DueMailbox } from '../stores.ts';
import { isRetryOf, type Limits, type SchedulerPorts, type UnderWay, type Visits } from './poll-runner.ts';

type Server = Pick<Connection, 'host' | 'port'>;

type Ours = {
  readonly isHome: (mailboxId: string) => boolean;
  readonly admitsServer: (server: Server) => boolean;
  /** Servers that are left alone: one mailbox tries for all. */
  readonly held: readonly Server[];
};

/** So long a mailbox waits for its home. */
const graceMs = 3000;

/** In the order of `due`, which is by how long they have waited. */
export function admitted(
  due: readonly DueMailbox[],
  underWay: ReadonlyMap<string, UnderWay>,
  limits: Limits,
  ours: Ours,
): readonly DueMailbox[] {
  const busy = [...underWay.values()].filter(({ isResting }) => !isResting);
  const perHost = new Map<string, number>();
  for (const { host } of busy) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const candidates = due.filter((mailbox) => !underWay.has(mailbox.id) && isForUs(mailbox, ours));
  const tries = triesOf(candidates, ours.held);
  const retriesMax = Math.max(1, Math.floor(limits.concurrencyMax / 2));
  let retries = busy.filter(({ isRetry }) => isRetry).length;
  const chosen: DueMailbox[] = [];
  for (const mailbox of candidates) {
    const { host } = mailbox.connection;
    const onHost = perHost.get(host) ?? 0;
    const isRetry = isRetryOf(mailbox);
    if (busy.length + chosen.length >= limits.concurrencyMax) break;
    if (onHost >= limits.concurrencyPerHostMax || (isRetry && retries >= retriesMax)) continue;
    const tried = tries.get(serverKey(mailbox.connection));
    if (tried !== undefined && tried !== mailbox) continue;
    perHost.set(host, onHost + 1);
    if (isRetry) retries += 1;
    chosen.push(mailbox);
  }
  return chosen;
}

/** For each server that is left alone the mailbox that tries it: the one that has failed least. */
function triesOf(candidates: readonly DueMailbox[], held: readonly Server[]): ReadonlyMap<string, DueMailbox> {
  const keys = new Set(held.map(serverKey));
  const tries = new Map<string, DueMailbox>();
  for (const mailbox of candidates) {
    const key = serverKey(mailbox.connection);
    const best = tries.get(key);
    if (keys.has(key) && (best === undefined || mailbox.due.failures < best.due.failures)) tries.set(key, mailbox);
  }
  return tries;
}

function isForUs({ id, connection, due }: DueMailbox, { isHome, admitsServer }: Ours): boolean {
  return admitsServer(connection) && (due.failures > 0 || due.overdueMs > graceMs || isHome(id));
}

/**
 * The mailboxes that were due at the last wake and wait for a place: whenever a visit ends, the next one begins at once.
 *
 * The list is a second old at most, and goes by the database again with every wake; one that another worker has visited
 * meanwhile is left to the next wake (the lease is taken only as it was seen).
 */

export interface Waiting {
  /** What is due now, in place of what was. `isAll` is false when there are more. */
  put(due: readonly DueMailbox[], isAll: boolean): void;
  /** Begins as many visits as there is room for. */
  begin(): void;
  /** True when there is room left and more may be due than the list had. */
  isDry(): boolean;
  count(): { readonly due: number; readonly dueMs: number };
}

export function createWaiting(
  ports: Pick<SchedulerPorts, 'fleet' | 'hosts' | 'disk'>,
  limits: () => Limits,
  visits: Pick<Visits, 'inProgress' | 'start'>,
): Waiting {
  const { fleet, hosts, disk } = ports;
  let list: readonly DueMailbox[] = [];
  let isWhole = true;
  return {
    put: (due, isAll) => {
      list = due.filter(({ id }) => !visits.inProgress.has(id));
      isWhole = isAll;
    },
    begin: () => {
      if (disk.isFailing || list.length === 0) return;
      const ours = { isHome: fleet.isHome, admitsServer: hosts.admits, held: hosts.list() };
      const chosen = new Set(admitted(list, visits.inProgress, limits(), ours));
      if (chosen.size === 0) return;
      list = list.filter((mailbox) => !chosen.has(mailbox));
      for (const mailbox of chosen) visits.start(mailbox);
    },
    isDry: () => !isWhole && list.length === 0,
    count: () => ({
      due: list.length,
      dueMs: list.reduce((max, { due: { overdueMs } }) => Math.max(max, overdueMs), 0),
    }),
  };
}
