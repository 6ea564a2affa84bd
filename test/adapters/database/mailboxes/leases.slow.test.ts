/**
 * Schedule after failed polls, and the events that end a wait, on SQLite and MariaDB.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { toDatabaseTime } from '../../../../src/adapters/database/sql/tables.ts';
import type { PollResult } from '../../../../src/ingest/model.ts';
import { longestWaitMs } from '../../../../src/ingest/polling-policy.ts';
import type { Lease } from '../../../../src/ingest/stores.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { batchWith, by, plain, sampleMailbox } from '../samples.ts';

const minute = 60_000;
const hour = 60 * minute;
const stack = new AsyncDisposableStack();
const refusalsMax = 3;

afterAll(() => stack.disposeAsync());

describe.each(kinds)('the schedule in %s', (kind) => {
  let on: Opened;

  beforeAll(async () => {
    on = await openKind(kind, stack);
  });
  beforeEach(() => on.empty('mailbox_state', 'mailboxes', 'workers'));

  async function add(host = 'mail.example.org'): Promise<string> {
    const mailbox = sampleMailbox();
    await on.db.addMailbox({ ...mailbox, connection: { ...mailbox.connection, host } }, plain('x'), null, by);
    return mailbox.id;
  }

  async function lease(id: string, owner = 'me'): Promise<Lease> {
    const taken = await on.db.acquireLease(id, owner, minute, null);
    if (taken === null) throw new Error('not taken');
    return taken;
  }

  const due = async () => (await on.db.dueMailboxes(100, [], refusalsMax)).map(({ id, due: how }) => ({ id, ...how }));
  const dueIds = async () => (await due()).map(({ id }) => id).sort();

  async function fail(
    id: string,
    code: string,
    nextPollAfterMs: number,
    refusedVersion: string | null = null,
  ): Promise<void> {
    const result: PollResult = {
      ok: false,
      nextPollAfterMs,
      error: { code, message: 'no', hint: 'do' },
      refusedVersion,
    };
    await on.db.releaseLease(await lease(id), result);
  }

  /** The row changes, as a helpdesk would change it. */
  const touch = async (id: string) => {
    await sleep(5);
    await on.run(`update mailboxes set folder = 'Other' where id = '${id}'`);
  };

  const versionOf = async (id: string) => (await on.db.mailboxVersions([id])).get(id)?.version ?? '';

  test('login failures count for one version of the row, and a change of it ends the pause immediately', async () => {
    const id = await add();
    const version = await versionOf(id);
    for (let refusal = 1; refusal < refusalsMax; refusal += 1) {
      await fail(id, 'login_refused', 0, version);
      expect(await due()).toMatchObject([{ id, failures: refusal, loginFailures: refusal, version }]);
    }
    await fail(id, 'login_refused', 6 * hour, version);
    expect(await due()).toEqual([]);
    await touch(id);
    expect(await due()).toMatchObject([{ id, failures: 3, loginFailures: 0 }]);
    await fail(id, 'login_refused', 0, await versionOf(id));
    expect(await due()).toMatchObject([{ id, loginFailures: 1 }]);
  });

  test('a change of the row ends the pause once: an unreachable server then causes the usual wait', async () => {
    const id = await add();
    const version = await versionOf(id);
    for (let refusal = 1; refusal <= refusalsMax; refusal += 1) await fail(id, 'login_refused', 6 * hour, version);
    await fail(id, 'connect_refused', hour);
    await touch(id);
    expect(await due()).toMatchObject([{ id, loginFailures: 0 }]);
    await fail(id, 'connect_refused', hour);
    expect(await due()).toEqual([]);
  });

  test.each<[string, PollResult]>([
    [
      'refused login',
      {
        ...{ ok: false, nextPollAfterMs: 6 * hour, refusedVersion: 'the one before' },
        error: { code: 'login_refused', message: 'no', hint: 'do' },
      },
    ],
    [
      'server that asks for rest',
      {
        ...{ ok: false, nextPollAfterMs: hour, refusedVersion: null },
        error: { code: 'server_busy', message: 'no', hint: 'do' },
      },
    ],
    ['poll that went well', { ok: true, nextPollAfterMs: hour }],
  ])('a row that was changed meanwhile is due at once, and a %s says nothing about it', async (_what, result) => {
    const id = await add();
    const version = await versionOf(id);
    const held = await lease(id);
    await touch(id);
    await on.db.releaseLease(held, result, version);
    expect(await due()).toMatchObject([{ id, failures: 0, loginFailures: 0 }]);
    expect((await on.db.listMailboxes())[0]?.health).toMatchObject({ lastSuccessAtMs: null, lastError: null });
    expect(await on.db.leaseOwner(id)).toBeNull();
    // The row as it is now.
    await on.db.releaseLease(await lease(id), result, await versionOf(id));
    expect(await due()).toEqual([]);
    // Of a lease that is lost nothing is written.
    await on.db.releaseLease(held, result, version);
    expect(await due()).toEqual([]);
  });

  test('a worker that found a mailbox due gets no lease after another worker polled it', async () => {
    const id = await add();
    const [seen] = await due();
    await fail(id, 'login_refused', 6 * hour, seen?.version);
    expect(await on.db.acquireLease(id, 'late', minute, null, seen?.epoch)).toBeNull();
    await touch(id);
    const [again] = await due();
    expect(await on.db.acquireLease(id, 'late', minute, null, again?.epoch)).toMatchObject({ owner: 'late' });
  });

  test('a change of the row does not end a wait for another reason', async () => {
    const id = await add();
    await fail(id, 'server_busy', hour);
    await touch(id);
    expect(await due()).toEqual([]);
  });

  test('a poll without a result releases the lease and changes nothing else', async () => {
    const [failed, alone] = [await add(), await add()];
    await fail(failed, 'connect_refused', 0);
    await fail(alone, 'login_refused', 6 * hour, await versionOf(alone));
    const before = await on.db.listMailboxes();
    for (const id of [failed, alone]) {
      const held = await lease(id);
      await on.db.releaseLease({ ...held, epoch: held.epoch - 1 }, null);
      expect(await on.db.leaseOwner(id)).toBe('me');
      await on.db.releaseLease(held, null);
      expect(await on.db.leaseOwner(id)).toBeNull();
    }
    expect(await on.db.listMailboxes()).toEqual(before);
    expect(await due()).toMatchObject([{ id: failed, failures: 1 }]);
  });

  test('a successful poll clears failures and keeps the lease while it is in IDLE', async () => {
    const id = await add();
    await fail(id, 'login_refused', 0, await versionOf(id));
    const held = await lease(id);
    await on.db.recordPollSuccess(held, hour);
    const [row] = await on.db.listMailboxes();
    expect(row?.health).toMatchObject({
      failures: 0,
      loginFailures: 0,
      lastError: null,
      lastSuccessAtMs: expect.any(Number),
    });
    expect(await on.db.leaseOwner(id)).toBe('me');
    await on.db.recordPollSuccess({ ...held, epoch: held.epoch - 1 }, 0);
    expect((await on.db.listMailboxes())[0]?.health.nextPollAtMs).toBeGreaterThan(Date.now() + hour / 2);
    // The worker in IDLE there is gone: new messages are not noticed.
    await on.db.reclaimLease('me', id);
    expect(await dueIds()).toEqual([id]);
  });

  test('a lease is reclaimed alone, or all of an owner are', async () => {
    const [first, second, other] = [await add(), await add(), await add()];
    for (const id of [first, second]) expect(await on.db.acquireLease(id, 'me', hour, null)).not.toBeNull();
    expect(await on.db.acquireLease(other, 'another', hour, null)).not.toBeNull();
    expect(await on.db.reclaimLease('me', first)).toBe(true);
    expect(await on.db.reclaimLease('me', first)).toBe(false);
    expect(await on.db.reclaimLease('me', other)).toBe(false);
    expect([await on.db.leaseOwner(first), await on.db.leaseOwner(second)]).toEqual([null, 'me']);
    expect(await on.db.reclaimAllLeases('me')).toBe(true);
    expect(await on.db.reclaimAllLeases('me')).toBe(false);
    expect([await on.db.leaseOwner(second), await on.db.leaseOwner(other)]).toEqual([null, 'another']);
  });

  test('when a server is back, only the mailboxes that could not reach it are due', async () => {
    const [lost, busy, other] = [await add('back'), await add('back'), await add('away')];
    await fail(lost, 'connect_refused', hour);
    await fail(busy, 'server_busy', hour);
    await fail(other, 'connect_refused', hour);
    await on.db.makeDue(['connect_refused', 'connect_timeout'], 'back');
    expect(await dueIds()).toEqual([lost]);
  });

  /** As if the database's clock had been set back by an hour since. */
  const setBack = () =>
    on.run(
      kind === 'mariadb'
        ? 'update mailbox_state set next_poll_at = next_poll_at + interval 1 hour, last_error_at = last_error_at + interval 1 hour'
        : `update mailbox_state set next_poll_at = strftime('%Y-%m-%d %H:%M:%f', next_poll_at, '+1 hour'), last_error_at = strftime('%Y-%m-%d %H:%M:%f', last_error_at, '+1 hour')`,
    );

  test('after the clock was set back, healthy mailboxes are due and failed ones wait their time, once', async () => {
    const [well, brief, long] = [await add(), await add(), await add()];
    await on.db.releaseLease(await lease(well), { ok: true, nextPollAfterMs: minute });
    await fail(brief, 'folder_missing', 300);
    await fail(long, 'login_refused', 6 * hour, await versionOf(long));
    await setBack();
    await sleep(400);
    expect(await due()).toEqual([]);
    await on.db.makeAllDue();
    expect(await dueIds()).toEqual([well]);
    await sleep(400);
    // A second worker that notices the clock step lengthens no wait.
    await on.db.makeAllDue();
    expect(await dueIds()).toEqual([well, brief].sort());
    const rows = await on.db.listMailboxes();
    const nextMs = rows.find(({ id }) => id === long)?.health.nextPollAtMs ?? 0;
    const nowMs = await on.db.databaseNowMs();
    expect(Math.abs(nextMs - nowMs - 6 * hour)).toBeLessThan(5000);
  });

  /** As if the database's clock had been so far ahead when `column` was written. */
  const putOff = (id: string, column: string, ms: number) =>
    on.run(
      kind === 'mariadb'
        ? `update mailbox_state set ${column} = ${column} + interval ${ms / 1000} second where mailbox_id = '${id}'`
        : `update mailbox_state set ${column} = strftime('%Y-%m-%d %H:%M:%f', ${column}, '+${ms / 1000} seconds')
             where mailbox_id = '${id}'`,
    );

  test.each([hour, 24 * hour, 400 * 24 * hour])(
    'mailboxes postponed by a clock that was %i ms ahead are corrected',
    async (ms) => {
      const [well, failing, regular, rare, paused] = [await add(), await add(), await add(), await add(), await add()];
      for (const id of [well, regular])
        await on.db.releaseLease(await lease(id), { ok: true, nextPollAfterMs: minute });
      await on.db.releaseLease(await lease(rare), { ok: true, nextPollAfterMs: 23 * hour });
      await on.run(`update mailboxes set poll_interval_ms = ${24 * hour} where id = '${rare}'`);
      await fail(failing, 'folder_missing', 10 * minute);
      await fail(paused, 'login_refused', 720 * hour, await versionOf(paused));
      await putOff(well, 'next_poll_at', ms);
      for (const column of ['next_poll_at', 'last_error_at']) await putOff(failing, column, ms);
      expect(await due()).toEqual([]);
      await on.db.makeStrandedDue((waiting) => longestWaitMs(waiting, { intervalMs: minute }, true));
      expect(await dueIds()).toEqual([well]);
      const nowMs = await on.db.databaseNowMs();
      const waits = new Map(
        (await on.db.listMailboxes()).map(({ id, health }) => [id, (health.nextPollAtMs ?? 0) - nowMs]),
      );
      for (const [id, waitMs] of [
        [failing, 10 * minute],
        [regular, minute],
        [rare, 23 * hour],
        [paused, 720 * hour],
      ] as const)
        expect(Math.abs((waits.get(id) ?? 0) - waitMs)).toBeLessThan(10_000);
    },
  );

  test('a failed mailbox never waits longer than the longest pause', async () => {
    const id = await add();
    await fail(id, 'folder_missing', minute);
    await putOff(id, 'next_poll_at', 800 * hour);
    await on.db.makeStrandedDue((waiting) => longestWaitMs(waiting, { intervalMs: minute }, true));
    expect(await dueIds()).toEqual([id]);
  });

  test('a lease with an impossible end is expired, and its owner cannot write', async () => {
    const id = await add();
    const longest = await on.db.acquireLease(id, 'me', hour, null);
    expect(await dueIds()).toEqual([]);
    expect(await on.db.leaseOwner(id)).toBe('me');
    expect(await on.db.acquireLease(id, 'you', minute, null)).toBeNull();
    await putOff(id, 'lease_until', 10 * minute);
    expect(await dueIds()).toEqual([id]);
    expect(await on.db.leaseOwner(id)).toBeNull();
    expect(await on.db.acquireLease(id, 'you', minute, null)).toMatchObject({ owner: 'you', epoch: 2 });
    const batch = batchWith({ cursor: { folderEpoch: 1, uid: 1 } });
    await expect(on.db.commitBatch(longest as Lease, batch)).rejects.toMatchObject({ code: 'lease_lost' });
  });

  test('leases of a worker with a heartbeat in the future are free', async () => {
    const id = await add();
    await on.db.reportWorker({ host: 'h', pid: 1, keyIds: [], vault: 'closed', revision: 0, worker: 'silent' });
    await lease(id, 'silent');
    const seenAhead = (ms: number) =>
      on.run(`update workers set heartbeat_at = '${toDatabaseTime(Date.now() + ms)}' where worker = 'silent'`);
    await seenAhead(minute / 2);
    expect(await on.db.reclaimLeasesOfDeadWorkers(10_000, 'me')).toEqual([]);
    await seenAhead(2 * minute);
    expect(await on.db.reclaimLeasesOfDeadWorkers(10_000, 'me')).toEqual(['silent']);
    expect(await dueIds()).toEqual([id]);
  });

  test('without a clock step no failed mailbox becomes due', async () => {
    const id = await add();
    await fail(id, 'folder_missing', hour);
    await on.db.makeAllDue();
    expect(await due()).toEqual([]);
  });

  describe("a person's request", () => {
    const boxes = async () => await on.db.listMailboxes();
    const progress = async (id: string) => (await on.db.retryProgress([id])).get(id);

    test('makes a mailbox due whose logins are suspended, and keeps the refusals', async () => {
      const [id, other] = [await add(), await add()];
      const version = await versionOf(id);
      for (let refusal = 1; refusal <= refusalsMax; refusal += 1) await fail(id, 'login_refused', 6 * hour, version);
      await fail(other, 'server_busy', hour);
      expect(await due()).toEqual([]);
      await on.db.requestRetry(
        (await boxes()).filter((box) => box.id === id),
        null,
        by,
      );
      expect(await due()).toMatchObject([{ id, loginFailures: refusalsMax, retryRequestedMs: expect.any(Number) }]);
      expect(await progress(id)).toMatchObject({ isRequested: true, isPolling: false });
      expect((await on.db.mailboxVersions([id])).get(id)).toMatchObject({ isRetried: true });
      const held = await lease(id);
      expect(await progress(id)).toMatchObject({ isRequested: false, isPolling: true });
      await on.db.releaseLease(held, { ok: true, nextPollAfterMs: hour });
      expect(await due()).toEqual([]);
      expect(await progress(id)).toMatchObject({ isPolling: false, lastError: null });
      const [entry] = await on.db.readAudit(1);
      expect(entry).toMatchObject({ action: 'mailbox.retried', who: by.who, mailboxId: id });
    });

    test('during a poll makes the mailbox due again when that ends', async () => {
      const id = await add();
      const held = await lease(id);
      await on.db.requestRetry(await boxes(), null, by);
      const error = { code: 'server_timeout', message: 'no', hint: 'do' };
      await on.db.releaseLease(held, { ok: false, nextPollAfterMs: hour, error, refusedVersion: null });
      expect(await due()).toMatchObject([{ id, failures: 1, retryRequestedMs: expect.any(Number) }]);
      await fail(id, 'server_timeout', hour);
      expect(await due()).toEqual([]);
    });

    test('passes the exclusion of a server with an open circuit, for that mailbox alone', async () => {
      const [id] = [await add(), await add()];
      const box = (await boxes()).find((one) => one.id === id);
      if (box === undefined) throw new Error('not listed');
      const excluded = () => on.db.dueMailboxes(100, [], refusalsMax, [box.connection]);
      expect(await excluded()).toEqual([]);
      await on.db.requestRetry([box], 'mail.example.org', by);
      expect(await excluded()).toMatchObject([{ id }]);
      expect((await on.db.readAudit(1))[0]).toMatchObject({ mailboxId: null, detail: 'mail.example.org: 1' });
    });
  });

  test('versions report changed, paused and deleted rows', async () => {
    const [same, changed, paused, gone] = [await add(), await add(), await add(), await add()];
    const named = await add();
    const before = await on.db.mailboxVersions([same, changed, paused, gone, named]);
    await on.db.setAddresses(named, ['new@example.org'], by);
    expect((await on.db.mailboxVersions([named])).get(named)?.version).not.toBe(before.get(named)?.version);
    await touch(changed);
    await on.db.setMailboxState(paused, 'paused', by);
    await on.db.removeMailbox(gone, by);
    const after = await on.db.mailboxVersions([same, changed, paused, gone]);
    expect(after.get(same)).toEqual(before.get(same));
    expect(after.get(changed)?.version).not.toBe(before.get(changed)?.version);
    expect(after.get(paused)?.isActive).toBe(false);
    expect([...after.keys()].sort()).toEqual([same, changed, paused].sort());
  });

  test('leases of a worker without heartbeats are free and due, those of a live and of an unknown one are not', async () => {
    const [silent, live, byHand] = [await add(), await add(), await add()];
    const report = { host: 'h', pid: 1, keyIds: [], vault: 'closed', revision: 0 } as const;
    await on.db.reportWorker({ ...report, worker: 'silent' });
    await lease(silent, 'silent');
    await sleep(400);
    await on.db.reportWorker({ ...report, worker: 'live' });
    await lease(live, 'live');
    await lease(byHand, 'unknown');
    expect(await on.db.reclaimLeasesOfDeadWorkers(300, 'me')).toEqual(['silent']);
    expect(await dueIds()).toEqual([silent]);
    expect([await on.db.leaseOwner(live), await on.db.leaseOwner(byHand)]).toEqual(['live', 'unknown']);
  });

  test('a worker that reclaims leases keeps its own, even without heartbeats of its own', async () => {
    const [mine, silent] = [await add(), await add()];
    for (const [id, worker] of [
      [mine, 'mute'],
      [silent, 'silent'],
    ] as const) {
      await on.db.reportWorker({ host: 'h', pid: 1, keyIds: [], vault: 'closed', revision: 0, worker });
      await lease(id, worker);
    }
    await sleep(40);
    expect(await on.db.reclaimLeasesOfDeadWorkers(20, 'mute')).toEqual(['silent']);
    expect(await on.db.leaseOwner(mine)).toBe('mute');
  });
});
