/** System clock, and cron schedules (node-cron). */
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
 * Calls `wake` at the times of a cron expression, in UTC. A missed time is skipped. When the clock is stepped, the
 * schedule is created again: after a step back, the next time would otherwise be late by the step.
 */
export const systemCron: Cron = {
  schedule: (expression, wake) => {
    const start = () => schedule(expression, wake, { timezone: 'UTC', suppressMissedWarning: true });
    let task = start();
    let offsetMs = clockOffsetMs();
    const watch = setInterval(() => {
      const steppedMs = clockOffsetMs() - offsetMs;
      if (Math.abs(steppedMs) < stepMsMin) return;
      offsetMs += steppedMs;
      void task.destroy();
      task = start();
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
/** A slewed clock stays below it. */
const stepMsMin = 1500;

function clockOffsetMs(): number {
  return Date.now() - performance.now();
}
