/** Columns of a report, and lists that two workers share. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { columnsText } from './columns.ts';
import { twoAtOnce } from './two-at-once.ts';

test('figures stand to the right, words to the left, and what was not measured is a dash', () => {
  const rows = [
    ['enable', 7, null],
    ['disable', 1200, 3],
  ] as const;
  expect(columnsText(['operation', 'ms', 'core'], rows)).toBe(
    'operation    ms  core\n' + 'enable        7     -\n' + 'disable    1200     3\n',
  );
});

test('two are at work at a time, and results keep their order', async () => {
  let [now, most] = [0, 0];
  const results = await twoAtOnce([30, 1, 1, 1], async (ms) => {
    now += 1;
    most = Math.max(most, now);
    await sleep(ms);
    now -= 1;
    return ms * 2;
  });
  expect({ results, most }).toEqual({ results: [60, 2, 2, 2], most: 2 });
});

test('what throws ends the work when what is in progress is done', async () => {
  const done: number[] = [];
  const failing = twoAtOnce([1, 2, 3, 4], async (item) => {
    if (item === 1) throw new Error('no');
    await sleep(5);
    done.push(item);
  });
  await expect(failing).rejects.toThrow('no');
  expect(done).toEqual([2]);
});
