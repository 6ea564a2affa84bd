/**
 * Due queue: the due mailboxes of the last tick, from which polls start as soon as a concurrency slot becomes free.
 *
 * The queue is at most a second old and is replaced on every tick. A mailbox that another worker has polled meanwhile
 * is left to the next tick (its lease is acquired only at the epoch that was read with it).
 */
import { type Server, serverKey } from '../model.ts';
import type { DueMailbox } from '../stores.ts';
import {
  type ConcurrencyLimits,
  isRetry,
  type PollInProgress,
  type PollRunner,
  type SchedulerPorts,
} from './poll-runner.ts';

export interface DueQueue {
  /** `isAll` is false when more mailboxes are due than the query returned. */
  replace(due: readonly DueMailbox[], isAll: boolean): void;
  /** Starts as many polls as there are free slots. */
  startRunnable(): void;
  /** True when the queue is empty and more mailboxes may be due. */
  needsRefill(): boolean;
  /** Mailboxes in the queue, and for how long the first of them has been due. */
  waiting(): { readonly due: number; readonly dueMs: number };
}

export function createDueQueue(
  ports: Pick<SchedulerPorts, 'workers' | 'circuitBreaker' | 'disk'>,
  limits: () => ConcurrencyLimits,
  runner: Pick<PollRunner, 'inProgress' | 'start'>,
): DueQueue {
  const { workers, circuitBreaker, disk } = ports;
  let queue: readonly DueMailbox[] = [];
  let isComplete = true;
  return {
    replace: (due, isAll) => {
      queue = due.filter(({ id }) => !runner.inProgress.has(id));
      isComplete = isAll;
    },
    startRunnable: () => {
      if (disk.isFailing || queue.length === 0) return;
      const rules = {
        isPreferredHere: workers.isPreferredHere,
        allowsServer: circuitBreaker.allows,
        openCircuits: circuitBreaker.openCircuits(),
      };
      const chosen = new Set(selectRunnable(queue, runner.inProgress, limits(), rules));
      if (chosen.size === 0) return;
      queue = queue.filter((mailbox) => !chosen.has(mailbox));
      for (const mailbox of chosen) runner.start(mailbox);
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
  readonly allowsServer: (server: Server) => boolean;
  /** Servers of which a single mailbox may probe. */
  readonly openCircuits: readonly Server[];
};

/** A mailbox is reserved for its preferred worker for so long after it became due. */
const preferenceMs = 3000;

/**
 * Due mailboxes that may be polled now, in the order of `due` (longest overdue first).
 *
 * A mailbox belongs to its preferred worker for 3 s; a longer overdue one, or one whose last poll failed (perhaps only
 * from there), is polled by any worker. Retries use at most half of the slots, so servers that never answer cannot
 * starve others. Pure.
 */
export function selectRunnable(
  due: readonly DueMailbox[],
  inProgress: ReadonlyMap<string, PollInProgress>,
  limits: ConcurrencyLimits,
  rules: SelectionRules,
): readonly DueMailbox[] {
  const active = [...inProgress.values()].filter(({ isIdling }) => !isIdling);
  const perHost = new Map<string, number>();
  for (const { host } of active) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const candidates = due.filter((mailbox) => !inProgress.has(mailbox.id) && isEligible(mailbox, rules));
  const probes = probesOf(candidates, rules.openCircuits);
  const retriesMax = Math.max(1, Math.floor(limits.concurrencyMax / 2));
  let retries = active.filter((poll) => poll.isRetry).length;
  const chosen: DueMailbox[] = [];
  for (const mailbox of candidates) {
    const { host } = mailbox.connection;
    const onHost = perHost.get(host) ?? 0;
    const isAgain = isRetry(mailbox);
    if (active.length + chosen.length >= limits.concurrencyMax) break;
    if (onHost >= limits.concurrencyPerHostMax || (isAgain && retries >= retriesMax)) continue;
    const probe = probes.get(serverKey(mailbox.connection));
    if (probe !== undefined && probe !== mailbox) continue;
    perHost.set(host, onHost + 1);
    if (isAgain) retries += 1;
    chosen.push(mailbox);
  }
  return chosen;
}

/** For each server with an open circuit the mailbox that probes it: the one with fewest failures. */
function probesOf(candidates: readonly DueMailbox[], openCircuits: readonly Server[]): ReadonlyMap<string, DueMailbox> {
  const keys = new Set(openCircuits.map(serverKey));
  const probes = new Map<string, DueMailbox>();
  for (const mailbox of candidates) {
    const key = serverKey(mailbox.connection);
    const best = probes.get(key);
    if (keys.has(key) && (best === undefined || mailbox.due.failures < best.due.failures)) probes.set(key, mailbox);
  }
  return probes;
}

function isEligible({ id, connection, due }: DueMailbox, { isPreferredHere, allowsServer }: SelectionRules): boolean {
  return allowsServer(connection) && (due.failures > 0 || due.overdueMs > preferenceMs || isPreferredHere(id));
}
