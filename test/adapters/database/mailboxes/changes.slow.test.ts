/**
 * Concurrent changes of mailbox settings (optimistic locking), on SQLite and MariaDB.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../../../src/adapters/database/database.ts';
import type { Mailbox, MailboxHealth, NewPassword } from '../../../../src/ingest/model.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, plain, sampleMailbox, sealed } from '../samples.ts';

const [keyId, nextKeyId] = ['0123456789abcdef', 'fedcba9876543210'] as const;

describe.each(kinds)('settings on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let opened: Opened;
  let db: Database;

  beforeAll(async () => {
    opened = await openKind(kind, stack);
    db = opened.db;
  });
  afterAll(() => stack.disposeAsync());

  beforeEach(() => opened.empty('mailboxes', 'mailbox_state', 'encryption_switch', 'workers', 'audit'));

  async function added(): Promise<Mailbox> {
    const mailbox = sampleMailbox();
    await db.addMailbox(mailbox, plain('p4ss'), null, by);
    await opened.run('delete from audit');
    return mailbox;
  }

  function at(mailbox: Mailbox, host: string): Mailbox {
    return { ...mailbox, connection: { ...mailbox.connection, host } };
  }

  async function formOf({ id }: Mailbox): Promise<string> {
    const stored = await db.readPassword(id);
    return stored === null ? 'gone' : `${stored.form} ${Buffer.from(stored.bytes)}`;
  }

  test('changed settings are written and read back, and the mailbox is due without its failures', async () => {
    const mailbox = await added();
    await opened.run(`update mailbox_state set failures = 3, login_failures = 3, last_error_code = 'login_refused',
      last_error_message = 'x', last_error_hint = 'y', next_poll_at = '2031-01-01 00:00:00.000'`);
    const before = await db.versionedMailbox(mailbox.name);
    const after: Mailbox = {
      ...at(before.mailbox, 'other.example'),
      name: 'renamed',
      start: { from: 'all' },
      postAction: { kind: 'move', folder: 'Erledigt' },
      pollIntervalMs: 15_000,
    };
    await db.changeMailbox(before, after, null, by);
    expect(await db.mailboxByName('renamed')).toEqual(after);
    const [listed] = await db.listMailboxes();
    expect(listed?.health).toMatchObject({ failures: 0, loginFailures: 0, lastError: null });
    expect(await db.dueMailboxes(10, [], 3)).toHaveLength(1);
    expect(await formOf(mailbox)).toBe('plain p4ss');
    expect(await db.readAudit(10)).toMatchObject([
      {
        ...{ action: 'mailbox.changed', mailboxId: mailbox.id, keyId: null },
        detail: `${mailbox.name}: name, host, on_success, on_success_folder, poll_interval_ms`,
      },
    ]);
  });

  test('a password is written in the same statement, and audited', async () => {
    const mailbox = await added();
    const before = await db.versionedMailbox(mailbox.name);
    await db.changeMailbox(before, at(before.mailbox, 'other.example'), sealed(keyId), by);
    expect(await formOf(mailbox)).toMatch(/^sealed /);
    expect(await db.readAudit(10)).toMatchObject([
      { action: 'password.set', keyId, mailboxId: mailbox.id },
      { action: 'mailbox.changed', detail: `${mailbox.name}: host` },
    ]);
    expect((await db.versionedMailbox(mailbox.name)).password).toEqual({ form: 'sealed', keyId });
  });

  test.each<[string, (mailbox: Mailbox) => Promise<void>]>([
    [
      'another setting',
      async ({ id }) => void (await opened.run(`update mailboxes set folder = 'Other' where id = '${id}'`)),
    ],
    ['the password', ({ id }) => db.setPassword(id, plain('other'), by)],
    ['the form of the password', async ({ id }) => db.setPassword(id, sealed(keyId), by)],
    ['the state', ({ id }) => db.setMailboxState(id, 'paused', by)],
    ['everything: it is removed', ({ id }) => db.removeMailbox(id, by)],
  ])('another writer that changes %s meanwhile wins', async (_what, change) => {
    const mailbox = await added();
    const before = await db.versionedMailbox(mailbox.name);
    await change(mailbox);
    const now = await db.listMailboxes();
    const changing = db.changeMailbox(before, at(before.mailbox, 'other.example'), plain('mine'), by);
    await expect(changing).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining('Nothing was changed'),
    });
    expect(await db.listMailboxes()).toEqual(now);
    expect(await formOf(mailbox)).not.toContain('mine');
  });

  test('a concurrent sealing or rotation wins too, although it does not move the version', async () => {
    const mailbox = await added();
    const refusedWith = async (...forms: readonly MailboxHealth['password'][]): Promise<void> => {
      const before = await db.versionedMailbox(mailbox.name);
      for (const password of forms) {
        const changing = db.changeMailbox({ ...before, password }, at(before.mailbox, 'other.example'), null, by);
        await expect(changing).rejects.toMatchObject({ code: 'refused' });
      }
    };
    await refusedWith({ form: 'sealed', keyId }, { form: 'sealed', keyId: null }, { form: 'plain', keyId });
    await db.setPassword(mailbox.id, sealed(keyId), by);
    await refusedWith({ form: 'plain', keyId: null }, { form: 'sealed', keyId: nextKeyId });
    expect((await db.mailboxByName(mailbox.name)).connection).toEqual(mailbox.connection);
  });

  describe('a password prepared before a change of the switch', () => {
    const writes: readonly [string, (mailbox: Mailbox, password: NewPassword) => Promise<void>][] = [
      ['is not set', ({ id }, password) => db.setPassword(id, password, by)],
      [
        'is not taken along',
        async ({ name }, password) => {
          const before = await db.versionedMailbox(name);
          await db.changeMailbox(before, at(before.mailbox, 'other.example'), password, by);
        },
      ],
      ['comes with no new mailbox', (_, password) => db.addMailbox(sampleMailbox(), password, null, by)],
    ];

    test.each(writes)('%s', async (_title, write) => {
      const mailbox = await added();
      await opened.run(`insert into encryption_switch (id, state, revision, seal, changed_at, changed_by)
        values (1, 'off', 7, 'x', '2026-01-01 00:00:00.000', '')`);
      const before = await db.listMailboxes();
      for (const switchRevision of [0, 6, 8]) {
        const writing = write(mailbox, { ...sealed(keyId), switchRevision });
        await expect(writing).rejects.toMatchObject({ code: 'switch_changed' });
      }
      expect(await db.listMailboxes()).toEqual(before);
      expect(await formOf(mailbox)).toBe('plain p4ss');
      expect(await db.readAudit(10)).toEqual([]);
      await write(mailbox, { ...sealed(keyId), switchRevision: 7 });
      const entries = (await db.readAudit(10)).filter(({ action }) => action !== 'mailbox.changed');
      expect(entries).toMatchObject([{ action: 'password.set', keyId }]);
    });

    test.runIf(kind === 'mariadb').each(writes)('%s: who turns it right now comes first', async (_title, write) => {
      const mailbox = await added();
      await opened.run(`insert into encryption_switch (id, state, revision, seal, changed_at, changed_by)
        values (1, 'off', 7, 'x', '2026-01-01 00:00:00.000', '')`);
      const turned = opened.run(`begin; update encryption_switch set revision = 8; do sleep(1); commit`);
      await sleep(400);
      const writing = write(mailbox, { ...sealed(keyId), switchRevision: 7 });
      await expect(writing).rejects.toMatchObject({ code: 'switch_changed' });
      await turned;
      expect(await formOf(mailbox)).toBe('plain p4ss');
    });
  });

  test('a name in use is refused', async () => {
    const [one, two] = [await added(), await added()];
    const before = await db.versionedMailbox(one.name);
    const changing = db.changeMailbox(before, { ...before.mailbox, name: two.name }, null, by);
    await expect(changing).rejects.toMatchObject({ code: 'already_exists' });
  });
});
