import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RunTimeDeadlines } from '../../../src/adapters/parser/run-time-deadlines.ts';

test('each fires once after its time, and not after disposal', async () => {
  const deadlines = new RunTimeDeadlines();
  const over: string[] = [];
  using _short = deadlines.start(60, () => over.push('short'));
  using _long = deadlines.start(400, () => over.push('long'));
  deadlines.start(60, () => over.push('disposed'))[Symbol.dispose]();
  await sleep(250);
  expect(over).toEqual(['short']);
  await sleep(400);
  expect(over).toEqual(['short', 'long']);
  using _later = deadlines.start(60, () => over.push('later'));
  await sleep(250);
  expect(over).toEqual(['short', 'long', 'later']);
});

test('time during which the process was suspended does not count', async () => {
  let pausedMs = 0;
  const deadlines = new RunTimeDeadlines(() => performance.now() + pausedMs);
  let isOver = false;
  using _deadline = deadlines.start(3_000, () => {
    isOver = true;
  });
  await sleep(100);
  pausedMs = 3_600_000;
  await sleep(200);
  expect(isOver).toBe(false);
  await expect.poll(() => isOver, { timeout: 10_000 }).toBe(true);
});
