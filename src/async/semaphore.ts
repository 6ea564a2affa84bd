/**
 * Who may compute a password hash now: each takes 64 MiB and a good part of a second of a core, so few do at a time.
 *
 * Some may wait, in a queue for each group (whoever may be one client), and the queues take turns: a group that comes with
 * many holds up itself. When no more may wait, a group with fewer takes the place of the last one of that with most; so
 * one group alone may have all places, and loses them to others.
 */
import type { Clock } from './clock.ts';

export type HashTurns = {
  /** Runs `work` in its turn; null, without running it: too many wait. Rejects as `work` does. */
  take<T>(group: string, work: () => Promise<T>): Promise<T | null>;
};

/** Told whether it is its turn; false: it waits no more. */
type Waiting = (isTurn: boolean) => void;

export function createHashTurns({
  runningMax,
  waitingMax,
}: {
  readonly runningMax: number;
  readonly waitingMax: number;
}): HashTurns {
  /** In the order of their turns; none is empty. */
  const queues = new Map<string, Waiting[]>();
  let [running, waiting] = [0, 0];
  const enter = async (group: string): Promise<boolean> => {
    if (running < runningMax) {
      running += 1;
      return true;
    }
    if (waiting >= waitingMax && !makeRoom(queues, group)) return false;
    if (waiting < waitingMax) waiting += 1;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    queues.set(group, [...(queues.get(group) ?? []), resolve]);
    return await promise;
  };
  // A place is handed on, so that nobody who comes in between takes it.
  const leave = (): void => {
    const next = nextOf(queues);
    if (next === null) running -= 1;
    else {
      waiting -= 1;
      next(true);
    }
  };
  return {
    async take(group, work) {
      if (!(await enter(group))) return null;
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}

/** The first one of the first queue, which is the last queue from now on. */
function nextOf(queues: Map<string, Waiting[]>): Waiting | null {
  for (const [group, [first, ...rest]] of queues) {
    queues.delete(group);
    if (rest.length > 0) queues.set(group, rest);
    return first ?? null;
  }
  return null;
}

/** Sends the last one of the longest queue away. False: the group would have no fewer than that one then. */
function makeRoom(queues: Map<string, Waiting[]>, group: string): boolean {
  let longest: Waiting[] = [];
  for (const queue of queues.values()) if (queue.length > longest.length) longest = queue;
  if (longest.length < (queues.get(group)?.length ?? 0) + 2) return false;
  longest.pop()?.(false);
  return true;
}

/**
 * A bounded number of places, in all and for each mail host, in the order in which they were asked for.
 *
 * Who keeps a place for long waits for a server that is slow, and does no work: after some seconds the place is counted
 * as free, so that servers which never answer do not keep the others waiting. A second, wider bound holds for all.
 */

export type PlaceLimits = { readonly max: number; readonly perHostMax: number };

interface Places {
  /** Resolves with the way to give the place back. */
  take(host: string): Promise<() => void>;
}

type Taken = { readonly host: string; isSlow: boolean };
type QueuedHolder = { readonly host: string; readonly serve: () => void };

const slowMs = 5000;
/** So many times the limit may be taken with those that are slow. */
const slowFactor = 4;

/** `limits` is asked each time: it may change while somebody waits. */
export function createPlaces(clock: Pick<Clock, 'sleep'>, limits: () => PlaceLimits): Places {
  const waiting: QueuedHolder[] = [];
  const taken = new Set<Taken>();

  const hasRoom = (host: string): boolean => {
    const { max, perHostMax } = limits();
    const quick = [...taken].filter(({ isSlow }) => !isSlow).length;
    const onHost = [...taken].filter((one) => one.host === host).length;
    return quick < max && onHost < perHostMax && taken.size < max * slowFactor;
  };

  const serve = (): void => {
    for (;;) {
      const at = waiting.findIndex(({ host }) => hasRoom(host));
      const [next] = at < 0 ? [] : waiting.splice(at, 1);
      if (next === undefined) return;
      next.serve();
    }
  };

  const take = (host: string): (() => void) => {
    const one: Taken = { host, isSlow: false };
    const done = new AbortController();
    taken.add(one);
    void clock.sleep(slowMs, done.signal).then(() => {
      if (done.signal.aborted) return;
      one.isSlow = true;
      serve();
    });
    return () => {
      done.abort();
      if (taken.delete(one)) serve();
    };
  };

  return {
    take: (host) =>
      new Promise((resolve) => {
        // The place is taken before the next one is served.
        waiting.push({ host, serve: () => resolve(take(host)) });
        serve();
      }),
  };
}
