/** Whether the database answers, since when that is so, and how quickly. */

import type { Clock } from '../async/clock.ts';
import type { Failure } from '../errors.ts';
import type { Check, Readiness } from './readiness.ts';

const startReason = 'it has not answered yet: connecting, or bringing its tables up to date';

export interface DatabaseCheck {
  /** null: it answered. True when that is news. */
  tell(failure: Failure | null): boolean;
  /** How long a small question took. */
  answered(ms: number): void;
  check(): Omit<Readiness['checks']['database'], 'pool'>;
}

export function createDatabaseCheck(clock: Pick<Clock, 'nowMs'>): DatabaseCheck {
  let now: Check = { status: 'unknown', since: null, reason: startReason, hint: null };
  let answerMs: number | null = null;
  return {
    tell: (failure) => {
      const next = failure === null ? okSince(clock.nowMs()) : failing(failure, clock.nowMs());
      const before = now;
      const isChange = next.status !== before.status || next.reason !== before.reason;
      if (isChange) now = next;
      // That a database answers at the start is what everybody expects.
      return isChange && !(before.status === 'unknown' && next.status === 'ok');
    },
    answered: (ms) => {
      answerMs = Math.round(ms);
    },
    check: () => ({ ...now, answer_ms: answerMs }),
  };
}

export function okSince(sinceMs: number): Check {
  return { status: 'ok', since: new Date(sinceMs).toISOString(), reason: null, hint: null };
}

function failing(failure: Failure, sinceMs: number): Check {
  const since = new Date(sinceMs).toISOString();
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
}
