import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createFairQueue } from '../../../src/adapters/parser/fair-queue.ts';

const bounds = {
  runningMax: 1,
  countMax: 3,
  bytesMax: 100,
  countEnough: 2,
  bytesEnough: 50,
  bytesOf: (task: string) => task.length,
};

/** A queue whose worker notes its portions and answers after a moment. */
function noted(given: Partial<typeof bounds> = {}) {
  const portions: (readonly string[])[] = [];
  const running = { now: 0, most: 0 };
  const queue = createFairQueue<string, string>(
    async (portion) => {
      portions.push(portion);
      running.now += 1;
      running.most = Math.max(running.most, running.now);
      await sleep(2);
      running.now -= 1;
      return portion.map((task) =>
        task === 'bad' ? Promise.reject(new Error(task)) : Promise.resolve(task.toUpperCase()),
      );
    },
    { ...bounds, ...given },
  );
  return { queue, portions, running };
}

test('queued tasks run in batches within the limits, and each task gets its own result', async () => {
  const { queue, portions, running } = noted();
  const answers = await Promise.all(
    ['a', 'b', 'c', 'd', 'e', 'x'.repeat(100), 'f'].map((task) => queue.add(task, 'one')),
  );
  expect(answers.map((answer) => answer.slice(0, 1)).join('')).toBe('ABCDEXF');
  expect(portions.map((portion) => portion.length)).toEqual([1, 3, 1, 1, 1]);
  expect(running.most).toBe(1);
});

test('a lane with many tasks delays another lane by one batch only', async () => {
  const { queue, portions } = noted();
  const much = Array.from({ length: 12 }, (_, index) => queue.add(`m${index}`, 'much'));
  const little = queue.add('l', 'little');
  await Promise.all([...much, little]);
  expect(portions.findIndex((portion) => portion.includes('l'))).toBeLessThanOrEqual(2);
});

test('a task that fails fails alone', async () => {
  const { queue } = noted();
  const answers = await Promise.allSettled(['a', 'bad', 'b'].map((task) => queue.add(task, 'one')));
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});

test('the number of concurrent batches is limited', async () => {
  const { queue, running } = noted({ runningMax: 2, countMax: 1 });
  await Promise.all(['a', 'b', 'c', 'd'].map((task) => queue.add(task, task)));
  expect(running.most).toBe(2);
});

test('a lane that expects more waits until a batch is worth it, by count or by bytes', async () => {
  const { queue, portions } = noted();
  const alone = queue.add('a', 'one', true);
  await sleep(10);
  expect(portions).toEqual([]);
  const large = queue.add('x'.repeat(60), 'two', true);
  await large;
  await Promise.all([alone, queue.add('b', 'one', true)]);
  expect(portions).toEqual([['x'.repeat(60)], ['a', 'b']]);
});

test('flush runs the queued tasks of a lane, and other lanes do not wait for it', async () => {
  const { queue, portions } = noted();
  const waiting = queue.add('a', 'one', true);
  await queue.add('b', 'two');
  expect(portions).toEqual([['b']]);
  queue.flush('one');
  queue.flush('never seen');
  expect(await waiting).toBe('A');
  const next = queue.add('c', 'one', true);
  await queue.add('d', 'one');
  expect(await next).toBe('C');
  expect(portions.slice(1)).toEqual([['a'], ['c', 'd']]);
});
