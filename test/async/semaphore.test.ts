import { describe, expect, test } from 'vitest';
import { createFairSemaphore, createSemaphore } from '../../src/async/semaphore.ts';

/** `pass` ends the time after which a holder counts as slow; `served`: the groups that got a slot, with its release. */
function scene(max: number, perGroupMax: number) {
  let over: (() => void)[] = [];
  const clock = { sleep: () => new Promise<void>((resolve) => over.push(resolve)) };
  const semaphore = createSemaphore(clock, () => ({ max, perGroupMax }));
  const served: { readonly group: string; readonly release: () => void }[] = [];
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    served,
    groups: () => served.map(({ group }) => group),
    take: async (...groups: readonly string[]) => {
      for (const group of groups) void semaphore.acquire(group).then((release) => served.push({ group, release }));
      await settle();
    },
    pass: async () => {
      for (const resolve of over) resolve();
      over = [];
      await settle();
    },
    settle,
  };
}

test('a semaphore limits slots in all and for each group, and serves in the order of requests', async () => {
  const { take, groups, served, settle } = scene(3, 2);
  await take('a', 'a', 'a', 'b', 'c');
  expect(groups()).toEqual(['a', 'a', 'b']);
  served[0]?.release();
  served[0]?.release();
  await settle();
  expect(groups()).toEqual(['a', 'a', 'b', 'a']);
  served[2]?.release();
  await settle();
  expect(groups()).toEqual(['a', 'a', 'b', 'a', 'c']);
});

test('slow holders do not starve others, up to four times the limit', async () => {
  const { take, groups, pass } = scene(1, 1);
  await take('a', 'b', 'a', 'c', 'd', 'e');
  expect(groups()).toEqual(['a']);
  for (let times = 0; times < 6; times += 1) await pass();
  expect(groups()).toEqual(['a', 'b', 'c', 'd']);
});

test('a changed limit takes effect with the next release', async () => {
  const limits = { max: 1, perGroupMax: 1 };
  const never = { sleep: () => new Promise<void>(() => undefined) };
  const semaphore = createSemaphore(never, () => limits);
  const release = await semaphore.acquire('a');
  const waiting = [semaphore.acquire('b'), semaphore.acquire('c')];
  limits.max = 2;
  release();
  expect(await Promise.all(waiting)).toHaveLength(2);
});

describe('a fair semaphore', () => {
  /** `begun`: what was run, in order; each task ends with `end`. */
  function queue(waitingMax: number) {
    const semaphore = createFairSemaphore({ runningMax: 2, waitingMax });
    const begun: string[] = [];
    const ends = new Map<string, (works: boolean) => void>();
    return {
      semaphore,
      begun,
      /** `title`: the group and a number. */
      take: (title: string) =>
        semaphore.run(title.slice(0, 1), async () => {
          begun.push(title);
          const { promise, resolve } = Promise.withResolvers<boolean>();
          ends.set(title, resolve);
          if (!(await promise)) throw new Error(`${title} fails`);
          return title;
        }),
      async end(title: string, works = true) {
        await new Promise(setImmediate);
        ends.get(title)?.(works);
        await new Promise(setImmediate);
      },
    };
  }

  test('runs two, queues some in order, turns the rest away, and frees the slot of one that fails', async () => {
    const { take, begun, end, semaphore } = queue(3);
    const taken = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6'].map(take);
    expect(await Promise.all([taken[5], taken[6]])).toEqual([null, null]);
    expect(begun).toEqual(['a0', 'a1']);
    const failing = expect(taken[0]).rejects.toThrow('a0 fails');
    await end('a0', false);
    await failing;
    expect(begun).toEqual(['a0', 'a1', 'a2']);
    for (const [at, title] of ['a1', 'a2', 'a3', 'a4'].entries()) {
      await end(title);
      expect(await taken[at + 1]).toBe(title);
    }
    expect(begun).toEqual(['a0', 'a1', 'a2', 'a3', 'a4']);
    expect(await semaphore.run('a', async () => 'free again')).toBe('free again');
    expect(await semaphore.run('b', async () => 'and again')).toBe('and again');
  });

  test('serves groups in turn, however many waiters one has', async () => {
    const { take, begun, end } = queue(32);
    const taken = ['a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'b1', 'c0'].map(take);
    for (const title of ['a0', 'a1', 'a2', 'b0', 'c0', 'a3', 'b1', 'a4']) {
      await end(title);
    }
    expect(await Promise.all(taken)).not.toContain(null);
    expect(begun).toEqual(['a0', 'a1', 'a2', 'b0', 'c0', 'a3', 'b1', 'a4']);
  });

  test('displaces the last waiters of the group with most, until others have as many', async () => {
    const { take, begun, end } = queue(4);
    const flood = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'].map(take);
    const others = ['b0', 'c0', 'c1', 'd0', 'e0'].map(take);
    expect(await Promise.all([...flood.slice(3), others[2], others[4]])).toEqual([null, null, null, null, null]);
    for (const title of ['a0', 'a1', 'a2', 'b0', 'c0', 'd0']) await end(title);
    expect(begun).toEqual(['a0', 'a1', 'a2', 'b0', 'c0', 'd0']);
    expect(await Promise.all([...flood.slice(0, 3), others[0], others[1], others[3]])).toEqual(begun);
    // No slot was lost.
    const again = ['x0', 'x1', 'x2', 'x3', 'x4', 'x5', 'x6'].map(take);
    expect(await again[6]).toBe(null);
    for (const title of ['x0', 'x1', 'x2', 'x3', 'x4', 'x5']) await end(title);
    expect(await Promise.all(again.slice(0, 6))).not.toContain(null);
  });
});
