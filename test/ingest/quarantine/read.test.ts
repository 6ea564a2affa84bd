/** Ids of quarantined messages. */
import { expect, test } from 'vitest';
import { epochOf } from '../../../src/ingest/folder-epoch.ts';
import { parseQuarantineId, quarantineId } from '../../../src/ingest/quarantine/read.ts';

test('an id names a message, also where the name of the mailbox has slashes', () => {
  const id = quarantineId({ mailbox: 'a/5', folderEpoch: epochOf(7, 2), uid: 9 });
  expect(id).toBe('a/5/7.2/9');
  expect(parseQuarantineId(id)).toEqual([
    { mailbox: 'a/5', folderEpoch: epochOf(7, 2), uid: 9 },
    { mailbox: 'a/5/7.2', folderEpoch: null, uid: 9 },
  ]);
  expect(parseQuarantineId('support/9')).toEqual([{ mailbox: 'support', folderEpoch: null, uid: 9 }]);
  for (const wrong of ['support', '9', '/9', 'support/0', 'support/x', ''])
    expect(parseQuarantineId(wrong)).toEqual([]);
});
