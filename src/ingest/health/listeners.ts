/**
 * Listener check: whether the health endpoints and the admin page accept connections at their configured addresses.
 *
 * A warning at most: mail is fetched without either. `check` and `admin add` read it over the control socket, since
 * what answers at the port may be another process.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure, type Failure } from '../../errors.ts';
import type { Check, ListenerName, Readiness } from '../readiness.ts';
import { okSince } from './checks.ts';

export interface Listeners {
  /** Result of an attempt to listen; null: it listens. */
  record(listener: ListenerName, failure: Failure | null): void;
  /** Records the result of `attempt`, and returns it. */
  observe<T>(listener: ListenerName, attempt: Promise<T>): Promise<T>;
  check(): Readiness['checks']['listeners'];
}

const ok: Check = { status: 'ok', since: null, reason: null, hint: null };
const notTried: Check = { ...ok, status: 'unknown', reason: 'not tried yet' };

/** `addresses`: as in the configuration; null: off. */
export function createListeners(
  clock: Pick<Clock, 'nowMs'>,
  addresses: Readonly<Record<ListenerName, string | null>>,
): Listeners {
  const results = new Map<ListenerName, Check>();
  const record: Listeners['record'] = (listener, failure) => {
    const next = failure === null ? okSince(clock.nowMs()) : notListening(failure, clock.nowMs());
    const before = results.get(listener);
    results.set(listener, before?.status === next.status ? { ...next, since: before.since } : next);
  };
  return {
    record,
    observe: async (listener, attempt) => {
      try {
        const started = await attempt;
        record(listener, null);
        return started;
      } catch (error) {
        record(listener, asFailure(error));
        throw error;
      }
    },
    check: () => {
      const list = (['health', 'page'] as const).flatMap((listener) => {
        const address = addresses[listener];
        return address === null ? [] : [{ listener, address, ...(results.get(listener) ?? notTried) }];
      });
      const failed = list.filter(({ status }) => status === 'warning');
      const [first] = failed;
      if (first === undefined) return { ...ok, list };
      const reason = [...new Set(failed.map((one) => one.reason))].join('; ');
      return { status: 'warning', since: first.since, reason, hint: first.hint, list };
    },
  };
}

function notListening({ code, message, hint }: Failure, nowMs: number): Check {
  return { status: 'warning', since: new Date(nowMs).toISOString(), reason: `${code}: ${message}`, hint };
}
