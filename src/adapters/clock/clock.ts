/** The real clock, and wakes on a cron schedule through node-cron. */
import { setTimeout as wait } from 'node:timers/promises';
import { schedule } from 'node-cron';
import type { Clock } from '../../async/clock.ts';
import { causeCode } from '../../errors.ts';
import type { Cron } from '../../ingest/ports.ts';

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await wait(ms, undefined, { signal, ref: false });
    } catch (error) {
      if (causeCode(error) !== 'ABORT_ERR') throw error;
    }
  },
};

/**
 * Wakes at the times of a cron expression, in UTC. A missed wake is not made up for: the next one does its work. When the
 * time of day is set back, the next one would come only when that time has passed: so the schedule is made anew.
 */
export const systemCron: Cron = {
  schedule: (expression, wake) => {
    const begin = () => schedule(expression, wake, { timezone: 'UTC', suppressMissedWarning: true });
    let task = begin();
    let offsetMs = clockOffsetMs();
    const watch = setInterval(() => {
      const steppedMs = clockOffsetMs() - offsetMs;
      if (Math.abs(steppedMs) < stepMsMin) return;
      offsetMs += steppedMs;
      void task.destroy();
      task = begin();
    }, watchMs);
    watch.unref();
    return {
      [Symbol.dispose]: () => {
        clearInterval(watch);
        void task.destroy();
      },
    };
  },
};

const watchMs = 1000;
/** A clock that is adjusted slowly does not step. */
const stepMsMin = 1500;

function clockOffsetMs(): number {
  return Date.now() - performance.now();
}
