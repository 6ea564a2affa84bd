/**
 * UID sets: exactly the given UIDs, in lines of bounded length.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { uidSets } from '../../../../src/adapters/imap/folder.ts';

function expand(set: string): number[] {
  return set.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split(':').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

test('runs become ranges, and no UID is no set', () => {
  expect([...uidSets([7, 1, 2, 3, 9, 8, 5])]).toEqual(['1:3,5,7:9']);
  expect([...uidSets([])]).toEqual([]);
  expect([...uidSets([4, 4, 4])]).toEqual(['4']);
});

test('any UIDs come back from their sets, each once and no other', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 400 })), (uids) => {
      const expected = [...new Set(uids)].sort((a, b) => a - b);
      expect([...uidSets(uids)].flatMap(expand)).toEqual(expected);
    }),
  );
});

test('a set stays below the length of a command line', () => {
  const scattered = Array.from({ length: 20_000 }, (_, index) => 4_000_000_000 + 2 * index);
  const sets = [...uidSets(scattered)];
  expect(Math.max(...sets.map((set) => set.length))).toBeLessThanOrEqual(7000);
  expect(sets.flatMap(expand)).toEqual(scattered);
});
