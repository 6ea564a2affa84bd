/**
 * Folder epochs: what stays of an epoch once another one has begun, on SQLite and MariaDB.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outcome } from '../../../../src/ingest/model.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { batchWith, by, outcomeOf, pendingUids, plain, sampleMailbox } from '../samples.ts';

const stack = new AsyncDisposableStack();

afterAll(() => stack.disposeAsync());

const raw = { segment: 's', offset: 0, lengthBytes: 1, sha256: 'a'.repeat(64) };

describe.each(kinds)('an earlier folder epoch in %s', (kind) => {
  let on: Opened;

  beforeAll(async () => {
    on = await openKind(kind, stack);
  });

  async function leased() {
    const { db } = on;
    const mailbox = sampleMailbox();
    await db.addMailbox(mailbox, plain('x'), null, by);
    const lease = await db.acquireLease(mailbox.id, 'me', 60_000, null);
    if (lease === null) throw new Error('not taken');
    return { db, mailbox, lease };
  }

  test('loses duplicates, waiting messages without a source and pending post-actions, and nothing else', async () => {
    const { db, mailbox, lease } = await leased();
    const names: readonly Outcome[] = ['ticket_opened', 'reply_added', 'recorded', 'duplicate', 'vanished'];
    const bare = names.map((name, index) => outcomeOf(index + 1, name, null, null));
    const quarantined = [null, raw, null].map((source, index) =>
      outcomeOf(index + 6, 'quarantined', null, null, { raw: source, actionPending: false }),
    );
    const outcomes = [...bare, ...quarantined];
    for (const folderEpoch of [1, 2, 3])
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch, uid: 8 }, outcomes }));
    for (const discarded of await db.quarantinedByUid(mailbox.id, 2, 8)) await db.discard(discarded);
    await db.forgetEarlierEpochs(lease, 3);
    const left = await Array.fromAsync(db.outcomes(mailbox.id, false));
    const uidsIn = (epoch: number) => left.filter((row) => row.folderEpoch === epoch).map(({ uid }) => uid);
    // The quarantined message with a source was listed again in each epoch, and has one row.
    expect([1, 2, 3].map(uidsIn)).toEqual([
      [1, 2, 3, 5],
      [1, 2, 3, 5, 8],
      [1, 2, 3, 4, 5, 6, 7, 8],
    ]);
    expect(await Promise.all([1, 2, 3].map((epoch) => pendingUids(db, mailbox.id, epoch)))).toEqual([
      [],
      [],
      [1, 2, 3, 4, 5],
    ]);
  });

  test('is cleaned up when the start UID of the present one is recorded', async () => {
    const { db, mailbox, lease } = await leased();
    const cursor = { folderEpoch: 2, uid: 7 };
    await db.beginFolderEpoch(lease, { cursor, generation: 0, folder: 'f'.repeat(64) });
    const begun = { cursor, generation: 0, folder: 'f'.repeat(64), account: null };
    expect(await db.readFolderProgress(mailbox.id)).toEqual({ ...begun, startUid: null });
    await db.recordStartUid(lease, 7);
    expect(await db.readFolderProgress(mailbox.id)).toEqual({ ...begun, startUid: 7 });
    await expect(db.recordStartUid({ ...lease, epoch: 9 }, 7)).rejects.toMatchObject({ code: 'lease_lost' });
  });
});
