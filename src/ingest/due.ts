/**
 * Of the mailboxes that are due, those that are visited now: what the limits leave room for, and what is ours to visit.
 *
 * Each mailbox has a home among the live workers, which visits it first; one that has waited for some seconds, or that
 * fails (perhaps only from there), is anybody's. Mailboxes that fail get half of the places at most: a hundred servers that
 * never answer do not keep the others waiting. Pure.
 */
import { serverKey } from './hosts.ts';
import type { Connection } from './mailbox.ts';
import type { DueMailbox } from './ports.ts';

export type Limits = { readonly concurrencyMax: number; readonly concurrencyPerHostMax: number };

/** A visit under way; one that rests takes no place. `isRetry`: the visit before it failed. */
export type UnderWay = { readonly host: string; readonly isRetry: boolean; readonly isResting: boolean };

type Server = Pick<Connection, 'host' | 'port'>;

export type Ours = {
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

export function isRetryOf({ due }: DueMailbox): boolean {
  return due.failures > 0;
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
