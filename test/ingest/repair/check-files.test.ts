/** Check of files against their rows, with a fake database and disk. */
import { expect, test } from 'vitest';
import { checkFiles } from '../../../src/ingest/repair/reconcile.ts';
import type { ReferencedSegment } from '../../../src/ingest/stores.ts';

const blobs = ['a', 'b', 'c', 'd'].map((letter) => ({ sha256: letter.repeat(64), sizeBytes: 5, messageId: letter }));
const segment = (name: string, more: Partial<ReferencedSegment> = {}): ReferencedSegment => ({
  ...{ segment: name, endOffset: 100, messages: 3, waiting: 0 },
  ...more,
});

function check(lengths: Readonly<Record<string, number>>, segments: readonly ReferencedSegment[] = [], listedMax = 20) {
  const seen: (readonly [number, number])[] = [];
  const lengthOf = (name: string) => Promise.resolve(lengths[name] ?? null);
  const report = checkFiles(
    {
      store: {
        countReferencedBlobs: () => Promise.resolve(blobs.length),
        referencedBlobs: async function* () {
          yield* blobs;
        },
        referencedSegments: () => Promise.resolve(segments),
      },
      blobs: { lengthOf: (sha256) => lengthOf(sha256.slice(0, 1)) },
      raw: { lengthOf, isBefore: (name) => name.startsWith('old') },
      clock: { nowMs: () => 0 },
    },
    { retentionDays: 7, listedMax },
    (done, total) => seen.push([done, total]),
  );
  return { report, seen };
}

const whole = { a: 5, b: 5, c: 5, d: 5 };

test('files that exist with the right length are fine', async () => {
  const { report, seen } = check({ ...whole, one: 100 }, [segment('one')]);
  expect(await report).toEqual({
    ...{ attachmentFiles: 4, damagedAttachmentFiles: 0, damagedBlobs: [], sourceFiles: 1, damagedSegments: [] },
  });
  expect(seen.at(-1)).toEqual([4, 4]);
});

test('a missing attachment is damaged, and one of another length; the list is limited', async () => {
  const { report } = check({ a: 5, b: 4, c: 6 }, [], 2);
  expect(await report).toMatchObject({ damagedAttachmentFiles: 3, damagedBlobs: [blobs[1], blobs[2]] });
});

test('a segment may be longer than its last source; a shorter or missing one is damaged', async () => {
  const { report } = check({ ...whole, long: 101, short: 99 }, [segment('long'), segment('short'), segment('gone')]);
  expect((await report).damagedSegments.map(({ segment: name }) => name)).toEqual(['short', 'gone']);
});

test('an expired segment may be missing, unless a quarantined message needs it', async () => {
  const { report } = check(whole, [segment('old'), segment('old and needed', { waiting: 1 })]);
  expect(await report).toMatchObject({ sourceFiles: 1, damagedSegments: [{ segment: 'old and needed' }] });
});
