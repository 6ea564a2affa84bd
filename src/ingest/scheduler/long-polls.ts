/**
 * Bulkhead and preemption for long polls, so that mailboxes of slow servers, or with much to fetch, cannot take the
 * slots of all others.
 *
 * A poll that holds its slot for half an interval (5 to 30 s) moves to a pool of its own, which has as many places as
 * there are slots; one mail host has half of the places at most. A long poll without a place keeps its slot until a due
 * mailbox waits for it: then a long poll ends (preemption) and resumes at the cursor later. The same holds where a
 * mailbox waits since its host allows no more connections, while long polls hold more than half of these. First to end
 * is the oldest that has committed messages, which loses least. Pure.
 */
import type { DueMailbox } from '../stores.ts';

export type ConcurrencyLimits = { readonly concurrencyMax: number; readonly concurrencyPerHostMax: number };

/** A poll in progress. */
export type PollInProgress = {
  readonly host: string;
  /** The poll before it failed. */
  readonly isRetry: boolean;
  /** It uses no concurrency slot. */
  readonly isIdling: boolean;
  /** It has been in progress for longer than `longPollMs`, and does not idle. */
  readonly isLong: boolean;
  /** It has committed messages. */
  readonly hasCommitted: boolean;
  /** It is ending for others that wait. */
  readonly isEnding: boolean;
};

const longMs = { min: 5000, max: 30_000 };

/** A poll is long after so many milliseconds. */
export function longPollMs(intervalMs: number): number {
  return Math.min(Math.max(intervalMs / 2, longMs.min), longMs.max);
}

/** Polls that hold a slot: neither idling, nor long with a place in the pool. `active`: oldest first, none idles. */
export function slotHolders(
  active: readonly PollInProgress[],
  { concurrencyMax }: ConcurrencyLimits,
): readonly PollInProgress[] {
  const perHostMax = Math.max(1, Math.floor(concurrencyMax / 2));
  const placed = new Map<string, number>();
  let places = concurrencyMax;
  return active.filter(({ host, isLong }) => {
    const onHost = placed.get(host) ?? 0;
    if (!isLong || places === 0 || onHost >= perHostMax) return true;
    placed.set(host, onHost + 1);
    places -= 1;
    return false;
  });
}

/**
 * Long polls to end for `waiting`, the mailboxes that could be polled but for the limits: at most one for the slots and
 * one for each host. None where one is ending already.
 */
export function pollsToEnd(
  waiting: readonly DueMailbox[],
  active: readonly PollInProgress[],
  limits: ConcurrencyLimits,
): readonly PollInProgress[] {
  const hosts = new Set(waiting.map(({ connection }) => connection.host));
  const onHost = (host: string) => active.filter((poll) => poll.host === host);
  const isFull = (host: string) => onHost(host).length >= limits.concurrencyPerHostMax;
  const ending = new Set<PollInProgress>();
  const end = (among: readonly PollInProgress[], longMax: number): void => {
    const long = among.filter(({ isLong }) => isLong);
    if (long.length <= longMax || among.some((poll) => poll.isEnding || ending.has(poll))) return;
    const chosen = long.find(({ hasCommitted }) => hasCommitted) ?? long[0];
    if (chosen !== undefined) ending.add(chosen);
  };
  for (const host of hosts) if (isFull(host)) end(onHost(host), Math.floor(limits.concurrencyPerHostMax / 2));
  const holders = slotHolders(active, limits);
  const isSlotAwaited = holders.length >= limits.concurrencyMax && [...hosts].some((host) => !isFull(host));
  if (isSlotAwaited && holders.some(({ isLong }) => isLong)) end(onHost(hostOfMost(active)), 0);
  return [...ending];
}

/** The host with most long polls. */
function hostOfMost(active: readonly PollInProgress[]): string {
  const byHost = Map.groupBy(
    active.filter(({ isLong }) => isLong),
    ({ host }) => host,
  );
  return [...byHost].reduce((most, one) => (one[1].length > most[1].length ? one : most), ['', []] as [
    string,
    PollInProgress[],
  ])[0];
}
