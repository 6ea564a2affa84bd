/**
 * Messages and tickets by the hour, on a SQLite file and on a real MariaDB.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../../../src/adapters/database/database.ts';
import type { Lease } from '../../../../src/ingest/stores.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { batchWith, by, nowMs, opened as openedBy, outcomeOf, plain, sampleMailbox } from '../samples.ts';

const hourMs = 3_600_000;
/** 09:00 of the day of `nowMs`. */
const nineMs = Date.UTC(2024, 4, 17, 9);

describe.each(kinds)('messages and tickets by the hour on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let on: Opened;
  let db: Database;

  beforeAll(async () => {
    on = await openKind(kind, stack);
    db = on.db;
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(() => on.empty('mailboxes', 'mailbox_state', 'ticket', 'message', 'outcome'));

  async function lease(): Promise<Lease> {
    const mailbox = sampleMailbox();
    await db.addMailbox(mailbox, plain('x'), null, by);
    const taken = await db.acquireLease(mailbox.id, 'me', 60_000, null);
    if (taken === null) throw new Error('not taken');
    return taken;
  }

  let uids = 0;

  async function stored(outcome: string, createdAt: string, resolvedAt: string | null = null): Promise<void> {
    uids += 1;
    const resolved = resolvedAt === null ? 'null' : `'2024-05-${resolvedAt}'`;
    await on.run(`insert into outcome (mailbox_id, folder_epoch, uid, outcome, size_bytes, action_pending, created_at, resolved_at)
      values ('m', 1, ${uids}, '${outcome}', 1, 0, '2024-05-${createdAt}', ${resolved})`);
  }

  test('nothing is nothing', async () => {
    expect(await db.activitySince(nowMs - 24 * hourMs)).toEqual([]);
  });

  test('what a batch stores counts in the hour in which it was stored', async () => {
    const held = await lease();
    const messages = [openedBy(1), openedBy(2)];
    const ticket = messages[0]?.ticket.id ?? '';
    await db.commitBatch(
      held,
      batchWith({
        cursor: { folderEpoch: 1, uid: 6 },
        tickets: messages.map((mail) => mail.ticket),
        messages: messages.map((mail) => mail.message),
        outcomes: [
          ...messages.map((mail) => mail.outcome),
          outcomeOf(3, 'duplicate', ticket, null),
          outcomeOf(4, 'recorded', null, null),
          outcomeOf(5, 'quarantined', null, null, { reason: 'too_large' }),
          outcomeOf(6, 'vanished', null, null),
        ],
      }),
    );
    const now = await db.databaseNowMs();
    const activity = await db.activitySince(now - hourMs);
    expect(activity).toMatchObject([{ messages: 5, tickets: 2 }]);
    const [{ startMs } = { startMs: 0 }] = activity;
    expect(startMs % hourMs).toBe(0);
    expect(now - startMs).toBeLessThan(hourMs + 60_000);
    expect(await db.activitySince(now + hourMs)).toEqual([]);
  });

  test('hours are whole ones in UTC, in their order; those without mail are left out', async () => {
    await stored('ticket_opened', '17 11:00:00.000');
    await stored('ticket_opened', '17 09:00:00.000');
    await stored('reply_added', '17 09:59:59.999');
    await stored('recorded', '17 12:00:00.000');
    await stored('duplicate', '17 12:00:00.001');
    await stored('ticket_opened', '18 00:00:00.000');
    await stored('vanished', '17 13:00:00.000');
    await stored('reply_added', '17 08:59:59.999');
    expect(await db.activitySince(nineMs)).toEqual([
      { startMs: nineMs, messages: 2, tickets: 1 },
      { startMs: nineMs + 2 * hourMs, messages: 1, tickets: 1 },
      { startMs: nineMs + 3 * hourMs, messages: 2, tickets: 0 },
      { startMs: nineMs + 15 * hourMs, messages: 1, tickets: 1 },
    ]);
  });

  test('a mail that left quarantine counts when it came, and its ticket when it left', async () => {
    await stored('quarantined', '17 09:10:00.000');
    await stored('quarantined', '17 09:10:00.000', '17 12:00:00.000');
    await stored('ticket_opened', '17 10:10:00.000', '17 12:30:00.000');
    await stored('ticket_opened', '10 10:10:00.000', '17 12:30:00.000');
    await stored('ticket_opened', '10 10:10:00.000', '10 12:30:00.000');
    await stored('duplicate', '10 10:10:00.000', '17 12:30:00.000');
    expect(await db.activitySince(nineMs)).toEqual([
      { startMs: nineMs, messages: 2, tickets: 0 },
      { startMs: nineMs + hourMs, messages: 1, tickets: 0 },
      { startMs: nineMs + 3 * hourMs, messages: 0, tickets: 2 },
    ]);
  });

  test('a time that is none counts nowhere', async () => {
    await stored('ticket_opened', '17 09:00:00.000');
    await stored('ticket_opened', '17 09:00:00.000');
    await on.run(
      kind === 'sqlite'
        ? `update outcome set created_at = 'yesterday' where uid = ${uids}`
        : `set session sql_mode = 'ALLOW_INVALID_DATES'; update outcome set created_at = '2024-06-31 01:00:00' where uid = ${uids}`,
    );
    const activity = await db.activitySince(nineMs);
    expect(activity[0]).toEqual({ startMs: nineMs, messages: 1, tickets: 1 });
    for (const { startMs } of activity) expect(Number.isInteger(startMs)).toBe(true);
  });
});
