/**
 * Accounts, sessions, sign-ins that were tried and the row of the operation of the admin page, on a SQLite file and on
 * a real MariaDB.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { AdminAccount, StoredOperation } from '../../../../src/admin/ports.ts';
import type { AuditEntry } from '../../../../src/encryption/ports.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, nowMs } from '../samples.ts';

const minuteMs = 60_000;
const hash = '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g';
const otherHash = hash.replace('t=3', 't=4');

function entry(action: string, more: Partial<AuditEntry> = {}): AuditEntry {
  return { ...by, action, keyId: null, nextKeyId: null, mailboxId: null, detail: null, ...more };
}

function newAccount(name: string, more: Partial<AdminAccount> = {}): Omit<AdminAccount, 'lastSignInAtMs'> {
  return {
    ...{ id: randomUUID(), name, passwordHash: hash },
    ...{ createdAtMs: nowMs, passwordChangedAtMs: nowMs + 1, ...more },
  };
}

function newToken(): string {
  return randomBytes(32).toString('hex');
}

function operation(more: Partial<StoredOperation> = {}): StoredOperation {
  return {
    number: 1,
    kind: 'enable',
    by: 'ada (admin page)',
    startedAtMs: nowMs,
    endedAtMs: null,
    worker: 'host 1 boot',
    state: 'running',
    detail: '{"steps":[]}',
    ...more,
  };
}

describe.each(kinds)('the admin page on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let opened: Opened;
  let db: Database;

  beforeAll(async () => {
    opened = await openKind(kind, stack);
    db = opened.db;
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(() => opened.empty('admin_account', 'admin_session', 'admin_attempt', 'admin_operation', 'audit'));

  async function added(name: string, more: Partial<AdminAccount> = {}): Promise<AdminAccount> {
    const account = newAccount(name, more);
    await db.addAccount(account, entry('admin.added', { detail: name }));
    return { ...account, lastSignInAtMs: null };
  }

  async function signedIn(account: AdminAccount, atMs = nowMs): Promise<string> {
    const token = newToken();
    expect(await db.addSession(token, account, atMs, entry('admin.signed_in'))).toBe(true);
    return token;
  }

  const actions = async () => (await db.readAudit(100, 'admin')).map(({ action }) => action);

  describe('accounts', () => {
    test('come back as they were written, and their audit with them', async () => {
      expect([await db.countAccounts(), await db.listAccounts()]).toEqual([0, []]);
      const ada = await added(`Ünser 😀 ' \\ "ada`, { createdAtMs: Date.UTC(2031, 1, 3, 4, 5, 6, 789) });
      const zoe = await added('Zoe');
      const bob = await added('bob');
      expect(await db.countAccounts()).toBe(3);
      expect(await db.listAccounts()).toEqual([bob, zoe, ada]);
      expect(await db.accountByName(ada.name)).toEqual(ada);
      expect(await db.readAudit(10, 'admin')).toMatchObject([
        { action: 'admin.added', detail: 'bob' },
        { action: 'admin.added', detail: 'Zoe' },
        { action: 'admin.added', detail: ada.name, ...by },
      ]);
    });

    test('a name is found in any case, letter by letter, and by nothing else', async () => {
      const ada = await added('Ada Ünser');
      for (const name of ['ada ünser', 'ADA ÜNSER', 'Ada U\u0308nser'])
        expect(await db.accountByName(name)).toEqual(ada);
      for (const name of ['ada unser', 'ada', 'ada ünser%', '', '\ud800', 'x'.repeat(100_000), "' or 1=1 -- "])
        expect(await db.accountByName(name)).toBeNull();
    });

    test('a second of the same name is refused, with its audit', async () => {
      const ada = await added('Ada Ünser');
      for (const name of ['Ada Ünser', 'ADA ÜNSER', 'ada u\u0308nser'])
        await expect(db.addAccount(newAccount(name), entry('admin.added'))).rejects.toMatchObject({
          code: 'already_exists',
        });
      expect(await db.listAccounts()).toEqual([ada]);
      expect(await actions()).toEqual(['admin.added']);
      await added('Ada Unser');
      expect(await db.countAccounts()).toBe(2);
    });

    test('of twenty that add one name at once exactly one does', async () => {
      await using second = await openDatabase(opened.config);
      const ends = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? db : second).addAccount(newAccount(index % 3 === 0 ? 'ada' : 'ADA'), entry('admin.added')),
        ),
      );
      const lost = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason.code] : []));
      expect(lost).toEqual(Array.from({ length: 19 }, () => 'already_exists'));
      expect(await actions()).toEqual(['admin.added']);
    });

    test('a hash of higher parameters replaces the one that it was made from alone, and ends no session', async () => {
      const ada = await added('ada');
      const token = await signedIn(ada);
      await db.upgradePasswordHash(ada.id, 'another', otherHash);
      expect((await db.accountByName('ada'))?.passwordHash).toBe(hash);
      await db.upgradePasswordHash(ada.id, hash, otherHash);
      const after = await db.accountByName('ada');
      expect(after).toEqual({ ...ada, passwordHash: otherHash, lastSignInAtMs: nowMs });
      expect(await db.readSession(token)).toMatchObject({ account: after });
      expect(await db.addSession(newToken(), ada, nowMs, entry('admin.signed_in'))).toBe(true);
    });
  });

  describe('sessions', () => {
    test('belong to an account, note the sign-in there, and are found by the hash of their token alone', async () => {
      const [ada, bob] = [await added('ada'), await added('bob')];
      const token = await signedIn(ada, nowMs + 7);
      const ofBob = await signedIn(bob, nowMs + 9);
      expect(await db.readSession(token)).toEqual({
        account: { ...ada, lastSignInAtMs: nowMs + 7 },
        createdAtMs: nowMs + 7,
        seenAtMs: nowMs + 7,
      });
      expect(await db.readSession(ofBob)).toMatchObject({ account: { name: 'bob' } });
      for (const other of [newToken(), '', token.slice(1), token.toUpperCase(), `${token}0`])
        expect(await db.readSession(other)).toBeNull();
      expect(await actions()).toEqual(['admin.signed_in', 'admin.signed_in', 'admin.added', 'admin.added']);
    });

    test('are seen later and later, and end one by one', async () => {
      const ada = await added('ada');
      const [token, other] = [await signedIn(ada), await signedIn(ada)];
      await db.touchSession(token, nowMs + minuteMs);
      await db.touchSession(token, nowMs + 1);
      await db.touchSession(newToken(), nowMs + minuteMs);
      expect(await db.readSession(token)).toMatchObject({ createdAtMs: nowMs, seenAtMs: nowMs + minuteMs });
      expect(await db.readSession(other)).toMatchObject({ seenAtMs: nowMs });
      await db.removeSession(token);
      await db.touchSession(token, nowMs + 2 * minuteMs);
      expect(await db.readSession(token)).toBeNull();
      expect(await db.readSession(other)).not.toBeNull();
    });

    test('all of an account end with a change of its password', async () => {
      const [ada, bob] = [await added('ada'), await added('bob')];
      const [first, second, ofBob] = [await signedIn(ada), await signedIn(ada), await signedIn(bob)];
      const audit = entry('admin.password_changed');
      expect(await db.setPasswordHash(ada.id, otherHash, nowMs + minuteMs, audit)).toBe(true);
      for (const token of [first, second]) expect(await db.readSession(token)).toBeNull();
      expect(await db.readSession(ofBob)).not.toBeNull();
      const after = await db.accountByName('ada');
      expect(after).toMatchObject({ passwordHash: otherHash, passwordChangedAtMs: nowMs + minuteMs });
      expect((await actions())[0]).toBe('admin.password_changed');
      expect(await db.setPasswordHash(randomUUID(), hash, nowMs, audit)).toBe(false);
      expect((await actions()).filter((action) => action === audit.action)).toHaveLength(1);
    });

    test('all of an account go with it', async () => {
      const [ada, bob] = [await added('ada'), await added('bob')];
      const [token, ofBob] = [await signedIn(ada), await signedIn(bob)];
      expect(await db.removeAccount(ada.id, entry('admin.removed'))).toBe(true);
      expect(await db.removeAccount(ada.id, entry('admin.removed'))).toBe(false);
      expect([await db.readSession(token), await db.accountByName('ada')]).toEqual([null, null]);
      expect(await db.readSession(ofBob)).not.toBeNull();
      expect(await opened.run('select count(*) from admin_session')).toBe('1');
      expect((await actions()).filter((action) => action === 'admin.removed')).toHaveLength(1);
    });

    test('whose password was changed or whose account was removed during a sign-in gets none', async () => {
      const ada = await added('ada');
      await db.setPasswordHash(ada.id, otherHash, nowMs + minuteMs, entry('admin.password_changed'));
      expect(await db.addSession(newToken(), ada, nowMs, entry('admin.signed_in'))).toBe(false);
      expect(await db.accountByName('ada')).toMatchObject({ lastSignInAtMs: null });
      await db.removeAccount(ada.id, entry('admin.removed'));
      expect(await db.addSession(newToken(), ada, nowMs, entry('admin.signed_in'))).toBe(false);
      expect(await opened.run('select count(*) from admin_session')).toBe('0');
      expect(await actions()).not.toContain('admin.signed_in');
    });

    test('none outlives a change of the password, however many sign in at that moment', async () => {
      await using second = await openDatabase(opened.config);
      for (let round = 1; round <= 10; round += 1) {
        const ada = await added(`ada ${round}`);
        const tokens = Array.from({ length: 8 }, newToken);
        const signIn = (some: readonly string[], from: Database) =>
          some.map((token) => from.addSession(token, ada, nowMs, entry('admin.signed_in')));
        const earlier = signIn(tokens.slice(0, 4), db);
        const change = second.setPasswordHash(ada.id, otherHash, nowMs + minuteMs, entry('admin.password_changed'));
        await Promise.all([...earlier, change, ...signIn(tokens.slice(4), second)]);
        const left = await Promise.all(tokens.map((token) => db.readSession(token)));
        expect(left.filter((session) => session !== null)).toEqual([]);
      }
    });

    test('go when they were not seen for long, or began long ago, and others stay', async () => {
      const ada = await added('ada');
      const [idle, old, fresh] = [newToken(), newToken(), newToken()];
      for (const [token, atMs, seenAtMs] of [
        [idle, nowMs, nowMs],
        [old, nowMs - 100 * minuteMs, nowMs + minuteMs],
        [fresh, nowMs, nowMs + minuteMs],
      ] as const) {
        await db.addSession(token, ada, atMs, entry('admin.signed_in'));
        await db.touchSession(token, seenAtMs);
      }
      await db.removeSessionsBefore(nowMs + 1, nowMs - minuteMs);
      const left = await Promise.all([idle, old, fresh].map((token) => db.readSession(token)));
      expect(left.map((session) => session !== null)).toEqual([false, false, true]);
      await db.removeSessionsBefore(nowMs + minuteMs, nowMs);
      expect(await db.readSession(fresh)).not.toBeNull();
    });

    test('without an account, and with times that are none, end a session', async () => {
      const ada = await added('ada');
      const token = await signedIn(ada);
      await opened.run(
        kind === 'sqlite'
          ? `update admin_session set created_at = 'soon', seen_at = ''`
          : `set session sql_mode = ''; update admin_session set created_at = 0, seen_at = 0`,
      );
      expect(await db.readSession(token)).toMatchObject({ createdAtMs: 0, seenAtMs: 0 });
      await opened.run('delete from admin_account');
      expect(await db.readSession(token)).toBeNull();
    });
  });

  describe('sign-ins that were tried', () => {
    const [bucket, other] = ['a', 'b'].map((text) => createHash('sha256').update(text).digest('hex')) as [
      string,
      string,
    ];
    const countOf = async (from: Database, windowMs = minuteMs) => (await from.countAttempt(bucket, windowMs)).count;

    test('are counted each for itself, until they are forgotten', async () => {
      for (const expected of [1, 2, 3]) {
        const { count, endsInMs } = await db.countAttempt(bucket, minuteMs);
        expect(count).toBe(expected);
        expect(endsInMs).toBeGreaterThan(minuteMs / 2);
        expect(endsInMs).toBeLessThanOrEqual(minuteMs);
      }
      expect(await db.countAttempt(other, minuteMs)).toMatchObject({ count: 1 });
      await db.clearAttempts(bucket);
      expect(await db.countAttempt(bucket, minuteMs)).toMatchObject({ count: 1 });
      expect(await db.countAttempt(other, minuteMs)).toMatchObject({ count: 2 });
    });

    test('are given back one by one, and never below none', async () => {
      await db.uncountAttempt(bucket);
      expect(await opened.run('select * from admin_attempt')).toBe('');
      for (let index = 0; index < 5; index += 1) await countOf(db);
      await db.countAttempt(other, minuteMs);
      await Promise.all([db.uncountAttempt(bucket), db.uncountAttempt(bucket)]);
      expect(await countOf(db)).toBe(4);
      for (let index = 0; index < 7; index += 1) await db.uncountAttempt(bucket);
      expect(await countOf(db)).toBe(1);
      expect(await db.countAttempt(other, minuteMs)).toMatchObject({ count: 2 });
    });

    test('of twenty counted and given back at once none is left', async () => {
      await using second = await openDatabase(opened.config);
      const both = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? db : second));
      await Promise.all(
        both.map(async (one) => {
          await countOf(one);
          await one.uncountAttempt(bucket);
        }),
      );
      expect(await countOf(db)).toBe(1);
    });

    test('are all forgotten with a row of the audit', async () => {
      await countOf(db);
      await db.countAttempt(other, minuteMs);
      for (let index = 0; index < 2; index += 1) {
        await db.clearAllAttempts(entry('admin.unlocked'));
        expect(await opened.run('select * from admin_attempt')).toBe('');
      }
      expect(await actions()).toEqual(['admin.unlocked', 'admin.unlocked']);
    });

    test('of fifty at once none is missed and none counted twice', async () => {
      await using second = await openDatabase(opened.config);
      const inOrder = Array.from({ length: 50 }, (_, index) => index + 1);
      const counts = await Promise.all(inOrder.map((index) => countOf(index % 2 === 0 ? db : second)));
      expect(counts.sort((a, b) => a - b)).toEqual(inOrder);
    });

    test('of fifty at once after the window has ended one begins the next', async () => {
      await using second = await openDatabase(opened.config);
      for (let index = 1; index <= 3; index += 1) await countOf(db);
      await opened.run(`update admin_attempt set window_until = '2024-05-17 09:30:15.250'`);
      const inOrder = Array.from({ length: 50 }, (_, index) => index + 1);
      const counts = await Promise.all(inOrder.map((index) => countOf(index % 2 === 0 ? db : second)));
      expect(counts.sort((a, b) => a - b)).toEqual(inOrder);
    });

    test('a window ends by the clock, and is not made longer by further attempts', async () => {
      const windowUntil = () => opened.run('select window_until from admin_attempt');
      expect(await countOf(db)).toBe(1);
      const until = await windowUntil();
      expect(await countOf(db)).toBe(2);
      expect(await windowUntil()).toBe(until);
      const soon =
        kind === 'sqlite'
          ? `strftime('%Y-%m-%d %H:%M:%f', 'now', '0.3 seconds')`
          : 'utc_timestamp(3) + interval 300000 microsecond';
      await opened.run(`update admin_attempt set window_until = ${soon}`);
      await expect.poll(() => countOf(db), { timeout: 20_000, interval: 20 }).toBe(1);
      expect((await windowUntil()) > until).toBe(true);
    });

    test('a window that ends later than any that begins now is over', async () => {
      await countOf(db);
      await opened.run(`update admin_attempt set count = 99, window_until = '2300-01-01 00:00:00.000'`);
      const { count, endsInMs } = await db.countAttempt(bucket, minuteMs);
      expect(count).toBe(1);
      expect(endsInMs).toBeLessThanOrEqual(minuteMs);
    });

    test('those of long ago go when a window begins', async () => {
      const old = Array.from({ length: 150 }, (_, index) => `('old ${index}', 1, '2024-05-17 09:30:15.250')`);
      await opened.run(`insert into admin_attempt (bucket, count, window_until) values ${old.join(', ')}`);
      await countOf(db);
      expect(await opened.run('select count(*) from admin_attempt')).toBe('51');
      await db.countAttempt(other, minuteMs);
      expect(await opened.run('select count(*) from admin_attempt')).toBe('2');
    });
  });

  describe('the operation', () => {
    test('comes back as it was written, and as it was noted', async () => {
      expect(await db.readOperation()).toBeNull();
      const first = operation({ by: `Ünser 😀 ' \\`, detail: JSON.stringify({ steps: ['😀', "'\\"] }) });
      expect(await db.beginOperation(first, null)).toBe(true);
      expect(await db.readOperation()).toEqual(first);
      const next = { state: 'done', endedAtMs: nowMs + 5, detail: 'x'.repeat(65_000) } as const;
      expect(await db.updateOperation({ ...first, ...next })).toBe(true);
      // Once more the same: that nothing changes is not that it is another's.
      expect(await db.updateOperation({ ...first, ...next })).toBe(true);
      expect(await db.readOperation()).toEqual({ ...first, ...next });
    });

    test('takes the place of the one that was read alone', async () => {
      const first = operation();
      const second = operation({ number: 2, kind: 'rotate', worker: 'host 2 boot' });
      expect(await db.beginOperation(second, first)).toBe(false);
      expect(await db.readOperation()).toBeNull();
      await db.beginOperation(first, null);
      expect(await db.beginOperation(second, null)).toBe(false);
      for (const other of [{ number: 7 }, { worker: 'host 3 boot' }, { state: 'done' as const }])
        expect(await db.beginOperation(second, { ...first, ...other })).toBe(false);
      expect(await db.readOperation()).toEqual(first);
      expect(await db.beginOperation(second, first)).toBe(true);
      expect(await db.readOperation()).toEqual(second);
    });

    test('is noted by who runs it alone', async () => {
      const first = operation();
      const second = operation({ number: 2, worker: 'host 2 boot' });
      expect(await db.updateOperation(first)).toBe(false);
      await db.beginOperation(first, null);
      await db.beginOperation(second, first);
      expect(await db.updateOperation({ ...first, state: 'failed' })).toBe(false);
      expect(await db.updateOperation({ ...second, worker: first.worker, state: 'failed' })).toBe(false);
      expect(await db.readOperation()).toEqual(second);
    });

    test.each([
      ['the first', null],
      ['the next', operation({ state: 'done', endedAtMs: nowMs })],
    ])('of thirty that begin %s at once exactly one does', async (_which, before) => {
      await using second = await openDatabase(opened.config);
      if (before !== null) await db.beginOperation(before, null);
      const begun = await Promise.all(
        Array.from({ length: 30 }, (_, index) => {
          const next = operation({ number: 2, worker: `host ${index} boot` });
          return (index % 2 === 0 ? db : second).beginOperation(next, before);
        }),
      );
      expect(begun.filter((won) => won)).toHaveLength(1);
      expect((await db.readOperation())?.worker).toBe(`host ${begun.indexOf(true)} boot`);
    });

    test.each([
      `kind = 'explode'`,
      `kind = 'ENABLE'`,
      `state = 'dreaming'`,
      `state = 'running '`,
      ...(kind === 'sqlite'
        ? ["started_at = 'never'", `worker = '${'w'.repeat(300)}'`, `started_by = '${'b'.repeat(300)}'`]
        : ['number = 18446744073709551615', 'number = 9007199254740992']),
    ])('a row that is not ours (%s) counts as none', async (set) => {
      await db.beginOperation(operation(), null);
      await opened.run(`update admin_operation set ${set}`);
      expect(await db.readOperation()).toBeNull();
      expect(await db.beginOperation(operation({ number: 5 }), operation())).toBe(false);
      expect(await db.beginOperation(operation({ number: 5 }), null)).toBe(true);
      expect(await db.readOperation()).toEqual(operation({ number: 5 }));
    });

    test.each(['host 1 boot ', 'HOST 1 BOOT', 'h\u0000x', 'h\u00e9', ''])(
      'a row of a worker %j written by another program is replaced as it was read',
      async (worker) => {
        await db.beginOperation(operation({ worker }), null);
        const read = await db.readOperation();
        expect(read?.worker.length).toBeLessThan(20);
        expect(await db.beginOperation(operation({ number: 5 }), { ...operation(), worker: 'host 1 boot' })).toBe(
          false,
        );
        expect(await db.beginOperation(operation({ number: 5 }), read)).toBe(true);
        expect(await db.readOperation()).toEqual(operation({ number: 5 }));
      },
    );

    test('of a detail that is too long nothing is read', async () => {
      await db.beginOperation(operation({ detail: 'ü'.repeat(32_768) }), null);
      expect((await db.readOperation())?.detail).toBe('ü'.repeat(32_768));
      await opened.run(`update admin_operation set detail = '${'ü'.repeat(32_768)}x'`);
      expect((await db.readOperation())?.detail).toBe('');
    });
  });

  describe('the audit', () => {
    test('is read by what it is about, and the newest row of an action by its name', async () => {
      const all = ['switch.on', 'admin.added', 'quarantine.requeued', 'administrator.x', 'key.backup_verified'];
      await db.audit(
        [...all, 'admin.refused', 'key.recovered'].map((action, index) => entry(action, { detail: `${index}` })),
      );
      const read = async (about?: 'quarantine' | 'admin') =>
        (await db.readAudit(100, about)).map(({ action }) => action);
      expect(await read('admin')).toEqual(['admin.refused', 'admin.added']);
      expect(await read('quarantine')).toEqual(['quarantine.requeued']);
      expect(await read()).toEqual(['key.recovered', 'key.backup_verified', 'administrator.x', 'switch.on']);
      expect(await db.readAudit(1, 'admin')).toMatchObject([{ action: 'admin.refused' }]);
      await db.audit([entry('key.backup_verified', { detail: 'again' })]);
      expect(await db.lastAudit('key.backup_verified')).toMatchObject({ ...by, detail: 'again' });
      expect(await db.lastAudit('admin.added')).toMatchObject({ detail: '1' });
      expect(await db.lastAudit('admin')).toBeNull();
    });
  });
});
