/** Deadlines on promises, with a clock and with the timer of Node. */
import { expect, test } from 'vitest';
import { withDatabaseDeadline, within } from '../../src/async/deadline.ts';

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
