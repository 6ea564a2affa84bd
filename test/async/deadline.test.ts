/** Deadlines on promises, with a clock and with the timer of Node; and deadlines in run time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { RunTimeDeadlines, withDatabaseDeadline, within } from '../../src/async/deadline.ts';

const never = new Promise<never>(() => undefined);
const expired = { sleep: () => Promise.resolve() };

test('a value in time comes in a box, so that null and undefined are values', async () => {
  expect(await within(Promise.resolve(null), 1000)).toEqual({ value: null });
});

test('a late value is null, and its failure later is ignored', async () => {
  let fail: (reason: Error) => void = () => undefined;
  const work = new Promise<number>((_resolve, reject) => {
    fail = reject;
  });
  expect(await within(work, 5)).toBeNull();
  fail(new Error('too late to matter'));
  await new Promise(setImmediate);
  await expect(within(Promise.reject(new Error('away')), 5)).rejects.toThrow('away');
});

test('the sleep of the clock ends with the work', async () => {
  const signals: AbortSignal[] = [];
  const clock = {
    sleep: (_ms: number, signal: AbortSignal) => {
      signals.push(signal);
      return never;
    },
  };
  await within(Promise.resolve(1), 1000, clock);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
});

test('a database query without an answer in time fails as an unreachable database', async () => {
  expect(await withDatabaseDeadline(Promise.resolve(7), 10, { sleep: () => never })).toBe(7);
  await expect(withDatabaseDeadline(never, 3000, expired)).rejects.toMatchObject({
    code: 'database_unavailable',
    message: 'the database has not answered for 3 s',
  });
});

describe('deadlines in run time', () => {
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
});
