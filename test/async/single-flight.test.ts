/** Many who ask at once, answers that are kept for a moment, and lookups that fail or never end. */
import { expect, test, vi } from 'vitest';
import { shared, withinLimit } from '../../src/async/single-flight.ts';

function setting(lookUp: (turn: number) => Promise<number>) {
  let now = 0;
  const asked = vi.fn();
  const ask = shared(
    () => {
      asked();
      return lookUp(asked.mock.calls.length);
    },
    { freshMs: (answer) => (answer < 0 ? 100 : 1_000), givenUpMs: 30_000, nowMs: () => now },
  );
  return { ask, times: () => asked.mock.calls.length, pass: (ms: number) => (now += ms) };
}

test('those who ask at once and within a second get one answer, later ones the next', async () => {
  const { ask, times, pass } = setting(async (turn) => turn);
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1]);
  pass(999);
  expect(await ask()).toBe(1);
  pass(1);
  expect(await ask()).toBe(2);
  expect(times()).toBe(2);
});

test('how long an answer is kept depends on the answer', async () => {
  const { ask, pass } = setting(async (turn) => (turn === 1 ? -1 : turn));
  expect(await ask()).toBe(-1);
  pass(99);
  expect(await ask()).toBe(-1);
  pass(1);
  expect(await ask()).toBe(2);
});

test('a failure reaches those who waited for it, and the next one asks anew', async () => {
  const { ask } = setting(async (turn) => {
    if (turn === 1) throw new Error('away');
    return turn;
  });
  const [first, second] = await Promise.allSettled([ask(), ask()]);
  expect([first.status, second.status]).toEqual(['rejected', 'rejected']);
  expect(await ask()).toBe(2);
});

test('a lookup that throws at once fails like any other', async () => {
  const { ask } = setting((turn) => {
    if (turn === 1) throw new Error('away');
    return Promise.resolve(turn);
  });
  await expect(ask()).rejects.toThrow('away');
  expect(await ask()).toBe(2);
});

test('a lookup that never ends is not asked again for half a minute, and then it is', async () => {
  const { ask, times, pass } = setting((turn) =>
    turn === 1 ? new Promise<number>(() => undefined) : Promise.resolve(7),
  );
  void ask();
  pass(29_999);
  void ask();
  expect(times()).toBe(1);
  pass(1);
  expect(await ask()).toBe(7);
  expect(times()).toBe(2);
});

test('an answer that is late is null, and its failure later troubles nobody', async () => {
  let fail: (reason: Error) => void = () => undefined;
  const never = new Promise<number>((_resolve, reject) => {
    fail = reject;
  });
  expect(await withinLimit(never, 5)).toBeNull();
  fail(new Error('too late to matter'));
  expect(await withinLimit(Promise.resolve(1), 5)).toBe(1);
  await expect(withinLimit(Promise.reject(new Error('away')), 5)).rejects.toThrow('away');
});
