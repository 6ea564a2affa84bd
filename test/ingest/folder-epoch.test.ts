/** Folder epochs: UIDVALIDITY and generation in one number, and as text. */
import { expect, test } from 'vitest';
import { epochOf, epochText, generationOf, parseEpoch, uidValidityOf } from '../../src/ingest/folder-epoch.ts';

test('an epoch is the UIDVALIDITY in generation 0, and both can be read from it', () => {
  const last = 2 ** 32 - 1;
  expect([epochOf(last, 0), uidValidityOf(epochOf(last, 9)), generationOf(epochOf(last, 9))]).toEqual([last, last, 9]);
  for (const folderEpoch of [1, last, epochOf(1, 1), epochOf(last, 2000)])
    expect(parseEpoch(epochText(folderEpoch))).toBe(folderEpoch);
  for (const text of ['0', '', '1.', '.1', '4294967296', '1.1.1', '-1', '1e3']) expect(parseEpoch(text)).toBeNull();
});
