/**
 * Every case has its test: the numbers of the complaints, and the titles of the tests in this folder.
 *
 * Numbers that are missing were left out when the list was made. Where the list of complaints itself lies beside the
 * checkout, the numbers are compared with it too.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const groups: Readonly<Record<string, readonly number[]>> = {
  lost: [1, 3, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 17],
  doubled: [18, 19, 21, 22, 23, 24, 25, 27, 28, 29, 31],
  stalled: [32, 33, 34, 35, 36, 37, 38, 39, 40, 41],
  'one-bad': [43, 44, 45, 47, 48, 50, 51, 52, 53, 54, 55, 56],
  size: [58, 59, 60, 61, 63, 65, 66, 68],
  charset: [69, 70, 71, 72, 73, 75],
  login: [76, 77, 78, 79, 80, 81],
  connections: [83, 85, 86, 87],
  threading: [88, 89, 91],
  loops: [93, 95, 96],
  keys: [97, 98, 99, 101, 102, 104, 105, 106, 108, 109, 110, 111],
};

const list = join(import.meta.dirname, '..', '..', '..', 'shared', 'CASES.md');

/** The numbers in the titles of the tests of a file, which begin with `case 7 (`. */
function casesIn(text: string): number[] {
  return [...text.matchAll(/^\s*test(?:\.\w+)*\(\s*['"`]case (\d+) \([^)]+\): /gm)].map(([, number]) => Number(number));
}

/** The numbers of the list: lines that begin with one and a dot. */
function numbersIn(text: string): number[] {
  return [...text.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
}

test.each(Object.entries(groups))('every case of %s has exactly one test there', (group, numbers) => {
  const files = readdirSync(import.meta.dirname).filter((name) =>
    new RegExp(`^${group}(\\.slow)?\\.test\\.ts$`).test(name),
  );
  const found = files.flatMap((name) => casesIn(readFileSync(join(import.meta.dirname, name), 'utf8')));
  expect(found.sort((a, b) => a - b)).toEqual(numbers);
});

test('a title that names no case, or names it in another form, is not counted', () => {
  const text = `test('case 7 (X#1): it works', () => {});\n  test.concurrent(\n  'case 8 (X#2, Y#3): it works', f);\ntest('case 9: it works', f);`;
  expect(casesIn(text)).toEqual([7, 8]);
});

test.skipIf(!existsSync(list))(
  'the list of complaints, where it is at hand, has the same numbers (else this is left out)',
  () => {
    const numbers = numbersIn(readFileSync(list, 'utf8'));
    expect(numbers.length).toBeGreaterThan(0);
    expect(Object.values(groups).flat()).toEqual(numbers);
  },
);
