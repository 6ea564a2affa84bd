/**
 * FIFO semaphore with a total limit and a limit per group, and a bounded one that is fair by group (round robin).
 *
 * Both share one queue. A slot is handed on to the next waiter before a newcomer can take it.
 */
import type { Clock } from './clock.ts';

type Holder = { readonly group: string; isSlow: boolean };
/** `grant` passes the function that frees the slot, or null: the waiter was rejected. */
type Waiter = { readonly group: string; readonly grant: (release: (() => void) | null) => void };

type Queue = {
  waiting: Waiter[];
  readonly holders: ReadonlySet<Holder>;
  add(waiter: Waiter): void;
  /** Grants all that there is room for. */
  serve(): void;
};

/** `isFair`: the group just served goes behind the other waiting groups. */
function createQueue(
  hasRoom: (group: string) => boolean,
  isFair: boolean,
  onHold: (holder: Holder) => () => void,
): Queue {
  const holders = new Set<Holder>();
  const hold = (group: string): (() => void) => {
    const holder: Holder = { group, isSlow: false };
    holders.add(holder);
    const done = onHold(holder);
    return () => {
      done();
      if (holders.delete(holder)) queue.serve();
    };
  };
  const queue: Queue = {
    waiting: [],
    holders,
    add: (waiter) => {
      queue.waiting.push(waiter);
      queue.serve();
    },
    serve: () => {
      for (;;) {
        const at = queue.waiting.findIndex(({ group }) => hasRoom(group));
        const [next] = at < 0 ? [] : queue.waiting.splice(at, 1);
        if (next === undefined) return;
        if (isFair) queue.waiting = behindOthers(queue.waiting, next.group);
        // The slot is taken before the next waiter is considered.
        next.grant(hold(next.group));
      }
    },
  };
  return queue;
}

function behindOthers(waiting: readonly Waiter[], served: string): Waiter[] {
  const isSame = ({ group }: Waiter) => group === served;
  return [...waiting.filter((waiter) => !isSame(waiter)), ...waiting.filter(isSame)];
}

/** Slots in total, and for each group. */
export type SemaphoreLimits = { readonly max: number; readonly perGroupMax: number };

interface Semaphore {
  /** Resolves with the function that frees the slot. */
  acquire(group: string): Promise<() => void>;
}

/** A holder that waits longer than this waits for a slow server and does no work. */
const slowMs = 5000;
/** Slow holders may exceed the limit up to this multiple. */
const slowFactor = 4;

/**
 * FIFO semaphore with a global and a per-group limit; a holder older than 5 s no longer counts (4 x the limit at most),
 * so hung servers cannot starve others. `limits` is read on every decision: it may change while callers wait.
 */
export function createSemaphore(clock: Pick<Clock, 'sleep'>, limits: () => SemaphoreLimits): Semaphore {
  const hasRoom = (group: string): boolean => {
    const { max, perGroupMax } = limits();
    const all = [...queue.holders];
    const quick = all.filter(({ isSlow }) => !isSlow).length;
    const ofGroup = all.filter((holder) => holder.group === group).length;
    return quick < max && ofGroup < perGroupMax && all.length < max * slowFactor;
  };
  const watch = (holder: Holder): (() => void) => {
    const done = new AbortController();
    void clock.sleep(slowMs, done.signal).then(() => {
      if (done.signal.aborted) return;
      holder.isSlow = true;
      queue.serve();
    });
    return () => done.abort();
  };
  const queue = createQueue(hasRoom, false, watch);
  return {
    acquire: (group) =>
      new Promise((resolve) => queue.add({ group, grant: (release) => resolve(release ?? (() => undefined)) })),
  };
}

export type FairSemaphore = {
  /** Runs `work` once a slot is free; null, without running it, when the queue is full. Rejects as `work` does. */
  run<T>(group: string, work: () => Promise<T>): Promise<T | null>;
};

/**
 * Bounded semaphore that is fair by group: waiting groups are served round robin, so a group with many waiters delays
 * only itself. When the queue is full, a group with fewer waiters displaces the last waiter of the group with most.
 */
export function createFairSemaphore({
  runningMax,
  waitingMax,
}: {
  readonly runningMax: number;
  readonly waitingMax: number;
}): FairSemaphore {
  const queue = createQueue(
    () => queue.holders.size < runningMax,
    true,
    () => () => undefined,
  );
  const acquire = async (group: string): Promise<(() => void) | null> => {
    const isQueued = queue.holders.size >= runningMax;
    if (isQueued && queue.waiting.length >= waitingMax && !makeRoom(queue, group)) return null;
    return await new Promise((resolve) => queue.add({ group, grant: resolve }));
  };
  return {
    async run(group, work) {
      const release = await acquire(group);
      if (release === null) return null;
      try {
        return await work();
      } finally {
        release();
      }
    },
  };
}

/** Rejects the last waiter of the longest group. False: `group` would then have no fewer waiters than that one. */
function makeRoom(queue: Queue, group: string): boolean {
  const byGroup = Map.groupBy(queue.waiting, (waiter) => waiter.group);
  let longest: readonly Waiter[] = [];
  for (const waiters of byGroup.values()) if (waiters.length > longest.length) longest = waiters;
  const last = longest.at(-1);
  if (last === undefined || longest.length < (byGroup.get(group)?.length ?? 0) + 2) return false;
  queue.waiting = queue.waiting.filter((waiter) => waiter !== last);
  last.grant(null);
  return true;
}
