/**
 * Crash loop detection: counts ends of this worker's process without a shutdown, in a sliding window.
 *
 * One of them (kill -9, out of memory, a power cut) is a warning for ten minutes. From the third within five minutes
 * the worker is not ready, until the window has passed: a loop that crashes up to 100 seconds after each start reads so
 * at every look, also while the process is up and each other check is ok. systemd restarts every two seconds, and a
 * crash may take a minute to happen, so that a shorter window would be passed; three crashes in five minutes have one
 * cause that stays.
 */
import type { Clock } from '../../async/clock.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import type { Readiness } from '../readiness.ts';

const shownMs = 600_000;
const loopMs = 300_000;
const loopCrashes = 3;

/** `crashedAtMs`: when a start noticed each, by the clock of this machine. */
export function createCrashCheck(
  crashedAtMs: readonly number[],
  clock: Pick<Clock, 'nowMs' | 'monotonicMs'>,
): () => Readiness['checks']['crashes'] {
  // A clock that is set later changes no age.
  const toMonotonicMs = clock.monotonicMs() - clock.nowMs();
  const startedAtMs = clock.nowMs();
  const crashes = crashedAtMs.filter((atMs) => atMs <= startedAtMs);
  return () => {
    const within = (ms: number) => crashes.filter((atMs) => clock.monotonicMs() - (atMs + toMonotonicMs) < ms);
    return crashesCheck(within(shownMs), within(loopMs).length >= loopCrashes);
  };
}

function crashesCheck(recent: readonly number[], isLoop: boolean): Readiness['checks']['crashes'] {
  const [first = null, count, last] = [recent[0], recent.length, isoTime(recent.at(-1) ?? null)];
  if (last === null) return { status: 'ok', since: null, reason: null, hint: null, count, last };
  const [code, status] = isLoop ? (['crash_loop', 'failing'] as const) : (['crashed', 'warning'] as const);
  const times = count === 1 ? 'once' : countText(count, 'time');
  const reason = `${code}: the process ended without a shutdown, ${times} within 10 minutes, before its start at ${last}`;
  return { status, since: isoTime(first), reason, hint: hints.processCrashed, count, last };
}
