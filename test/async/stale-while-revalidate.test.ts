/** Stale-while-revalidate: how long callers wait, and for which lookup. */
import { expect, test } from 'vitest';
import type { Clock } from '../../src/async/clock.ts';
import { staleWhileRevalidate } from '../../src/async/single-flight.ts';
import { Failure } from '../../src/errors.ts';

const settings = { freshMs: 1000, usableMs: 30_000, quickMs: 25, waitMs: 3000 };

/** Time passes only by `pass`, which ends the sleeps that are over. */
function slowClock() {
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();
  let ms = 1_800_000_000_000;
  const clock: Clock = {
    nowMs: () => ms,
    monotonicMs: () => ms,
    sleep: (forMs) =>
      new Promise((wake) => {
        sleepers.add({ untilMs: ms + forMs, wake });
      }),
  };
  const pass = async (forMs: number) => {
    ms += forMs;
    for (const sleeper of sleepers) {
      if (sleeper.untilMs > ms) continue;
      sleepers.delete(sleeper);
      sleeper.wake();
    }
    // All promise jobs have run by a later turn of the event loop.
    await new Promise(setImmediate);
  };
  return { clock, pass };
}

/** Lookups that end when the test resolves them. */
function scene(given: Partial<typeof settings> = {}) {
  const { clock, pass } = slowClock();
  const lookups: PromiseWithResolvers<string>[] = [];
  const lookUp = () => {
    const mine = Promise.withResolvers<string>();
    lookups.push(mine);
    return mine.promise;
  };
  const fresh = staleWhileRevalidate(lookUp, clock, { ...settings, ...given });
  /** The first lookup, which takes `tookMs`. */
  const known = async (value: string, tookMs: number) => {
    const asked = fresh.get();
    await pass(tookMs);
    lookups[0]?.resolve(value);
    await pass(0);
    return await asked;
  };
  return { fresh, lookups, pass, known, clock };
}

test('concurrent callers share one lookup, and a fresh value causes none', async () => {
  const { fresh, lookups, pass, known } = scene();
  const other = fresh.get();
  expect(await known('one', 200)).toMatchObject({ value: 'one', trouble: null });
  expect((await other).value).toBe('one');
  await pass(700);
  expect((await fresh.get()).value).toBe('one');
  expect(lookups).toHaveLength(1);
});

test('a stale value is returned at once where lookups are slow, and the lookup starts after it', async () => {
  const { fresh, lookups, pass, known } = scene();
  await known('one', 200);
  await pass(5000);
  expect((await fresh.get()).value).toBe('one');
  expect(lookups).toHaveLength(1);
  await pass(100);
  expect(lookups).toHaveLength(2);
  lookups[1]?.resolve('two');
  await pass(0);
  expect((await fresh.get()).value).toBe('two');
});

test('a quick lookup is waited for, and no longer than it should take', async () => {
  const { fresh, lookups, pass, known } = scene();
  await known('one', 5);
  await pass(5000);
  const quick = fresh.get();
  lookups[1]?.resolve('two');
  expect((await quick).value).toBe('two');
  await pass(5000);
  const slow = fresh.get();
  await pass(25);
  expect(await slow).toMatchObject({ value: 'two', trouble: null });
});

test('a lookup that hangs is reported with the stale value, delays no caller for long, and is abandoned', async () => {
  const { fresh, lookups, pass, known } = scene();
  await known('one', 5);
  await pass(31_000);
  const first = fresh.get();
  await pass(3000);
  expect(await first).toMatchObject({ value: 'one', trouble: { code: 'database_unavailable' } });
  // No caller waits for the same lookup twice.
  const second = fresh.get();
  await pass(0);
  expect((await second).trouble?.message).toBe('the database has not answered for 3 s');
  await pass(28_000);
  const third = fresh.get();
  expect(lookups).toHaveLength(3);
  lookups[2]?.resolve('three');
  expect(await third).toMatchObject({ value: 'three', trouble: null });
  // The result of an older lookup is ignored.
  lookups[1]?.resolve('late');
  await pass(0);
  expect((await fresh.get()).value).toBe('three');
});

test('while there is no value a failure is thrown, and the next caller tries again', async () => {
  const { fresh, lookups, pass } = scene();
  const first = fresh.get();
  lookups[0]?.reject(new Failure('database_denied', 'no'));
  await expect(first).rejects.toMatchObject({ code: 'database_denied' });
  const second = fresh.get();
  const waited = expect(second).rejects.toMatchObject({ code: 'database_unavailable' });
  await pass(3000);
  await waited;
});

test('a failed lookup is reported with the stale value, until one succeeds', async () => {
  const { fresh, lookups, pass, known } = scene();
  await known('one', 5);
  await pass(2000);
  const failed = fresh.get();
  lookups[1]?.reject(new Failure('database_unavailable', 'gone'));
  expect(await failed).toMatchObject({ value: 'one', trouble: { message: 'gone' } });
  const again = fresh.get();
  lookups[2]?.resolve('two');
  expect(await again).toMatchObject({ value: 'two', trouble: null });
});

test('after an invalidation neither the older value nor a lookup from before it is returned', async () => {
  const { fresh, lookups, pass, known } = scene();
  await known('one', 200);
  await pass(2000);
  await fresh.get();
  await pass(100);
  fresh.invalidate();
  const asked = fresh.get();
  expect(lookups).toHaveLength(3);
  lookups[1]?.resolve('before');
  await pass(0);
  const other = fresh.get();
  expect(lookups).toHaveLength(3);
  lookups[2]?.resolve('after');
  expect((await asked).value).toBe('after');
  expect((await other).value).toBe('after');
});
