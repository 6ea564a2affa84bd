/** A value that many ask for: who waits how long for which look. */
import { expect, test } from 'vitest';
import type { Clock } from '../../src/async/clock.ts';
import { inTime, within } from '../../src/async/deadline.ts';
import { createFresh } from '../../src/async/single-flight.ts';
import { Failure } from '../../src/errors.ts';

const settings = { freshMs: 1000, usableMs: 30_000, quickMs: 25, waitMs: 3000 };

/** Time goes on only by `pass`, which wakes who has slept long enough. */
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
    // Everything that can go on now has gone on when a later turn of the event loop comes.
    await new Promise(setImmediate);
  };
  return { clock, pass };
}

/** A look that ends when the test says so. */
function scene(given: Partial<typeof settings> = {}) {
  const { clock, pass } = slowClock();
  const looks: PromiseWithResolvers<string>[] = [];
  const look = () => {
    const mine = Promise.withResolvers<string>();
    looks.push(mine);
    return mine.promise;
  };
  const fresh = createFresh(look, clock, { ...settings, ...given });
  /** The first look, that takes so long. */
  const known = async (value: string, tookMs: number) => {
    const asked = fresh.ask();
    await pass(tookMs);
    looks[0]?.resolve(value);
    await pass(0);
    return await asked;
  };
  return { fresh, looks, pass, known, clock };
}

test('who asks at once shares one look, and for a moment nobody looks again', async () => {
  const { fresh, looks, pass, known } = scene();
  const other = fresh.ask();
  expect(await known('one', 200)).toMatchObject({ value: 'one', trouble: null });
  expect((await other).value).toBe('one');
  await pass(700);
  expect((await fresh.ask()).value).toBe('one');
  expect(looks).toHaveLength(1);
});

test('what was known is given at once where a look takes long, and the look begins afterwards', async () => {
  const { fresh, looks, pass, known } = scene();
  await known('one', 200);
  await pass(5000);
  expect((await fresh.ask()).value).toBe('one');
  expect(looks).toHaveLength(1);
  await pass(100);
  expect(looks).toHaveLength(2);
  looks[1]?.resolve('two');
  await pass(0);
  expect((await fresh.ask()).value).toBe('two');
});

test('a look that is quick is waited for, and no longer than it should take', async () => {
  const { fresh, looks, pass, known } = scene();
  await known('one', 5);
  await pass(5000);
  const quick = fresh.ask();
  looks[1]?.resolve('two');
  expect((await quick).value).toBe('two');
  await pass(5000);
  const slow = fresh.ask();
  await pass(25);
  expect(await slow).toMatchObject({ value: 'two', trouble: null });
});

test('a look that hangs is told with what was known, keeps nobody for long, and is given up', async () => {
  const { fresh, looks, pass, known } = scene();
  await known('one', 5);
  await pass(31_000);
  const first = fresh.ask();
  await pass(3000);
  expect(await first).toMatchObject({ value: 'one', trouble: { code: 'database_unavailable' } });
  // Nobody waits for the same look once more.
  const second = fresh.ask();
  await pass(0);
  expect((await second).trouble?.message).toBe('the database has not answered for 3 s');
  await pass(28_000);
  const third = fresh.ask();
  expect(looks).toHaveLength(3);
  looks[2]?.resolve('three');
  expect(await third).toMatchObject({ value: 'three', trouble: null });
  // What an older look says then is not news.
  looks[1]?.resolve('late');
  await pass(0);
  expect((await fresh.ask()).value).toBe('three');
});

test('while nothing is known a failure is thrown, and the next who asks tries again', async () => {
  const { fresh, looks, pass } = scene();
  const first = fresh.ask();
  looks[0]?.reject(new Failure('database_denied', 'no'));
  await expect(first).rejects.toMatchObject({ code: 'database_denied' });
  const second = fresh.ask();
  const waited = expect(second).rejects.toMatchObject({ code: 'database_unavailable' });
  await pass(3000);
  await waited;
});

test('a look that fails is told with what was known, until one goes well', async () => {
  const { fresh, looks, pass, known } = scene();
  await known('one', 5);
  await pass(2000);
  const failed = fresh.ask();
  looks[1]?.reject(new Failure('database_unavailable', 'gone'));
  expect(await failed).toMatchObject({ value: 'one', trouble: { message: 'gone' } });
  const again = fresh.ask();
  looks[2]?.resolve('two');
  expect(await again).toMatchObject({ value: 'two', trouble: null });
});

test('after a change nobody is given what was known before it, nor a look that began before it', async () => {
  const { fresh, looks, pass, known } = scene();
  await known('one', 200);
  await pass(2000);
  await fresh.ask();
  await pass(100);
  fresh.outdate();
  const asked = fresh.ask();
  expect(looks).toHaveLength(3);
  looks[1]?.resolve('before');
  await pass(0);
  const other = fresh.ask();
  expect(looks).toHaveLength(3);
  looks[2]?.resolve('after');
  expect((await asked).value).toBe('after');
  expect((await other).value).toBe('after');
});

test('what takes too long is null in time, or a failure, and what it says later is nobody’s concern', async () => {
  const { clock, pass } = slowClock();
  const late = Promise.withResolvers<string>();
  const asked = within(late.promise, 10, clock);
  const thrown = expect(inTime(late.promise, 10, clock)).rejects.toMatchObject({ code: 'database_unavailable' });
  await pass(10);
  expect(await asked).toBeNull();
  await thrown;
  late.reject(new Error('later'));
  await pass(0);
  expect(await within(Promise.resolve(null), 10, clock)).toEqual({ value: null });
});
