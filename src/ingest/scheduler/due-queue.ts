/**
 * Due queue: the due mailboxes of the last tick, from which polls start as soon as a concurrency slot becomes free.
 *
 * The queue is at most a second old and is replaced on every tick. A mailbox that another worker has polled meanwhile
 * is left to the next tick (its lease is acquired only at the epoch that was read with it).
 */
import { type Endpoint, endpointKey } from '../poll/server-failures.ts';
import type { DueMailbox } from '../stores.ts';
import { type ConcurrencyLimits, type PollInProgress, pollsToEnd, slotHolders } from './long-polls.ts';
import { isRetry, type PollRunner, type SchedulerPorts } from './poll-runner.ts';

export interface DueQueue {
  /** `isAll` is false when more mailboxes are due than the query returned. */
  replace(due: readonly DueMailbox[], isAll: boolean): void;
  /** Starts as many polls as there are free slots, and ends long polls that others wait for. */
  startRunnable(): void;
  /** True when the queue is empty and more mailboxes may be due. */
  needsRefill(): boolean;
  /** Mailboxes in the queue, and for how long the first of them has been due. */
  waiting(): { readonly due: number; readonly dueMs: number };
}

export function createDueQueue(
  ports: Pick<SchedulerPorts, 'workers' | 'circuitBreaker' | 'disk' | 'clock'>,
  limits: () => ConcurrencyLimits,
  runner: Pick<PollRunner, 'inProgress' | 'start' | 'end'>,
): DueQueue {
  const { workers, circuitBreaker, disk, clock } = ports;
  let queue: readonly DueMailbox[] = [];
  let replacedAtMs = 0;
  let isComplete = true;
  return {
    replace: (due, isAll) => {
      queue = due.filter(({ id }) => !runner.inProgress.has(id));
      isComplete = isAll;
      replacedAtMs = clock.monotonicMs();
    },
    startRunnable: () => {
      if (disk.isFailing || queue.length === 0) return;
      const rules = {
        isPreferredHere: workers.isPreferredHere,
        allowsServer: ({ connection, due: { retryRequestedMs: ms } }: DueMailbox) =>
          circuitBreaker.allows(connection, ms === null ? null : replacedAtMs - ms),
        openCircuits: circuitBreaker.openCircuits(),
      };
      const { runnable, waiting } = selectRunnable(queue, runner.inProgress, limits(), rules);
      const chosen = new Set(runnable);
      queue = queue.filter((mailbox) => !chosen.has(mailbox));
      for (const mailbox of chosen) runner.start(mailbox);
      for (const poll of pollsToEnd(waiting, activeOf(runner.inProgress), limits())) runner.end(poll);
    },
    needsRefill: () => !isComplete && queue.length === 0,
    waiting: () => ({
      due: queue.length,
      dueMs: queue.reduce((max, { due: { overdueMs } }) => Math.max(max, overdueMs), 0),
    }),
  };
}

type SelectionRules = {
  readonly isPreferredHere: (mailboxId: string) => boolean;
  readonly allowsServer: (mailbox: DueMailbox) => boolean;
  /** Servers of which a single mailbox may probe. */
  readonly openCircuits: readonly Endpoint[];
};

/** A mailbox is reserved for its preferred worker for so long after it became due. */
const preferenceMs = 3000;

type Selection = {
  readonly runnable: readonly DueMailbox[];
  /** Those that only wait for a slot, or for a connection to their host. */
  readonly waiting: readonly DueMailbox[];
};

/**
 * Due mailboxes that may be polled now, in the order of `due` (longest overdue first), and those that wait for others.
 *
 * A mailbox belongs to its preferred worker for 3 s; a longer overdue one, or one whose last poll failed (perhaps only
 * from there), is polled by any worker. Retries use at most half of the slots, so servers that never answer cannot
 * starve others; neither can long polls (long-polls.ts). Pure.
 */
export function selectRunnable(
  due: readonly DueMailbox[],
  inProgress: ReadonlyMap<string, PollInProgress>,
  limits: ConcurrencyLimits,
  rules: SelectionRules,
): Selection {
  const active = activeOf(inProgress);
  const holders = slotHolders(active, limits);
  const perHost = new Map<string, number>();
  for (const { host } of active) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const candidates = due.filter((mailbox) => !inProgress.has(mailbox.id) && isEligible(mailbox, rules));
  const probes = probesOf(candidates, rules.openCircuits);
  const retriesMax = Math.max(1, Math.floor(limits.concurrencyMax / 2));
  let retries = holders.filter((poll) => poll.isRetry).length;
  const runnable: DueMailbox[] = [];
  const waiting: DueMailbox[] = [];
  for (const mailbox of candidates) {
    const { host } = mailbox.connection;
    const onHost = perHost.get(host) ?? 0;
    const isAgain = isRetry(mailbox);
    const probe = probes.get(endpointKey(mailbox.connection));
    if ((probe !== undefined && probe !== mailbox) || (isAgain && retries >= retriesMax)) continue;
    if (holders.length + runnable.length >= limits.concurrencyMax || onHost >= limits.concurrencyPerHostMax) {
      waiting.push(mailbox);
      continue;
    }
    perHost.set(host, onHost + 1);
    if (isAgain) retries += 1;
    runnable.push(mailbox);
  }
  return { runnable, waiting };
}

/** Polls that do not idle, oldest first. */
function activeOf(inProgress: ReadonlyMap<string, PollInProgress>): readonly PollInProgress[] {
  return [...inProgress.values()].filter(({ isIdling }) => !isIdling);
}

/** For each server with an open circuit the mailbox that probes it: a requested one, else that with fewest failures. */
function probesOf(
  candidates: readonly DueMailbox[],
  openCircuits: readonly Endpoint[],
): ReadonlyMap<string, DueMailbox> {
  const keys = new Set(openCircuits.map(endpointKey));
  const probes = new Map<string, DueMailbox>();
  for (const mailbox of candidates) {
    const key = endpointKey(mailbox.connection);
    const best = probes.get(key);
    if (keys.has(key) && (best === undefined || isBetterProbe(mailbox, best))) probes.set(key, mailbox);
  }
  return probes;
}

function isBetterProbe({ due }: DueMailbox, { due: best }: DueMailbox): boolean {
  const isRequested = due.retryRequestedMs !== null;
  if (isRequested !== (best.retryRequestedMs !== null)) return isRequested;
  return due.failures < best.failures;
}

function isEligible(mailbox: DueMailbox, { isPreferredHere, allowsServer }: SelectionRules): boolean {
  const { id, due } = mailbox;
  // The preferred worker holds what keeps a mailbox out of IDLE, which a requested poll ends.
  const isForAny = due.failures > 0 && due.retryRequestedMs === null;
  return allowsServer(mailbox) && (isForAny || due.overdueMs > preferenceMs || isPreferredHere(id));
}
