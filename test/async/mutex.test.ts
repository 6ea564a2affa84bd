/** Promise mutex: order, exclusion, and failures that do not block. */
import { expect, test } from 'vitest';
import { createMutex } from '../../src/async/mutex.ts';

const later = () => new Promise(setImmediate);

test('tasks run one at a time, in the order of their calls', async () => {
  const mutex = createMutex();
  const log: string[] = [];
  const task = (name: string) => async () => {
    log.push(`${name} begins`);
    await later();
    log.push(`${name} ends`);
    return name;
  };
  expect(await Promise.all(['a', 'b', 'c'].map((name) => mutex.run(task(name))))).toEqual(['a', 'b', 'c']);
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('a task that fails rejects its own call and does not block the next', async () => {
  const mutex = createMutex();
  const failing = mutex.run(() => Promise.reject(new Error('no')));
  const thrown = mutex.run(() => {
    throw new Error('at once');
  });
  const next = mutex.run(async () => 'next');
  await expect(failing).rejects.toThrow('no');
  await expect(thrown).rejects.toThrow('at once');
  expect(await next).toBe('next');
});

test('acquire excludes run until it is released', async () => {
  const mutex = createMutex();
  const release = await mutex.acquire();
  let hasRun = false;
  const waiting = mutex.run(async () => {
    hasRun = true;
  });
  await later();
  expect(hasRun).toBe(false);
  release();
  await waiting;
  expect(hasRun).toBe(true);
});
