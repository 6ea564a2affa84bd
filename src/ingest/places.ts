/**
 * A bounded number of places, in all and for each mail host, in the order in which they were asked for.
 *
 * Who keeps a place for long waits for a server that is slow, and does no work: after some seconds the place is counted
 * as free, so that servers which never answer do not keep the others waiting. A second, wider bound holds for all.
 */
import type { Clock } from './ports.ts';

export type PlaceLimits = { readonly max: number; readonly perHostMax: number };

export interface Places {
  /** Resolves with the way to give the place back. */
  take(host: string): Promise<() => void>;
}

type Taken = { readonly host: string; isSlow: boolean };
type Waiting = { readonly host: string; readonly serve: () => void };

const slowMs = 5000;
/** So many times the limit may be taken with those that are slow. */
const slowFactor = 4;

/** `limits` is asked each time: it may change while somebody waits. */
export function createPlaces(clock: Pick<Clock, 'sleep'>, limits: () => PlaceLimits): Places {
  const waiting: Waiting[] = [];
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
