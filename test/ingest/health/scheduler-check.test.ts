import { expect, test } from 'vitest';
import { createSchedulerLiveness, schedulerCheck } from '../../../src/ingest/health/scheduler-liveness.ts';
import { handClock } from '../samples.ts';

const load = { polls: 8, pollsLong: 6, due: 2, dueMs: 86_400_000, intervalMs: 60_000 };

test('a due mailbox that waits for a slot for three intervals is a warning, counted from the start at most', () => {
  const clock = handClock();
  const liveness = createSchedulerLiveness(clock);
  const check = (more: Partial<typeof load> = {}) => {
    liveness.tick();
    return schedulerCheck(liveness, { ...load, ...more }, clock.nowMs());
  };
  expect(check()).toMatchObject({ status: 'ok', polls_long: 6, due_oldest_age_ms: 86_400_000 });
  clock.at.ms += 180_000;
  expect(check()).toMatchObject({
    status: 'warning',
    reason: 'a due mailbox has waited 3 min for a slot: 8 polls are in progress, 6 of them long',
    hint: expect.stringContaining('concurrency_max'),
  });
  expect(check({ dueMs: 179_000 }).status).toBe('ok');
  expect(check({ dueMs: 59_000, intervalMs: 1000 }).status).toBe('ok');
  expect(check({ dueMs: 61_000, intervalMs: 1000 }).status).toBe('warning');
  // A time of the machine that is set changes nothing.
  expect(schedulerCheck(liveness, { ...load, dueMs: 179_000 }, clock.nowMs() + 3_600_000).status).toBe('ok');
  clock.at.ms += 60_000;
  expect(schedulerCheck(liveness, load, clock.nowMs()).status).toBe('failing');
});
