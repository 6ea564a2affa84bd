/**
 * Encryption store on SQLite and MariaDB: switch, rewrite of passwords, workers and audit.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type {
  AuditEntry,
  PasswordBatch,
  PasswordRewrite,
  PasswordRow,
  WorkerReport,
} from '../../../../src/encryption/ports.ts';
import type { Mailbox } from '../../../../src/ingest/model.ts';
import { initialSwitchRow, type SwitchRow } from '../../../../src/secret/switch.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, nowMs, plain, sampleMailbox, sealed, secret } from '../samples.ts';

const [keyId, nextKeyId] = ['0123456789abcdef', 'fedcba9876543210'] as const;
const minuteMs = 60_000;
const alive = () => false;

describe.each(kinds)('encryption on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let opened: Opened;
  let db: Database;

  beforeAll(async () => {
    opened = await openKind(kind, stack);
    db = opened.db;
  });
  afterAll(() => stack.disposeAsync());

  beforeEach(async () => {
    await opened.empty('mailboxes', 'mailbox_state', 'encryption_switch', 'workers', 'audit');
    await db.writeSwitch(initialSwitchRow, -1, []);
  });

  async function added(count: number, text = 'p4ss'): Promise<Mailbox[]> {
    const mailboxes = Array.from({ length: count }, () => sampleMailbox()).sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const mailbox of mailboxes) await db.addMailbox(mailbox, plain(text), null, by);
    await opened.run('delete from audit');
    return mailboxes;
  }

  async function textOf(mailbox: Mailbox): Promise<string | null> {
    const stored = await db.readPassword(mailbox.id);
    return stored === null ? null : `${stored.form} ${Buffer.from(stored.bytes)}`;
  }

  function entry(more: Partial<AuditEntry> = {}): AuditEntry {
    return { ...by, action: 'switch.on', keyId, nextKeyId: null, mailboxId: null, detail: null, ...more };
  }

  function rowAt(revision: number, more: Partial<SwitchRow> = {}): SwitchRow {
    const seal = `${keyId}:${'a'.repeat(64)}`;
    return { state: 'on', keyId, nextKeyId: null, revision, seal, changedAtMs: nowMs, changedBy: 'ada@desk', ...more };
  }

  function stretchOf(more: Partial<PasswordBatch> = {}): PasswordBatch {
    const audit = { ...by, action: 'password.sealed' };
    return { selection: 'plain', after: null, limit: 100, revision: 0, audit, ...more };
  }

  async function sealing(row: PasswordRow): Promise<PasswordRewrite> {
    return { form: 'sealed', sealed: Buffer.from(`<${Buffer.from(row.bytes)}>`), keyId };
  }

  describe('the switch', () => {
    test('a new database has the initial row: off, at revision 0, without a seal', async () => {
      const fresh = new AsyncDisposableStack();
      await using _ = fresh;
      const other = kind === 'sqlite' ? await openKind(kind, fresh) : opened;
      expect(await other.db.readSwitch()).toEqual({ row: initialSwitchRow, hasPlaintext: false, hasSealed: false });
    });

    test('the row comes back as it was written, to the millisecond', async () => {
      const row = rowAt(1, {
        state: 'rotating',
        nextKeyId,
        changedAtMs: Date.UTC(2031, 1, 3, 4, 5, 6, 789),
        changedBy: `Ünser 😀 ' \\ @host `,
      });
      await db.writeSwitch(row, 0, [entry()]);
      expect((await db.readSwitch()).row).toEqual(row);
      expect(await db.readAudit(10)).toMatchObject([entry()]);
    });

    test('a reading reports plain passwords, except those of mailboxes in removal', async () => {
      const [mailbox] = await added(1);
      expect(await db.readSwitch()).toEqual({ row: initialSwitchRow, hasPlaintext: true, hasSealed: false });
      await opened.run("update mailboxes set state = 'removing'");
      expect((await db.readSwitch()).hasPlaintext).toBe(false);
      await opened.run("update mailboxes set state = 'paused'");
      await db.setPassword(mailbox?.id ?? '', sealed(keyId), by);
      expect((await db.readSwitch()).hasPlaintext).toBe(false);
    });

    test('a change based on another revision is refused as a whole', async () => {
      await db.writeSwitch(rowAt(1), 0, []);
      for (const expected of [-1, 0, 2])
        await expect(db.writeSwitch(rowAt(3), expected, [entry()])).rejects.toMatchObject({ code: 'switch_changed' });
      expect((await db.readSwitch()).row).toEqual(rowAt(1));
      expect(await db.readAudit(10)).toEqual([]);
    });

    test('exactly one of twenty concurrent changes succeeds', async () => {
      await using second = await openDatabase(opened.config);
      const writers = Array.from({ length: 20 }, (_, index) => {
        const row = rowAt(1, { changedBy: `writer ${index}` });
        return (index % 2 === 0 ? db : second).writeSwitch(row, 0, [entry({ detail: row.changedBy })]);
      });
      const ends = await Promise.allSettled(writers);
      const lost = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason.code] : []));
      expect(lost).toEqual(Array.from({ length: 19 }, () => 'switch_changed'));
      const audit = await db.readAudit(100);
      expect(audit.map(({ detail }) => detail)).toEqual([(await db.readSwitch()).row?.changedBy]);
    });

    test('a server is described by its version and settings', async () => {
      const described = { product: 'mariadb', isUndoScrubbed: true, hasBinaryLog: false, redoLogBytes: 8 * 1024 ** 2 };
      const limits = { dirtyPagesPct: '90.000000', dirtyPagesPctLwm: '0.000000' };
      expect(await db.databaseServer()).toEqual(kind === 'sqlite' ? null : { ...described, ...limits });
    });

    test('a deleted row is reported as missing and can be inserted once', async () => {
      await opened.run('delete from encryption_switch');
      expect((await db.readSwitch()).row).toBeNull();
      await expect(db.writeSwitch(rowAt(5), 4, [])).rejects.toMatchObject({ code: 'switch_changed' });
      const ends = await Promise.allSettled(Array.from({ length: 8 }, () => db.writeSwitch(rowAt(5), -1, [])));
      expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(1);
      for (const end of ends) if (end.status === 'rejected') expect(end.reason.code).toBe('switch_changed');
      expect((await db.readSwitch()).row).toEqual(rowAt(5));
    });

    test('a malformed row is read without an error', async () => {
      await opened.run("update encryption_switch set state = 'ON', seal = 'x', changed_by = 'mallory', revision = 77");
      expect((await db.readSwitch()).row).toMatchObject({ state: 'ON', seal: 'x', revision: 77 });
    });
  });

  test('a count of password writes that another program led to its maximum refuses no password', async () => {
    const [mailbox] = await added(1);
    await opened.run(
      `update encryption_switch set password_writes = ${kind === 'sqlite' ? 2n ** 63n - 1n : 2n ** 64n - 1n}`,
    );
    for (let times = 0; times < 3; times += 1) await db.setPassword(mailbox?.id ?? '', sealed(keyId), by);
    expect(await db.passwordCounts()).toMatchObject({ plaintext: 0, sealed: 1 });
  });

  describe('the claim of an operation', () => {
    test('exactly one of twenty concurrent claims succeeds, and the others get its owner', async () => {
      const owners = Array.from({ length: 20 }, (_, index) => `worker ${index}`);
      const answers = await Promise.all(owners.map((owner) => db.claimOperation(owner, minuteMs, alive)));
      const winner = owners[answers.indexOf(null)];
      expect(answers.filter((answer) => answer === null)).toHaveLength(1);
      expect(new Set(answers.filter((answer) => answer !== null))).toEqual(new Set([winner]));
    });

    test('a claim is not reentrant: two operations of one process exclude each other', async () => {
      expect(await db.claimOperation('me', minuteMs, alive)).toBeNull();
      expect(await db.claimOperation('me', minuteMs, alive)).toBe('me');
      await db.endOperation('somebody else');
      expect(await db.claimOperation('me', minuteMs, alive)).toBe('me');
      await db.endOperation('me');
      expect(await db.claimOperation('me', minuteMs, alive)).toBeNull();
    });

    test('an expired claim goes to the next operation, and the first one fails on renewal', async () => {
      expect(await db.claimOperation('first', 30, alive)).toBeNull();
      await sleep(60);
      await db.renewOperation('first', 30);
      await sleep(60);
      expect(await db.claimOperation('second', minuteMs, alive)).toBeNull();
      await expect(db.renewOperation('first', minuteMs)).rejects.toMatchObject({ code: 'operation_running' });
      await db.renewOperation('second', minuteMs);
    });

    test('the claim of a dead process is free immediately, for exactly one operation', async () => {
      expect(await db.claimOperation('gone', minuteMs, alive)).toBeNull();
      const owners = Array.from({ length: 10 }, (_, index) => `worker ${index}`);
      const answers = await Promise.all(
        owners.map((owner) => db.claimOperation(owner, minuteMs, (held) => held === 'gone')),
      );
      expect(answers.filter((answer) => answer === null)).toHaveLength(1);
    });

    test('a change of the switch keeps the claim, and a deleted row does not block claims', async () => {
      expect(await db.claimOperation('me', minuteMs, alive)).toBeNull();
      await db.writeSwitch(rowAt(1), 0, []);
      expect(await db.claimOperation('you', minuteMs, alive)).toBe('me');
      await opened.run('delete from encryption_switch');
      expect(await db.claimOperation('you', minuteMs, alive)).toBeNull();
      await db.writeSwitch(rowAt(9), -1, []);
      expect(await db.claimOperation('me', minuteMs, alive)).toBe('you');
    });
  });

  describe('changes of passwords', () => {
    test('batches rewrite the whole selection in the order of the ids', async () => {
      const mailboxes = await added(7);
      const seen: string[] = [];
      const results = [];
      for (let after: string | null = null; ; ) {
        const result = await db.rewritePasswords(stretchOf({ after, limit: 3 }), (row) => {
          seen.push(row.mailboxId);
          return sealing(row);
        });
        results.push([result.seen, result.changed]);
        if (result.lastId === null) break;
        after = result.lastId;
      }
      expect(results).toEqual([
        [3, 3],
        [3, 3],
        [1, 1],
        [0, 0],
      ]);
      expect(seen).toEqual(mailboxes.map(({ id }) => id));
      for (const mailbox of mailboxes) expect(await textOf(mailbox)).toBe('sealed <p4ss>');
      expect(await db.passwordCounts()).toEqual({ sealed: 7, plaintext: 0, byKey: [{ keyId, count: 7 }] });
    });

    test('each row carries the connection that its password is bound to', async () => {
      const { connection, ...mailbox } = sampleMailbox();
      const bound = { ...connection, caPem: 'PEM', fingerprint: 'f'.repeat(64), allowPlaintext: true, port: 143 };
      await db.addMailbox({ ...mailbox, connection: bound }, plain('x'), null, by);
      const rows: unknown[] = [];
      await db.rewritePasswords(stretchOf(), async ({ bytes, ...row }) => {
        rows.push({ ...row, text: Buffer.from(bytes).toString() });
        return null;
      });
      const { folder: _, ...context } = bound;
      expect(rows).toEqual([
        { mailboxId: mailbox.id, name: mailbox.name, form: 'plain', text: 'x', connection: context },
      ]);
    });

    test('every row gets its own bytes, in batches of any size', async () => {
      const mailboxes = await added(71);
      const bytesOf = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex');
      const change = async (row: PasswordRow) => {
        const odd = mailboxes.findIndex(({ id }) => id === row.mailboxId) % 2 === 1;
        return { form: 'sealed', sealed: bytesOf(row.mailboxId), keyId: odd ? keyId : nextKeyId } as const;
      };
      expect(await db.rewritePasswords(stretchOf(), change)).toMatchObject({ seen: 71, changed: 71 });
      for (const { id } of mailboxes)
        expect(Buffer.from((await db.readPassword(id))?.bytes ?? []).equals(bytesOf(id))).toBe(true);
      expect((await db.passwordCounts()).byKey).toEqual([
        { keyId, count: 35 },
        { keyId: nextKeyId, count: 36 },
      ]);
    });

    test('an unchanged row stays as it is and counts as seen', async () => {
      const [first, second] = (await added(2)) as [Mailbox, Mailbox];
      const result = await db.rewritePasswords(stretchOf(), async (row) =>
        row.mailboxId === first.id ? null : sealing(row),
      );
      expect(result).toEqual({ lastId: second.id, seen: 2, changed: 1 });
      expect([await textOf(first), await textOf(second)]).toEqual(['plain p4ss', 'sealed <p4ss>']);
      expect((await db.readAudit(10)).map(({ mailboxId }) => mailboxId)).toEqual([second.id]);
    });

    test('a selection is plain passwords, sealed ones, or those not under a key', async () => {
      const [readable, old, newer, unnamed] = (await added(4)) as [Mailbox, Mailbox, Mailbox, Mailbox];
      await db.setPassword(old.id, sealed(keyId), by);
      await db.setPassword(newer.id, sealed(nextKeyId), by);
      await db.setPassword(unnamed.id, sealed(keyId), by);
      await opened.run(`update mailboxes set password_key_id = null where id = '${unnamed.id}'`);
      const chosen = async (selection: PasswordBatch['selection']) => {
        const ids: string[] = [];
        await db.rewritePasswords(stretchOf({ selection }), async (row) => {
          ids.push(row.mailboxId);
          return null;
        });
        return ids;
      };
      expect(await chosen('plain')).toEqual([readable.id]);
      expect(await chosen('sealed')).toEqual([old.id, newer.id, unnamed.id]);
      expect(await chosen({ notUnder: nextKeyId })).toEqual([old.id, unnamed.id]);
      await opened.run(`update mailboxes set state = 'removing'`);
      expect(await chosen('plain')).toEqual([]);
      expect(await chosen({ notUnder: nextKeyId })).toEqual([]);
    });

    test('the audit records each change with the keys before and after', async () => {
      const [mailbox] = (await added(1)) as [Mailbox];
      await db.rewritePasswords(stretchOf(), sealing);
      const audit = (action: string) => ({ ...by, action });
      await db.rewritePasswords(
        stretchOf({ selection: { notUnder: nextKeyId }, audit: audit('password.resealed') }),
        async () => ({ form: 'sealed', sealed: Buffer.from('again'), keyId: nextKeyId }),
      );
      await db.rewritePasswords(stretchOf({ selection: 'sealed', audit: audit('password.unsealed') }), async () => ({
        form: 'plain',
        password: secret('p4ss'),
      }));
      const told = { ...by, mailboxId: mailbox.id, detail: mailbox.name };
      expect(await db.readAudit(10)).toMatchObject([
        { ...told, action: 'password.unsealed', keyId: nextKeyId, nextKeyId: null },
        { ...told, action: 'password.resealed', keyId, nextKeyId },
        { ...told, action: 'password.sealed', keyId, nextKeyId: null },
      ]);
      expect(await textOf(mailbox)).toBe('plain p4ss');
      expect(await db.passwordCounts()).toEqual({ sealed: 0, plaintext: 1, byKey: [] });
    });

    test('the period in plain text is recorded', async () => {
      const [mailbox, foreign] = (await added(2)) as [Mailbox, Mailbox];
      const old = `plaintext_since = null, created_at = '2020-01-02 03:04:05.678'`;
      await opened.run(`update mailboxes set ${old} where id = '${foreign.id}'`);
      await opened.run(`update mailboxes set created_at = '2019-01-01 00:00:00.000' where id = '${mailbox.id}'`);
      const times = async () => {
        const all = await db.plaintextPeriods();
        return [mailbox, foreign].map(({ name }) => all.find((one) => one.mailbox === name));
      };
      const [before, foreignBefore] = await times();
      expect(Math.abs((before?.sinceMs ?? 0) - Date.now())).toBeLessThan(10_000);
      expect(before?.untilMs).toBeNull();
      expect(foreignBefore?.sinceMs).toBe(Date.UTC(2020, 0, 2, 3, 4, 5, 678));
      await db.rewritePasswords(stretchOf(), sealing);
      const after = await times();
      expect(after.map((one) => one?.sinceMs)).toEqual([before?.sinceMs, foreignBefore?.sinceMs]);
      for (const one of after) expect(Math.abs((one?.untilMs ?? 0) - Date.now())).toBeLessThan(10_000);
      await db.rewritePasswords(stretchOf({ selection: { notUnder: nextKeyId } }), async () => ({
        form: 'sealed',
        sealed: Buffer.from('x'),
        keyId: nextKeyId,
      }));
      expect(await times()).toEqual(after);
      await db.rewritePasswords(stretchOf({ selection: 'sealed' }), async () => ({
        form: 'plain',
        password: secret('x'),
      }));
      const [again] = await times();
      expect(again?.untilMs).toBeNull();
      // The same password: its earlier period in plain text stays recorded.
      expect(again?.sinceMs).toBe(after[0]?.sinceMs);
      for (const one of [mailbox, foreign]) await db.setPassword(one.id, sealed(keyId), by);
      expect(await times()).toEqual([undefined, undefined]);
    });

    test('periods in plain text are listed by name', async () => {
      for (const name of ['c', 'a', 'b']) await db.addMailbox({ ...sampleMailbox(), name }, plain('x'), null, by);
      expect((await db.plaintextPeriods()).map(({ mailbox }) => mailbox)).toEqual(['a', 'b', 'c']);
    });

    test('at another revision of the switch no row is read', async () => {
      const [mailbox] = (await added(1)) as [Mailbox];
      let asked = 0;
      const change = async (row: PasswordRow) => {
        asked += 1;
        return sealing(row);
      };
      for (const more of [{ revision: 1 }, { revision: 1, after: 'zzz' }])
        await expect(db.rewritePasswords(stretchOf(more), change)).rejects.toMatchObject({ code: 'switch_changed' });
      expect(asked).toBe(0);
      expect(await textOf(mailbox)).toBe('plain p4ss');
    });

    test('a change of the switch waits for the batch in progress and stops the next one', async () => {
      const [first, second] = (await added(2)) as [Mailbox, Mailbox];
      await using other = await openDatabase(opened.config);
      await other.ping();
      let isSwitched = false;
      let switching: Promise<void> = Promise.resolve();
      await db.rewritePasswords(stretchOf({ limit: 1 }), async (row) => {
        switching = other.writeSwitch(rowAt(1), 0, []).then(() => {
          isSwitched = true;
        });
        await sleep(150);
        expect(isSwitched).toBe(false);
        return sealing(row);
      });
      await switching;
      await expect(db.rewritePasswords(stretchOf({ after: first.id }), sealing)).rejects.toMatchObject({
        code: 'switch_changed',
      });
      expect([await textOf(first), await textOf(second)]).toEqual(['sealed <p4ss>', 'plain p4ss']);
    });

    test('a password written during a batch is never lost: it stays and is sealed by the next batch', async () => {
      const [mailbox] = (await added(1)) as [Mailbox];
      await using other = await openDatabase(opened.config);
      await other.ping();
      let writing: Promise<void> = Promise.resolve();
      await db.rewritePasswords(stretchOf(), async (row) => {
        writing = other.setPassword(mailbox.id, plain('new'), by);
        await sleep(100);
        return sealing(row);
      });
      await writing;
      expect(await textOf(mailbox)).toBe('plain new');
      await db.rewritePasswords(stretchOf(), sealing);
      expect(await textOf(mailbox)).toBe('sealed <new>');
    });

    test('concurrent writers and batches end with the last password of each mailbox, sealed', async () => {
      const mailboxes = await added(30);
      await using other = await openDatabase(opened.config);
      let isWriting = true;
      const writing = (async () => {
        for (let round = 1; round <= 4; round += 1) {
          const texts = mailboxes.map(({ id }) => other.setPassword(id, plain(`${id} ${round}`), by));
          await Promise.all(texts);
        }
        isWriting = false;
      })();
      while (isWriting) {
        await db.rewritePasswords(stretchOf(), sealing);
        await sleep(5);
      }
      await writing;
      await db.rewritePasswords(stretchOf(), sealing);
      for (const mailbox of mailboxes) expect(await textOf(mailbox)).toBe(`sealed <${mailbox.id} 4>`);
    });

    test('a failed change rolls back the batch, and every buffer is wiped', async () => {
      const mailboxes = await added(3);
      const lent: Uint8Array[] = [];
      const made = secret('p4ss');
      const work = db.rewritePasswords(stretchOf(), async (row) => {
        lent.push(row.bytes);
        if (row.mailboxId === mailboxes[0]?.id) throw new Error('no');
        await sleep(20);
        expect(Buffer.from(row.bytes).toString()).toBe('p4ss');
        return { form: 'plain', password: made };
      });
      await expect(work).rejects.toThrow('no');
      for (const mailbox of mailboxes) expect(await textOf(mailbox)).toBe('plain p4ss');
      expect(lent).toHaveLength(3);
      for (const bytes of lent) {
        expect(bytes.every((byte) => byte === 0)).toBe(true);
        expect(bytes.buffer.byteLength).toBeGreaterThanOrEqual(4096);
      }
      expect(made.length).toBe(0);
      expect(await db.readAudit(10)).toEqual([]);
    });

    test('an unsealed password is wiped after it is written', async () => {
      const [mailbox] = (await added(1)) as [Mailbox];
      await db.setPassword(mailbox.id, sealed(keyId), by);
      const made = secret('p4ss');
      await db.rewritePasswords(stretchOf({ selection: 'sealed' }), async () => ({ form: 'plain', password: made }));
      expect(made.length).toBe(0);
      expect(await textOf(mailbox)).toBe('plain p4ss');
    });
  });

  describe('keys that are not open', () => {
    test('mailboxes with a password under a closed key are not due, and are counted', async () => {
      const [readable, under, other, unnamed] = (await added(4)) as [Mailbox, Mailbox, Mailbox, Mailbox];
      await db.setPassword(under.id, sealed(keyId), by);
      await db.setPassword(other.id, sealed(nextKeyId), by);
      await db.setPassword(unnamed.id, sealed(keyId), by);
      await opened.run(`update mailboxes set password_key_id = null where id = '${unnamed.id}'`);
      const due = async (keyIds: readonly string[]) =>
        (await db.dueMailboxes(10, keyIds, 3)).map(({ id }) => id).sort();
      expect(await due([])).toEqual([readable.id]);
      expect(await due([keyId])).toEqual([readable.id, under.id, unnamed.id].sort());
      expect(await due([keyId, nextKeyId])).toEqual([readable.id, under.id, other.id, unnamed.id].sort());
      expect(await db.countMailboxesWithoutKey([])).toBe(3);
      expect(await db.countMailboxesWithoutKey([keyId])).toBe(1);
      expect(await db.countMailboxesWithoutKey([keyId, nextKeyId])).toBe(0);
      await db.setMailboxState(other.id, 'paused', by);
      expect(await db.countMailboxesWithoutKey([keyId])).toBe(0);
    });
  });

  describe('workers', () => {
    const report = (worker: string, more: Partial<WorkerReport> = {}): WorkerReport => {
      return { worker, host: 'desk', pid: 4_000_000, keyIds: [keyId], vault: 'open', revision: 3, ...more };
    };

    test('a heartbeat replaces the previous one, but keeps the start time', async () => {
      await db.reportWorker(report('b', { keyIds: [], vault: 'closed', revision: 0 }));
      await opened.run("update workers set started_at = '2024-01-02 03:04:05.678'");
      await Promise.all([db.reportWorker(report('b', { keyIds: [keyId, nextKeyId] })), db.reportWorker(report('a'))]);
      const [first, second] = await db.listWorkers(minuteMs);
      expect(first).toMatchObject({ ...report('a'), live: true });
      expect(second).toMatchObject({ ...report('b'), keyIds: [keyId, nextKeyId], live: true });
      expect(second?.startedAtMs).toBe(Date.UTC(2024, 0, 2, 3, 4, 5, 678));
      expect(Math.abs((second?.seenAtMs ?? 0) - Date.now())).toBeLessThan(10_000);
    });

    test('a worker without heartbeats is not live, and is deleted after a day', async () => {
      await db.reportWorker(report('silent'));
      await sleep(40);
      expect(await db.listWorkers(20)).toMatchObject([{ worker: 'silent', live: false }]);
      const ago = (hours: number) =>
        new Date(Date.now() - hours * 3_600_000).toISOString().replace('T', ' ').slice(0, 23);
      await opened.run(`update workers set heartbeat_at = '${ago(23)}'`);
      expect(await db.listWorkers(minuteMs)).toMatchObject([{ worker: 'silent', live: false }]);
      await opened.run(`update workers set heartbeat_at = '${ago(25)}'`);
      expect(await db.listWorkers(minuteMs)).toEqual([]);
      expect(await opened.run('select count(*) from workers')).toBe('0');
    });

    test('a worker that ends removes its entry', async () => {
      await db.reportWorker(report('a'));
      await db.reportWorker(report('b'));
      await db.removeWorker('a');
      await db.removeWorker('unknown');
      expect((await db.listWorkers(minuteMs)).map(({ worker }) => worker)).toEqual(['b']);
    });
  });

  describe('the audit', () => {
    test('it is read newest first, by the clock of the database', async () => {
      await db.audit([entry({ detail: 'one' }), entry({ detail: 'two' })]);
      await db.audit([entry({ detail: 'three', keyId: null, mailboxId: sampleMailbox().id, nextKeyId })]);
      await db.audit([]);
      const audit = await db.readAudit(2);
      expect(audit.map(({ detail }) => detail)).toEqual(['three', 'two']);
      for (const { atMs } of audit) expect(Math.abs(atMs - Date.now())).toBeLessThan(10_000);
    });

    test('a text that is too long is cut at a whole character', async () => {
      const long = `${'x'.repeat(254)}${'😀'.repeat(2000)}`;
      await db.audit([entry({ who: long, host: long, detail: long })]);
      expect(await db.readAudit(1)).toMatchObject([
        { who: `${'x'.repeat(254)}😀`, host: `${'x'.repeat(254)}😀`, detail: `${'x'.repeat(254)}${'😀'.repeat(746)}` },
      ]);
    });

    test('password changes and removals are recorded with the mailbox', async () => {
      const mailbox = sampleMailbox();
      await db.addMailbox(mailbox, plain('x'), null, by);
      await db.setPassword(mailbox.id, sealed(keyId), by);
      await db.removeMailbox(mailbox.id, by);
      await db.removeMailbox(mailbox.id, by);
      const told = { ...by, nextKeyId: null, mailboxId: mailbox.id, detail: mailbox.name };
      expect(await db.readAudit(10)).toMatchObject([
        { ...told, action: 'mailbox.removed', keyId: null },
        { ...told, action: 'password.set', keyId },
        { ...told, action: 'password.set', keyId: null },
      ]);
    });
  });

  test('a rebuilt table file contains no earlier content', async () => {
    const text = `secret-${'q'.repeat(40)}`;
    const mailboxes = await added(300, text);
    // Another program deletes, and leaves in the file what was there.
    const rows = Array.from({ length: 500 }, (_, index) => `('box ${index}', 'h', 'u', '${text}')`);
    await opened.run(`insert into mailboxes (name, host, username, password) values ${rows.join(', ')}`);
    await opened.run("delete from mailboxes where host = 'h'");
    await db.rewritePasswords(stretchOf({ limit: 1000 }), async () => ({
      form: 'sealed',
      sealed: Buffer.from(`sealed-${'y'.repeat(300)}`),
      keyId,
    }));
    await db.rebuildMailboxTable();
    if (kind === 'mariadb') await opened.run('flush tables mailboxes for export; unlock tables');
    const content = await readFile(opened.file);
    expect(content.includes('sealed-yyyy')).toBe(true);
    expect(content.includes('secret-qqqq')).toBe(false);
    expect(await db.mailboxById(mailboxes[0]?.id ?? '')).toEqual(mailboxes[0]);
    if (kind === 'sqlite') expect(await readFile(`${opened.file}-wal`)).toHaveLength(0);
  });
});
