import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BatchBounds, chunksOf, firstBatch } from '../../../src/ingest/fetch/batches.ts';

const sized = fc.array(fc.record({ sizeBytes: fc.nat(5000) }));

/** All of it, batch after batch. */
function batchesOf(all: readonly { readonly sizeBytes: number }[], bounds: BatchBounds) {
  const batches: (typeof all)[] = [];
  for (let left = all; left.length > 0; left = left.slice(batches.at(-1)?.length))
    batches.push(firstBatch(left, bounds));
  return batches;
}

describe('batches', () => {
  test('contain everything, in order, within their bounds', () => {
    fc.assert(
      fc.property(
        sized,
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 9000 }),
        (all, messagesMax, bytesMax) => {
          const batches = batchesOf(all, { messagesMax, bytesMax });
          expect(batches.flat()).toEqual(all);
          for (const batch of batches) {
            const bytes = batch.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
            expect(batch.length).toBeLessThanOrEqual(messagesMax);
            expect(batch.length === 1 || bytes <= bytesMax).toBe(true);
          }
        },
      ),
    );
  });

  test('a message larger than a batch is alone in one', () => {
    const batches = batchesOf([{ sizeBytes: 1 }, { sizeBytes: 100 }, { sizeBytes: 1 }], {
      messagesMax: 10,
      bytesMax: 50,
    });
    expect(batches.map((batch) => batch.length)).toEqual([1, 1, 1]);
  });

  test('chunks contain everything in order', () => {
    expect(chunksOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(chunksOf([], 2)).toEqual([]);
  });
});
