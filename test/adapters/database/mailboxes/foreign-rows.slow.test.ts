/**
 * Mailbox rows of other programs: defaults of omitted columns, and isolation of invalid rows.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { batchWith, by, nowMs, plain, sampleMailbox } from '../samples.ts';

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const columns = 'name, host, username, password';

describe.each(kinds)('mailbox rows of other programs on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let opened: Opened;
  let db: Database;

  beforeAll(async () => {
    opened = await openKind(kind, stack);
    db = opened.db;
  });
  afterAll(() => stack.disposeAsync());

  beforeEach(async () => {
    await opened.empty('mailboxes', 'mailbox_state', 'audit');
  });

  async function written(more: Readonly<Record<string, string>> = {}): Promise<void> {
    const row = { name: "'desk'", host: "'mail.example.org'", username: "'ada'", password: "'p4ss'", ...more };
    await opened.run(
      `insert into mailboxes (${Object.keys(row).join(', ')}) values (${Object.values(row).join(', ')})`,
    );
  }

  async function passwordOf(name: string): Promise<string> {
    const { id } = await db.mailboxByName(name);
    const stored = await db.readPassword(id);
    return `${stored?.form} ${Buffer.from(stored?.bytes ?? [])}`;
  }

  const dueNames = async (limit = 100) => (await db.dueMailboxes(limit, [], 3)).map(({ name }) => name).sort();

  test('name, host, user and password suffice: the other columns have defaults', async () => {
    await written();
    const { id, start, ...mailbox } = await db.mailboxByName('desk');
    expect(id).toMatch(uuid);
    expect(mailbox).toEqual({
      name: 'desk',
      connection: {
        host: 'mail.example.org',
        port: 993,
        tls: 'implicit',
        caPem: null,
        fingerprint: null,
        allowPlaintext: false,
        user: 'ada',
        folder: 'INBOX',
      },
      postAction: { kind: 'seen' },
      pollIntervalMs: null,
      grant: null,
      addresses: [],
      state: 'active',
    });
    // Only what arrives from then on, by the clock in UTC.
    expect(Math.abs((start.from === 'time' ? start.atMs : 0) - Date.now())).toBeLessThan(10_000);
    expect(await passwordOf('desk')).toBe('plain p4ss');
    const [listed] = await db.listMailboxes();
    expect(listed?.health.password).toEqual({ form: 'plain', keyId: null });
    const [readable] = await db.plaintextPeriods();
    expect(readable).toMatchObject({ mailbox: 'desk', untilMs: null });
    expect(Math.abs((readable?.sinceMs ?? 0) - Date.now())).toBeLessThan(10_000);
  });

  test('every row of one statement gets its own id', async () => {
    const rows = Array.from({ length: 50 }, (_, index) => `('box ${index}', 'h', 'u', 'p')`);
    await opened.run(`insert into mailboxes (${columns}) values ${rows.join(', ')}`);
    const ids = (await db.listMailboxes()).map(({ id }) => id);
    expect(new Set(ids).size).toBe(50);
    for (const id of ids) expect(id).toMatch(uuid);
  });

  test('every column can be set, and an id need not be a UUID', async () => {
    const id = 'helpdesk/mailbox:0000000000000000001';
    await written({
      id: `'${id}'`,
      port: '143',
      tls_mode: "'starttls'",
      folder: "'Büro 😀'",
      password_form: "'plain'",
      since_kind: "'all'",
      on_success: "'move'",
      on_success_folder: "'Done'",
      poll_interval_ms: '60000',
      state: "'paused'",
      fingerprint: `'${'AB'.repeat(32)}'`,
    });
    expect(await db.mailboxById(id)).toMatchObject({
      id,
      connection: { port: 143, tls: 'starttls', folder: 'Büro 😀', fingerprint: 'ab'.repeat(32) },
      start: { from: 'all' },
      postAction: { kind: 'move', folder: 'Done' },
      pollIntervalMs: 60_000,
      state: 'paused',
    });
    expect(await db.scheduleNewMailboxes()).toBe(1);
    await db.setMailboxState(id, 'active', by);
    expect(await db.acquireLease(id, 'me', 60_000, null)).toMatchObject({ mailboxId: id, epoch: 1 });
  });

  test('an empty text counts as NULL where NULL is allowed', async () => {
    await written({ ca_pem: "''", fingerprint: "''" });
    expect((await db.mailboxByName('desk')).connection).toMatchObject({ caPem: null, fingerprint: null });
  });

  test.each([
    ["'2026-03-04 05:06:07.890'", Date.UTC(2026, 2, 4, 5, 6, 7, 890)],
    ["'2026-03-04 05:06:07'", Date.UTC(2026, 2, 4, 5, 6, 7)],
    ["'2026-03-04'", Date.UTC(2026, 2, 4)],
  ])('the start may be %s', async (start, atMs) => {
    await written({ since_at: start });
    expect((await db.mailboxByName('desk')).start).toEqual({ from: 'time', atMs });
  });

  test('without a start time messages count from the creation of the row', async () => {
    await written({ since_at: 'null', created_at: "'2026-03-04 05:06:07.890'" });
    expect((await db.mailboxByName('desk')).start).toEqual({ from: 'time', atMs: Date.UTC(2026, 2, 4, 5, 6, 7, 890) });
  });

  test('a password may be stored as text, bytes or a number', async () => {
    await written({ name: "'text'", password: "'pässwörd 😀'" });
    await written({ name: "'bytes'", password: "x'00ff10'" });
    await written({ name: "'number'", password: '12345' });
    expect(await passwordOf('text')).toBe('plain pässwörd 😀');
    expect(await passwordOf('number')).toBe('plain 12345');
    const { id } = await db.mailboxByName('bytes');
    expect([...((await db.readPassword(id))?.bytes ?? [])]).toEqual([0, 255, 16]);
    const texts: string[] = [];
    const audit = { ...by, action: 'password.sealed' };
    const revision = (await db.readSwitch()).row?.revision ?? 0;
    await db.rewritePasswords(
      { selection: 'plain', after: null, limit: 10, revision, audit },
      async ({ name, bytes }) => {
        texts.push(`${name} ${Buffer.from(bytes).toString('latin1')}`);
        return { form: 'sealed', sealed: Buffer.from(`sealed ${name}`), keyId: '0123456789abcdef' };
      },
    );
    expect(texts.sort()).toEqual([
      'bytes \0\xff\x10',
      'number 12345',
      `text ${Buffer.from('pässwörd 😀').toString('latin1')}`,
    ]);
    for (const name of ['text', 'bytes', 'number']) expect(await passwordOf(name)).toBe(`sealed sealed ${name}`);
  });

  describe('their schedule', () => {
    test('new rows get a schedule, due immediately, exactly once', async () => {
      for (const name of ['a', 'b', 'c']) await written({ name: `'${name}'` });
      await db.addMailbox({ ...sampleMailbox(), name: 'ours' }, plain('x'), null, by);
      expect(await dueNames()).toEqual(['ours']);
      await using other = await openDatabase(opened.config);
      const counts = await Promise.all(
        Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? db : other).scheduleNewMailboxes()),
      );
      expect(counts.reduce((sum, count) => sum + count)).toBe(3);
      expect(await dueNames()).toEqual(['a', 'b', 'c', 'ours']);
      expect(await db.scheduleNewMailboxes()).toBe(0);
    });

    test('more new rows than one statement takes are scheduled', async () => {
      const rows = Array.from({ length: 1203 }, (_, index) => `('box ${index}', 'h', 'u', 'p')`);
      await opened.run(`insert into mailboxes (${columns}) values ${rows.join(', ')}`);
      expect(await db.scheduleNewMailboxes()).toBe(1203);
    });

    test('a paused mailbox is not due until it is resumed', async () => {
      await written({ state: "'paused'" });
      expect(await db.scheduleNewMailboxes()).toBe(1);
      expect(await dueNames()).toEqual([]);
      await db.setMailboxState((await db.mailboxByName('desk')).id, 'active', by);
      expect(await dueNames()).toEqual(['desk']);
    });

    test('a mailbox in removal gets no schedule', async () => {
      await written({ state: "'removing'" });
      expect(await db.scheduleNewMailboxes()).toBe(0);
    });
  });

  describe('an interrupted removal', () => {
    const interrupted = async () => {
      await written();
      await db.scheduleNewMailboxes();
      const { id } = await db.mailboxByName('desk');
      await opened.run("update mailboxes set state = 'removing'");
      await opened.run('delete from mailbox_state');
      return id;
    };

    test('is listed, has no schedule, and completes when it is repeated', async () => {
      const id = await interrupted();
      expect(await db.listMailboxes()).toMatchObject([{ id, state: 'removing', health: { nextPollAtMs: null } }]);
      expect(await db.scheduleNewMailboxes()).toBe(0);
      await db.removeMailbox(id, by);
      expect(await db.listMailboxes()).toEqual([]);
      expect(await db.readAudit(1)).toMatchObject([{ action: 'mailbox.removed', mailboxId: id, detail: 'desk' }]);
    });

    test('is undone neither by resuming nor by a new password, and its password is never read', async () => {
      const id = await interrupted();
      await expect(db.setMailboxState(id, 'active', by)).rejects.toMatchObject({ code: 'not_found' });
      await expect(db.setPassword(id, plain('x'), by)).rejects.toMatchObject({ code: 'not_found' });
      expect(await db.readPassword(id)).toBeNull();
    });

    test('has emptied the password first', async () => {
      await written();
      await db.scheduleNewMailboxes();
      const { id } = await db.mailboxByName('desk');
      await opened.run('alter table mailbox_state rename to elsewhere');
      await expect(db.removeMailbox(id, by)).rejects.toMatchObject({ code: 'database_outdated' });
      await opened.run('alter table elsewhere rename to mailbox_state');
      expect(await opened.run('select state, length(password) from mailboxes')).toBe('removing\t0');
      expect(await db.readAudit(1)).toEqual([]);
      await db.removeMailbox(id, by);
      expect(await opened.run('select count(*) from mailbox_state')).toBe('0');
      expect(await db.readAudit(10)).toMatchObject([{ action: 'mailbox.removed', mailboxId: id }]);
    });
  });

  /** A column, its invalid value, and the text of the error. */
  const mistakes: readonly (readonly [column: string, value: string, says: string])[] = [
    ['host', "''", 'host is empty'],
    ['host', "'  '", 'host is empty'],
    ['username', "''", 'username is empty'],
    ['folder', "''", 'folder is empty'],
    ['port', '0', 'port is not 1 to 65535'],
    ['port', '65536', 'port is not 1 to 65535'],
    ['tls_mode', "'ssl'", 'tls_mode has an invalid value; known are implicit, starttls, none'],
    ['tls_mode', "''", 'tls_mode has an invalid value'],
    ['fingerprint', "'not one'", 'fingerprint is not 64 hex digits'],
    ['since_kind', "'now'", 'since_kind has an invalid value; known are all, time'],
    ['on_success', "'archive'", 'on_success has an invalid value; known are seen, move, delete, leave'],
    ['on_success', "'move'", 'on_success_folder is empty, and on_success is move'],
    ['poll_interval_ms', '0', 'poll_interval_ms is not 1000 to 86400000'],
    ['poll_interval_ms', `${Number.MAX_SAFE_INTEGER}`, 'poll_interval_ms is not 1000 to 86400000'],
    ['state', "'enabled'", 'state has an invalid value; known are active, paused, removing'],
    ['password_form', "'PLAIN'", 'password_form has an invalid value; known are plain, sealed'],
    ['password_form', "''", 'password_form has an invalid value; known are plain, sealed'],
    ...(kind === 'sqlite' ? ([['since_at', "'soon'", 'since_at is no time']] as const) : []),
  ];

  describe('an invalid row', () => {
    test.each(mistakes)('%s %s: it is listed with the reason and never polled', async (column, value, says) => {
      await written({ name: "'bad'", [column]: value });
      await written({ name: "'good'" });
      await db.scheduleNewMailboxes();
      const [bad, good] = await db.listMailboxes();
      expect(bad).toMatchObject({ name: 'bad', state: 'paused', health: { lastError: { code: 'mailbox_invalid' } } });
      expect(bad?.health.lastError?.message).toContain(`"bad" cannot be used: ${says}`);
      expect(bad?.health.lastError?.hint).toContain('password_form plain or sealed');
      expect(bad?.health.failures).toBeGreaterThan(0);
      expect(Math.abs((bad?.health.lastError?.atMs ?? 0) - Date.now())).toBeLessThan(10_000);
      expect(good).toMatchObject({ name: 'good', state: 'active', health: { lastError: null, failures: 0 } });
      expect(await dueNames()).toEqual(['good']);
      await expect(db.mailboxByName('bad')).rejects.toMatchObject({ code: 'mailbox_invalid' });
      await expect(db.mailboxById(bad?.id ?? '')).rejects.toMatchObject({ code: 'mailbox_invalid' });
      await db.removeMailbox(bad?.id ?? '', by);
      expect((await db.listMailboxes()).map(({ name }) => name)).toEqual(['good']);
    });

    test('any number of the longest overdue leave room for valid mailboxes', async () => {
      for (let index = 0; index < 12; index += 1) await written({ name: `'bad ${index}'`, host: "''" });
      for (const name of ['x', 'y', 'z']) await written({ name: `'${name}'` });
      await db.scheduleNewMailboxes();
      const bad = `select id from mailboxes where host = ''`;
      await opened.run(`update mailbox_state set next_poll_at = '2020-01-01 00:00:00' where mailbox_id in (${bad})`);
      for (const limit of [1, 2, 3, 5, 100]) expect(await dueNames(limit)).toHaveLength(Math.min(limit, 3));
      expect(await dueNames()).toEqual(['x', 'y', 'z']);
    });

    test('a password of an unknown form is never read, and the error names the known forms', async () => {
      await written({ password_form: "'bcrypt'" });
      const [listed] = await db.listMailboxes();
      await expect(db.readPassword(listed?.id ?? '')).rejects.toMatchObject({
        code: 'mailbox_invalid',
        message: expect.stringContaining('"desk" cannot be used: password_form has an invalid value; known are plain'),
      });
    });

    test('has its plain password sealed all the same', async () => {
      await written({ tls_mode: "'ssl'" });
      const revision = (await db.readSwitch()).row?.revision ?? 0;
      const stretch = { selection: 'plain', after: null, limit: 10, revision, audit: { ...by, action: 'x' } } as const;
      const contexts: unknown[] = [];
      await db.rewritePasswords(stretch, async ({ connection }) => {
        contexts.push(connection.tls);
        return { form: 'sealed', sealed: Buffer.from('x'), keyId: '0123456789abcdef' };
      });
      expect(contexts).toEqual(['ssl']);
      expect((await db.readSwitch()).hasPlaintext).toBe(false);
    });

    test('the error does not quote the value, which may be a password in the wrong column', async () => {
      await written({ tls_mode: "'hunter2'", folder: "'hunter2'" });
      const [listed] = await db.listMailboxes();
      expect(JSON.stringify(listed?.health)).not.toContain('hunter2');
    });
  });

  test('a mailbox added by a command and one inserted by a helpdesk behave the same', async () => {
    await written();
    await db.scheduleNewMailboxes();
    const mailbox = await db.mailboxByName('desk');
    const lease = await db.acquireLease(mailbox.id, 'me', 60_000, null);
    if (lease === null) throw new Error('not taken');
    await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 5 } }));
    await db.releaseLease(lease, { ok: true, nextPollAfterMs: 60_000 });
    expect(await dueNames()).toEqual([]);
    await expect(
      db.addMailbox({ ...sampleMailbox(), name: 'desk', start: { from: 'time', atMs: nowMs } }, plain('x'), null, by),
    ).rejects.toMatchObject({ code: 'already_exists' });
  });
});
