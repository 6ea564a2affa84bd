/** The real clock, and wakes on a cron schedule through node-cron. */
import { setTimeout as wait } from 'node:timers/promises';
import { schedule } from 'node-cron';
import { causeCode } from '../../errors.ts';
import type { Clock, Wakes } from '../../ingest/ports.ts';

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: async (ms, signal) => {
    try {
      await wait(ms, undefined, { signal, ref: false });
    } catch (error) {
      if (causeCode(error) !== 'ABORT_ERR') throw error;
    }
  },
};

/** Wakes at the times of a cron expression, in UTC. A missed wake is not made up for: the next one does its work. */
export const cronWakes: Wakes = {
  on: (expression, wake) => {
    const task = schedule(expression, wake, { timezone: 'UTC', suppressMissedWarning: true });
    return { [Symbol.dispose]: () => void task.destroy() };
  },
};
