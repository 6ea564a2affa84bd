/** The report's figures follow from the runs, and so does whether everything is well. */
import { expect, test } from 'vitest';
import { closingText, isAllWell, reportText, sceneReport } from './report.ts';
import { atLeast, atMost, below, figure, isMet, medianOf } from './scene.ts';

const scene = {
  name: 'scene',
  about: 'some messages',
  figures: [
    figure('rate', 'messages per second', 0, atLeast(100)),
    figure('memory', 'memory, MB', 0, below(300)),
    figure('other', 'without an aim', 1),
  ],
};
const good = { rate: 100, memory: 299, other: 1.24 };
const reportOf = (runs: readonly Readonly<Record<string, number | null>>[], exact = true) =>
  sceneReport(scene, { runs, exact });

test('a figure is the median of its runs, with the lowest and the highest', () => {
  const { figures } = reportOf([good, { ...good, rate: 90 }, { ...good, rate: 200 }]);
  expect(figures[0]).toEqual({
    ...{ figure: 'rate', label: 'messages per second', median: 100, lowest: 90, highest: 200 },
    ...{ aim: 'at least 100', is_met: true },
  });
  expect(figures[2]).toMatchObject({ median: 1.2, aim: null, is_met: null });
});

test('all is well when everything is stored as it was sent and each aim is met', () => {
  expect(isAllWell([reportOf([good])])).toBe(true);
  expect(isAllWell([reportOf([good], false)])).toBe(false);
  expect(isAllWell([reportOf([good]), reportOf([{ ...good, memory: 300 }])])).toBe(false);
});

test('what could not be measured is shown as such, and no aim is met by it', () => {
  const report = reportOf([good, { ...good, memory: null }]);
  expect(report.figures[1]).toMatchObject({ median: null, is_met: false });
  expect(reportText([report])).toMatch(/memory, MB +- +299 +299 +below 300 +NOT met/);
});

test('the table lists what is stored otherwise', () => {
  expect(reportText([reportOf([good])])).toMatch(/^scene: some messages \(one run\)\n(?!.*differs)/);
  expect(reportText([reportOf([good], false)])).toContain('What is stored differs from what was sent.');
});

test('in the end it says how many aims were not met, and what may be the reason', () => {
  const machine = { cores: 4, load_before: 2.5, other_sizes: ['--count 20 instead of 2000'] };
  expect(closingText([reportOf([good])], machine)).toBe('');
  expect(closingText([reportOf([{ ...good, memory: 400 }])], machine)).toBe(
    '\n1 aim was not met. Aims are those of 2 cores with nothing else to do; this machine has 4, and the load before was 2.5.' +
      ' The sizes were others: --count 20 instead of 2000.\n',
  );
  expect(closingText([reportOf([{ ...good, memory: 400, rate: 1 }])], { ...machine, load_before: null })).toMatch(
    /^\n2 aims were not met\. .* this machine has 4\. The/,
  );
});

test('an aim is judged before it is rounded, and its bound counts', () => {
  const { figures } = reportOf([{ ...good, rate: 99.6 }]);
  expect(figures[0]).toMatchObject({ median: 100, is_met: false });
  expect([isMet(atMost(2), 2), isMet(below(2), 2), isMet(atLeast(2), 2)]).toEqual([true, false, true]);
});

test('the median of an even number is the mean of the two in the middle; of none there is none', () => {
  expect(medianOf([4, 1, 3, 9])).toBe(3.5);
  expect(medianOf([])).toBeNull();
});
