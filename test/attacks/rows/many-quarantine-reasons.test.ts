/**
 * A writer of the database adds thousands of quarantined rows, each with a reason of its own: counts stay short, and
 * the messages are found under one reason.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, expect, test } from 'vitest';
import { kinds, openKind } from '../../adapters/database/databases.ts';
import { by, plain, sampleMailbox } from '../../adapters/database/samples.ts';

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

test.each(kinds)('reasons that this version does not know are counted as one (%s)', async (kind) => {
  const { db, run } = await openKind(kind, stack);
  const mailbox = { ...sampleMailbox(), id: randomUUID() };
  await db.addMailbox(mailbox, plain('x'), null, by);
  const row = (uid: number, reason: string) =>
    `('${mailbox.id}', 1, ${uid}, 'quarantined', ${reason}, 1, 0, '2026-01-0${1 + (uid % 2)} 00:00:00')`;
  const rows = Array.from({ length: 3_000 }, (_, n) => row(n + 1, `'r${n}'`));
  rows.push(row(3_001, 'null'), row(3_002, `'mail_loop'`), row(3_003, `'mail_loop'`));
  await run(
    `insert into outcome (mailbox_id, folder_epoch, uid, outcome, reason, size_bytes, action_pending, created_at) values ${rows.join(', ')}`,
  );
  expect(await db.quarantineCounts()).toEqual({
    oldestAtMs: Date.UTC(2026, 0, 1),
    reasons: [
      { reason: 'other', count: 3_001 },
      { reason: 'mail_loop', count: 2 },
    ],
  });
  const uids = async (reason: string) => (await db.quarantinePage(reason, 0, 5_000)).map(({ uid }) => uid);
  expect((await uids('mail_loop')).sort()).toEqual([3_002, 3_003]);
  expect(await uids('other')).toHaveLength(3_001);
  expect(await uids('r7')).toEqual([8]);
  const listed = await Array.fromAsync(db.quarantinedMessages({ mailboxId: null, reason: 'other' }));
  expect(listed).toHaveLength(3_001);
});
