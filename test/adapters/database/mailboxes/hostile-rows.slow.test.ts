/**
 * Malicious rows: odd ids, texts and passwords of any size, invalid times and times in the future.
 *
 * An attacker with write access to the tables cannot thereby keep a password in plain text, stop other mailboxes, or
 * exhaust the machine.
 */
import { readFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { PasswordBatch, PasswordRewrite, PasswordRow, WorkerReport } from '../../../../src/encryption/ports.ts';
import { initialSwitchRow } from '../../../../src/secret/switch.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, sealed } from '../samples.ts';

const keyId = '0123456789abcdef';
const minuteMs = 60_000;
const alive = () => false;

describe.each(kinds)('hostile rows on %s', (kind) => {
  // What only a SQLite file can have is no test of the other one.
  const leaveOut = () => undefined;
  const testOnSqlite: (title: string, run: () => Promise<void>) => void = kind === 'sqlite' ? test : leaveOut;
  const describeOnSqlite: (title: string, run: () => void) => void = kind === 'sqlite' ? describe : leaveOut;
  const stack = new AsyncDisposableStack();
  let opened: Opened;
  let db: Database;

  async function openAnew(): Promise<void> {
    opened = await openKind(kind, stack);
    db = opened.db;
  }

  beforeAll(openAnew);
  afterAll(() => stack.disposeAsync());

  beforeEach(async () => {
    await opened.empty('mailboxes', 'mailbox_state', 'encryption_switch', 'workers', 'audit');
    await db.writeSwitch(initialSwitchRow, -1, []);
  });

  async function written(more: Readonly<Record<string, string>> = {}): Promise<void> {
    const row = { name: "'desk'", host: "'mail.example.org'", username: "'ada'", password: "'p4ss'", ...more };
    await opened.run(
      `insert into mailboxes (${Object.keys(row).join(', ')}) values (${Object.values(row).join(', ')})`,
    );
  }

  /** SQL for as many letters. */
  const letters = (count: number): string =>
    kind === 'mariadb' ? `repeat('x', ${count})` : `replace(hex(zeroblob(${count})), '00', 'x')`;
  const ahead = (ms: number): string => `'${new Date(Date.now() + ms).toISOString().replace('T', ' ').slice(0, 23)}'`;

  async function sealing(row: PasswordRow): Promise<PasswordRewrite> {
    return { form: 'sealed', sealed: Buffer.from(`<${Buffer.from(row.bytes)}>`), keyId };
  }

  /** All batches of a selection; how many rows were seen and changed, and the names in the order of the ids. */
  async function sweep(more: Partial<PasswordBatch> = {}, change = sealing) {
    const names: string[] = [];
    let [seen, changed]: [number, number] = [0, 0];
    for (let [after, rounds]: [string | null, number] = [null, 0]; rounds < 100; rounds += 1) {
      const audit = { ...by, action: 'password.sealed' };
      const stretch = { selection: 'plain', after, limit: 2, revision: 0, audit, ...more } as const;
      const result = await db.rewritePasswords(stretch, (row) => {
        names.push(row.name);
        return change(row);
      });
      seen += result.seen;
      changed += result.changed;
      if (result.lastId === null) return { names, seen, changed };
      after = result.lastId;
    }
    throw new Error('The sweep does not end.');
  }

  test('a rewrite reaches a plain password with any id, once', async () => {
    const ids = { empty: "''", control: 'char(1)', newline: "'\n'", space: "' !'", letter: "'a'", later: "'zz'" };
    for (const [name, id] of Object.entries(ids)) await written({ name: `'${name}'`, id });
    for (const limit of [1, 2, 5]) {
      const { names } = await sweep({ limit }, async () => null);
      expect(names.toSorted()).toEqual(Object.keys(ids).toSorted());
    }
    expect(await sweep({ selection: 'sealable' })).toMatchObject({ seen: 6, changed: 6 });
    expect(await db.passwordCounts()).toMatchObject({ plaintext: 0, sealed: 6 });
  });

  testOnSqlite('an id that is not UTF-8 does not keep a sweep going for ever', async () => {
    await written({ name: "'bad'", id: "cast(x'61ff' as text)" });
    await written({ name: "'good'", id: "'b'" });
    for (const limit of [1, 2]) await sweep({ limit }, async () => null);
    expect((await sweep()).names).toEqual(['good']);
  });

  describe('texts that are too long', () => {
    const limits = { name: 255, host: 255, username: 1024, folder: 1024, on_success_folder: 1024, ca_pem: 65_536 };
    const cases = Object.entries(limits).filter(([column]) => kind === 'sqlite' || !/^(name|host)$/.test(column));

    test.each(cases)('%s of %d characters is valid, one more makes the row invalid', async (column, max) => {
      await written({ name: "'good'", id: "'g'", [column]: letters(max) });
      await written({ name: "'bad'", id: "'b'", [column]: letters(max + 1) });
      await db.scheduleNewMailboxes();
      expect((await db.dueMailboxes(10, [], 3)).map(({ id }) => id)).toEqual(['g']);
      const bad = (await db.listMailboxes()).find(({ id }) => id === 'b');
      expect(bad).toMatchObject({ state: 'paused', health: { lastError: { code: 'mailbox_invalid' } } });
      expect(bad?.health.lastError?.message).toContain(`${column} has more than ${max} characters`);
      await expect(db.mailboxById('b')).rejects.toMatchObject({ code: 'mailbox_invalid' });
      expect(await sweep()).toMatchObject({ seen: 2, changed: 2 });
    });

    test('a certificate of many megabytes is read only up to its limit', async () => {
      await written({ ca_pem: letters(12_000_000) });
      const [listed] = await db.listMailboxes();
      expect(listed?.connection.caPem).toHaveLength(65_537);
      const lengths: unknown[] = [];
      await sweep({}, async (row) => {
        lengths.push(row.connection.caPem?.length);
        return null;
      });
      expect(lengths).toEqual([65_537]);
    });

    test('limits count characters, not UTF-16 units', async () => {
      await written({ name: `'${'😀'.repeat(255)}'`, folder: `'${'😀'.repeat(1024)}'` });
      expect((await db.mailboxByName('😀'.repeat(255))).connection.folder).toBe('😀'.repeat(1024));
    });

    testOnSqlite('words, times and passwords of any size cost little, too', async () => {
      const texts = [
        'tls_mode',
        'fingerprint',
        'since_kind',
        'since_at',
        'on_success',
        'created_at',
        'plaintext_since',
      ];
      const long = Object.fromEntries(texts.map((column) => [column, letters(2_000_000)]));
      await written({ ...long, id: "'b'", password: letters(5_000_000), password_key_id: letters(2_000_000) });
      const sizes: number[] = [];
      await sweep({}, async (row) => {
        sizes.push(row.bytes.length, row.connection.tls.length);
        return null;
      });
      expect(sizes).toEqual([4097, 65]);
      expect((await db.readPassword('b'))?.bytes).toHaveLength(4097);
      expect(JSON.stringify(await db.listMailboxes()).length).toBeLessThan(5000);
      expect(await db.plaintextPeriods()).toMatchObject([{ mailbox: 'desk', sinceMs: 0 }]);
    });
  });

  test('a password that cannot be sealed counts as plain but not as sealable, and starts no rewrite', async () => {
    const hopeless = { empty: "''", long: letters(1025), nul: "x'610062'", last: "x'6100'" };
    for (const [name, password] of Object.entries(hopeless)) await written({ name: `'${name}'`, password });
    expect(await db.readSwitch()).toMatchObject({ hasPlaintext: false });
    expect(await sweep({ selection: 'sealable' })).toEqual({ names: [], seen: 0, changed: 0 });
    expect((await sweep({}, async () => null)).names.toSorted()).toEqual(Object.keys(hopeless).toSorted());
    expect(await db.passwordCounts()).toMatchObject({ plaintext: 4 });
    for (const [name, password] of [
      ['short', "'x'"],
      ['number', '12345'],
      ['bytes', "x'ff30'"],
      ['longest', letters(1024)],
    ] as const) {
      await written({ name: `'${name}'`, password });
      expect(await db.readSwitch()).toMatchObject({ hasPlaintext: true });
      expect(await sweep({ selection: 'sealable' })).toEqual({ names: [name], seen: 1, changed: 1 });
    }
    await written({ name: "'gone'", state: "'removing'" });
    expect(await db.readSwitch()).toMatchObject({ hasPlaintext: false });
  });

  test('a reading of the switch reports sealed passwords, except those of mailboxes in removal', async () => {
    await written({ id: "'a'" });
    expect(await db.readSwitch()).toEqual({ row: initialSwitchRow, hasPlaintext: true, hasSealed: false });
    await db.setPassword('a', sealed(keyId), by);
    expect(await db.readSwitch()).toEqual({ row: initialSwitchRow, hasPlaintext: false, hasSealed: true });
    await opened.run('delete from encryption_switch');
    expect(await db.readSwitch()).toEqual({ row: null, hasPlaintext: false, hasSealed: true });
    await opened.run("update mailboxes set state = 'removing'");
    expect((await db.readSwitch()).hasSealed).toBe(false);
  });

  describeOnSqlite('the write-ahead log', () => {
    const canary = `canary-${'q'.repeat(40)}`;
    const holds = async (path: string) => (await readFile(path)).includes('canary-qqqq');
    const found = async () => [await holds(opened.file), await holds(`${opened.file}-wal`)];
    const change = async (): Promise<PasswordRewrite> => ({ form: 'sealed', sealed: Buffer.alloc(300, 'y'), keyId });

    // Each in a file of its own: where others delete rows, they leave behind what only rebuilding takes away.
    test('a sealed password is in plain text in no file', async () => {
      await openAnew();
      for (let index = 0; index < 5; index += 1) await written({ name: `'box ${index}'`, password: `'${canary}'` });
      expect(await found()).toContain(true);
      expect(await sweep({}, change)).toMatchObject({ changed: 5 });
      expect(await found()).toEqual([false, false]);
    });

    test('a reader delays the truncation without an error; the next batch truncates the log', async () => {
      await openAnew();
      await written({ password: `'${canary}'` });
      {
        using reader = new DatabaseSync(opened.file);
        reader.exec('begin; select count(*) from mailboxes');
        expect(reader.prepare('select count(*) as count from mailboxes').get()).toMatchObject({ count: 1 });
        expect(await sweep({}, change)).toMatchObject({ changed: 1 });
        expect(await holds(`${opened.file}-wal`)).toBe(true);
      }
      expect(await sweep({}, change)).toMatchObject({ changed: 0 });
      expect(await found()).toEqual([false, false]);
    });
  });

  describe('times in the future', () => {
    const report: WorkerReport = { worker: 'a', host: 'h', pid: 1, keyIds: [keyId], vault: 'open', revision: 0 };

    test('a claim longer than any operation requests is free', async () => {
      for (const [until, holder] of [
        [ahead(9 * minuteMs), 'mallory'],
        [ahead(11 * minuteMs), null],
        ["'9999-12-31 23:59:59.999'", null],
      ]) {
        await opened.run(`update encryption_switch set operation_owner = 'mallory', operation_until = ${until}`);
        expect(await db.claimOperation('me', minuteMs, alive)).toBe(holder);
      }
      expect(await db.claimOperation('you', minuteMs, alive)).toBe('me');
      await expect(db.renewOperation('mallory', minuteMs)).rejects.toMatchObject({ code: 'operation_running' });
    });

    test('a worker with a heartbeat in the future is not live, and is deleted beyond a day', async () => {
      await db.reportWorker(report);
      for (const [seen, live] of [
        [ahead(30_000), true],
        [ahead(2 * minuteMs), false],
        [ahead(23 * 60 * minuteMs), false],
      ]) {
        await opened.run(`update workers set heartbeat_at = ${seen}`);
        expect(await db.listWorkers(minuteMs)).toMatchObject([{ worker: 'a', live }]);
      }
      for (const seen of [ahead(25 * 60 * minuteMs), "'9999-12-31 23:59:59.999'"]) {
        await db.reportWorker(report);
        await opened.run(`update workers set heartbeat_at = ${seen}`);
        expect(await db.listWorkers(minuteMs)).toEqual([]);
      }
      await db.reportWorker(report);
      expect(await db.listWorkers(minuteMs)).toMatchObject([{ live: true }]);
    });
  });

  const noTimes = kind === 'sqlite' ? ['garbage', ''] : ['0000-00-00 00:00:00', '2024-00-00', '2024-02-30 12:00:00'];
  test.each(noTimes)('an invalid time (%j) stops nothing', async (text) => {
    const time = `'${text}'`;
    const lenient = kind === 'sqlite' ? '' : `set sql_mode = 'ALLOW_INVALID_DATES'; `;
    const set = async (table: string, columns: readonly string[]) => {
      const pairs = columns.map((column) => `${column} = ${time}`).join(', ');
      await opened.run(`${lenient}update ${table} set ${pairs}`);
    };
    await written({ id: "'a'" });
    await db.scheduleNewMailboxes();
    const worker = { worker: 'w', host: 'h', pid: 1, keyIds: [keyId], vault: 'open', revision: 0 };
    await db.reportWorker(worker);
    await db.audit([{ ...by, action: 'x', keyId, nextKeyId: null, mailboxId: null, detail: null }]);
    await set('encryption_switch', ['changed_at', 'operation_until']);
    await opened.run("update encryption_switch set operation_owner = 'mallory'");
    await set('workers', ['started_at', 'heartbeat_at']);
    await set('audit', ['at']);
    await set('mailboxes', ['since_at', 'created_at', 'plaintext_since', 'plaintext_until']);
    await set('mailbox_state', ['next_poll_at', 'last_success_at', 'last_error_at', 'lease_until']);
    await opened.run("update mailbox_state set last_error_code = 'x'");
    const reading = await db.readSwitch();
    expect(reading).toMatchObject({ row: { state: 'off', revision: 0 }, hasPlaintext: true });
    expect(await db.claimOperation('me', minuteMs, alive)).toBeNull();
    expect(await db.readAudit(10)).toMatchObject([{ action: 'x' }]);
    expect((await db.listWorkers(minuteMs)).filter(({ live }) => live)).toEqual([]);
    await db.reportWorker(worker);
    expect(await db.listWorkers(minuteMs)).toMatchObject([{ worker: 'w', live: true }]);
    const [listed] = await db.listMailboxes();
    expect(listed?.id).toBe('a');
    for (const timeMs of [listed?.health.nextPollAtMs, listed?.health.lastSuccessAtMs]) expect(timeMs).not.toBeNaN();
    await db.dueMailboxes(10, [], 3);
    expect((await db.plaintextPeriods())[0]?.sinceMs).not.toBeNaN();
    expect(await sweep({ selection: 'sealable' })).toMatchObject({ changed: 1 });
    await db.rebuildMailboxTable();
    await db.setPassword('a', sealed(keyId), by);
    expect((await db.readSwitch()).hasSealed).toBe(true);
  });

  test('a second process reads a malicious table as the first one does', async () => {
    await written({ id: "''", ca_pem: letters(70_000), password: letters(2000) });
    await using other = await openDatabase(opened.config);
    expect(await other.listMailboxes()).toMatchObject([{ id: '', state: 'paused' }]);
    expect(await other.readSwitch()).toEqual(await db.readSwitch());
  });
});
