/** A thousand simulated conversations: at least as many replies find their ticket as in 0.1.0, and none a wrong one. */
import { expect, test } from 'vitest';
import { threadProgram } from './thread-program.ts';
import { figuresText, measureThreads } from './thread-run.ts';
import { generateThreads } from './thread-shapes.ts';

const seed = 20261202;

/** Measured on 0.1.0 with the same messages, where 72 more landed in a wrong ticket. */
const foundBefore = 2321;

test('of 1,000 conversations as many replies as in 0.1.0 find their ticket, and no message lands in a wrong one', async () => {
  await using stack = new AsyncDisposableStack();
  const threads = generateThreads(seed);
  expect(threads).toHaveLength(1000);
  const figures = await measureThreads(threads, await threadProgram(stack));
  const all = figures.get('all');
  expect(all, figuresText(figures)).toMatchObject({ messages: 3500, replies: 2374, wrong: 0 });
  expect(all?.found).toBeGreaterThanOrEqual(foundBefore);
  expect(all?.found).toBe(2354);
});
