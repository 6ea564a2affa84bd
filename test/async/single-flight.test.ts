/** Concurrent callers, results that are reused for a while, and lookups that fail or never return. */
import { expect, test, vi } from 'vitest';
import { coalesce, singleFlight } from '../../src/async/single-flight.ts';

function setting(lookUp: (run: number) => Promise<number>) {
  let now = 0;
  const asked = vi.fn();
  const ask = singleFlight(
    () => {
      asked();
      return lookUp(asked.mock.calls.length);
    },
    { freshMs: (answer) => (answer < 0 ? 100 : 1_000), abandonedMs: 30_000, nowMs: () => now },
  );
  return { ask, times: () => asked.mock.calls.length, pass: (ms: number) => (now += ms) };
}

test('concurrent callers and those within a second share one lookup, later ones get the next', async () => {
  const { ask, times, pass } = setting(async (run) => run);
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1]);
  pass(999);
  expect(await ask()).toBe(1);
  pass(1);
  expect(await ask()).toBe(2);
  expect(times()).toBe(2);
});

test('how long a result is reused depends on the result', async () => {
  const { ask, pass } = setting(async (run) => (run === 1 ? -1 : run));
  expect(await ask()).toBe(-1);
  pass(99);
  expect(await ask()).toBe(-1);
  pass(1);
  expect(await ask()).toBe(2);
});

test('a failure reaches its callers, and the next call looks up again', async () => {
  const { ask } = setting(async (run) => {
    if (run === 1) throw new Error('away');
    return run;
  });
  const [first, second] = await Promise.allSettled([ask(), ask()]);
  expect([first.status, second.status]).toEqual(['rejected', 'rejected']);
  expect(await ask()).toBe(2);
});

test('a lookup that throws synchronously fails like any other', async () => {
  const { ask } = setting((run) => {
    if (run === 1) throw new Error('away');
    return Promise.resolve(run);
  });
  await expect(ask()).rejects.toThrow('away');
  expect(await ask()).toBe(2);
});

test('a lookup that never returns is abandoned after half a minute', async () => {
  const { ask, times, pass } = setting((run) =>
    run === 1 ? new Promise<number>(() => undefined) : Promise.resolve(7),
  );
  void ask();
  pass(29_999);
  void ask();
  expect(times()).toBe(1);
  pass(1);
  expect(await ask()).toBe(7);
  expect(times()).toBe(2);
});

test('coalesced calls during a run share the one run that follows it, whether or not the first one fails', async () => {
  const runs: PromiseWithResolvers<number>[] = [];
  const call = coalesce(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  const first = call();
  const [second, third] = [call(), call()];
  expect(runs).toHaveLength(1);
  const failed = expect(first).rejects.toThrow('away');
  runs[0]?.reject(new Error('away'));
  await failed;
  await new Promise(setImmediate);
  expect(runs).toHaveLength(2);
  const fourth = call();
  runs[1]?.resolve(2);
  expect(await Promise.all([second, third])).toEqual([2, 2]);
  await new Promise(setImmediate);
  runs[2]?.resolve(3);
  expect([await fourth, runs.length]).toEqual([3, 3]);
});
