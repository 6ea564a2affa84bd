/**
 * Due queue with fair shares: mailboxes that cannot be polled never starve the others, on SQLite and MariaDB.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Endpoint } from '../../../../src/ingest/poll/server-failures.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, plain, sampleMailbox } from '../samples.ts';

const limit = 20;
const stack = new AsyncDisposableStack();

afterAll(() => stack.disposeAsync());

type Box = Partial<Endpoint> & { readonly host: string; readonly isFailing?: boolean; readonly overdueS: number };

describe.each(kinds)('the list of due mailboxes in %s', (kind) => {
  let on: Opened;

  beforeAll(async () => {
    on = await openKind(kind, stack);
  });
  beforeEach(() => on.empty('mailbox_state', 'mailboxes'));

  async function add({ host, port = 993, tls = 'implicit', isFailing = false, overdueS }: Box): Promise<string> {
    const mailbox = sampleMailbox();
    await on.db.addMailbox(
      { ...mailbox, connection: { ...mailbox.connection, host, port, tls } },
      plain('x'),
      null,
      by,
    );
    const lease = await on.db.acquireLease(mailbox.id, 'me', 60_000, null);
    if (lease === null) throw new Error('not taken');
    const nextPollAfterMs = -overdueS * 1000;
    const error = { code: 'server_timeout', message: 'no', hint: 'do' };
    await on.db.releaseLease(
      lease,
      isFailing ? { ok: false, nextPollAfterMs, error, refusedVersion: null } : { ok: true, nextPollAfterMs },
    );
    return mailbox.id;
  }

  /** The first is overdue for longest; each has a server of its own, unless `box` names one. */
  async function addMany(count: number, box: Partial<Box> & { readonly overdueS: number }): Promise<void> {
    for (let index = 0; index < count; index += 1)
      await add({ host: `mail${index}.example`, ...box, overdueS: box.overdueS - index / 10 });
  }

  const due = (closed: readonly Endpoint[] = []) => on.db.dueMailboxes(limit, [], 3, closed);
  const countsOf = async () => {
    const all = await due();
    return [all.length, all.filter(({ due: { failures } }) => failures > 0).length];
  };

  test('failed and healthy mailboxes get half each, and the free part of one goes to the other', async () => {
    await addMany(limit + 5, { overdueS: 600, isFailing: true });
    expect(await countsOf()).toEqual([limit, limit]);
    const fine = await add({ host: 'fine.example', overdueS: 1 });
    expect((await due()).map(({ id }) => id)).toContain(fine);
    expect(await countsOf()).toEqual([limit, limit - 1]);
    await addMany(limit + 5, { overdueS: 60 });
    expect(await countsOf()).toEqual([limit, limit / 2]);
    const overdue = (await due()).map(({ due: { overdueMs } }) => overdueMs);
    expect(overdue).toEqual(overdue.toSorted((a, b) => b - a));
    await on.run('update mailbox_state set failures = 0');
    expect(await countsOf()).toEqual([limit, 0]);
    const failing = await add({ host: 'failing.example', overdueS: 1, isFailing: true });
    expect((await due()).map(({ id }) => id)).toContain(failing);
  });

  test.each([false, true])(
    'many mailboxes at one server leave room for the others (failing: %s)',
    async (isFailing) => {
      for (const host of ['hangs.example', 'hangs-too.example'])
        await addMany(limit + 5, { host, overdueS: 600, isFailing });
      const others = [
        await add({ host: 'fine.example', overdueS: 2, isFailing }),
        await add({ host: 'fine.example', overdueS: 1, isFailing }),
      ];
      const listed = await due();
      expect(listed).toHaveLength(limit);
      expect(listed.slice(-2).map(({ id }) => id)).toEqual(others);
    },
  );

  test('the mailboxes of a single server get the whole list', async () => {
    await addMany(limit + 5, { host: 'big.example', overdueS: 600 });
    const listed = (await due()).map(({ due: { overdueMs } }) => overdueMs);
    expect(listed).toHaveLength(limit);
    expect(Math.min(...listed)).toBeGreaterThan(597_000);
  });

  test('servers with an open circuit have no mailbox on the list, by exact name, port and TLS mode', async () => {
    await addMany(limit + 5, { host: 'buro.example', overdueS: 600 });
    await addMany(2, { host: 'buro.example', overdueS: 600, isFailing: true });
    const others = [
      await add({ host: 'büro.example', overdueS: 3 }),
      await add({ host: 'buro.example', port: 143, overdueS: 2 }),
      await add({ host: 'buro.example', tls: 'starttls', overdueS: 2 }),
      await add({ host: 'fine.example', overdueS: 1 }),
    ];
    expect((await due([{ host: 'buro.example', port: 993, tls: 'implicit' }])).map(({ id }) => id)).toEqual(others);
    const many = Array.from({ length: 150 }, (_, index) => ({
      ...{ host: `closed${index}.example`, port: 993, tls: 'implicit' as const },
    }));
    expect(await due(many)).toHaveLength(limit);
  });
});
