import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { batchesOf, chunksOf } from '../../../src/ingest/fetch/batches.ts';
import { backoffMs } from '../../../src/ingest/poll/backoff.ts';

const sized = fc.array(fc.record({ sizeBytes: fc.nat(5000) }));

describe('windows', () => {
  test('hold everything, in order, within their bounds', () => {
    fc.assert(
      fc.property(
        sized,
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 9000 }),
        (all, messagesMax, bytesMax) => {
          const windows = batchesOf(all, { messagesMax, bytesMax });
          expect(windows.flat()).toEqual(all);
          for (const window of windows) {
            const bytes = window.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
            expect(window.length).toBeLessThanOrEqual(messagesMax);
            expect(window.length === 1 || bytes <= bytesMax).toBe(true);
          }
        },
      ),
    );
  });

  test('a mail larger than a window is alone in one', () => {
    const windows = batchesOf([{ sizeBytes: 1 }, { sizeBytes: 100 }, { sizeBytes: 1 }], {
      messagesMax: 10,
      bytesMax: 50,
    });
    expect(windows.map((window) => window.length)).toEqual([1, 1, 1]);
  });

  test('chunks hold everything in order', () => {
    expect(chunksOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(chunksOf([], 2)).toEqual([]);
  });
});

describe('back-off', () => {
  test('doubles from the first failure and stops at the limit', () => {
    const waits = [1, 2, 3, 4, 50].map((failures) => backoffMs(failures, 10_000, 60_000, 0));
    expect(waits).toEqual([10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  test('jitter only ever shortens, by a quarter at most, and never below most of a second', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.nat(600_000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, interval, random) => {
          const wait = backoffMs(failures, interval, 900_000, random);
          const full = backoffMs(failures, interval, 900_000, 0);
          expect(wait).toBeGreaterThanOrEqual(Math.max(750, Math.floor(full * 0.75)));
          expect(wait).toBeLessThanOrEqual(full);
        },
      ),
    );
  });
});
