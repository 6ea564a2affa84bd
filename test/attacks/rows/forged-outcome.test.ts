/**
 * A writer of the database, encryption on, forges outcome rows of a mailbox whose `delete` is confirmed, to have
 * messages erased that were never stored: they stay, and what is pending honestly is deleted.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, test } from 'vitest';
import { mail } from '../../support/instance.ts';
import { mailboxScene } from '../mailbox-scene.ts';

const at = mailboxScene();

beforeEach(async () => {
  await at.dovecot.append(at.user, 'INBOX', [mail('one'), mail('two')], { receivedAt: new Date('2025-05-05') });
});

const ok = { code: 0 };

/** A mailbox whose delete is confirmed, after its first poll. */
async function confirmedDelete(since: string): Promise<void> {
  expect(await at.cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'])).toMatchObject(ok);
  const settings = ['--on-success', 'delete', '--since', since, '--password-stdin'];
  expect(await at.cli.run(['mailbox', 'add', '--name', 'one', ...at.server, ...settings], 'pw')).toMatchObject(ok);
  await polled();
}

async function polled(): Promise<void> {
  expect(await at.cli.run(['poll', 'one'])).toMatchObject(ok);
}

/** The message waits for its deletion: it was stored while the settings were not confirmed. */
async function waiting(letter: string): Promise<void> {
  at.cli.sql('update mailboxes set settings_seal = null');
  await at.dovecot.append(at.user, 'INBOX', [mail(letter)]);
  await polled();
  expect(await at.cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject(ok);
}

const left = async () => [...(await at.dovecot.listFlags(at.user, 'INBOX')).keys()];

/** A row that says that the message was stored, and that its post-action is pending. */
const forged = (uid: number | string, receivedAt = 'null') =>
  `insert into outcome (mailbox_id, folder_epoch, uid, outcome, size_bytes, received_at, action_pending, created_at)
   select mailbox_id, cursor_folder_epoch, ${uid}, 'recorded', 1, ${receivedAt}, 1, '2026-01-01 00:00:00'
   from mailbox_state`;

function pendingUids(): readonly unknown[] {
  using db = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  return db.prepare('select uid from outcome where action_pending = 1').all();
}

/** Outcomes from that UID on, and whether each has a message. */
function storedFrom(uid: number): readonly string[] {
  using db = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  const rows = db
    .prepare(
      `select outcome.uid, outcome, message.id as message from outcome
       left join message on message.id = outcome.message_id where outcome.uid >= ? order by outcome.uid`,
    )
    .all(uid);
  return rows.map((row) => `${row['uid']} ${row['outcome']} ${row['message'] !== null}`);
}

/** The column takes any value from now on. */
function loosenUid(): void {
  using db = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  const { sql } = db.prepare(`select sql from sqlite_master where name = 'outcome'`).get() as { sql: string };
  db.exec('alter table outcome rename to former');
  db.exec(sql.replace(/strict\s*,\s*/i, '').replace(/"?\buid\b"? integer[^,]*/i, '"uid" blob not null'));
  db.exec('insert into outcome select * from former; drop table former');
}

describe('a writer of the database forges pending outcome rows under a confirmed delete', () => {
  test('messages from before the start point stay, and are not tried again', async () => {
    await confirmedDelete('now');
    expect(await left()).toEqual([1, 2]);
    at.cli.sql(forged(1), forged(2, `'2025-05-05 00:00:00.000'`));
    await polled();
    expect(await left()).toEqual([1, 2]);
    expect(pendingUids()).toEqual([]);
  });

  test('a message that the moved cursor passes over unstored stays', async () => {
    await confirmedDelete('2020-01-01');
    expect(await left()).toEqual([]);
    await at.dovecot.append(at.user, 'INBOX', [mail('three')]);
    at.cli.sql('update mailbox_state set cursor_uid = 3', forged(3));
    await polled();
    expect(await left()).toEqual([3]);
  });

  test('rows of the next UIDs are replaced, and their messages stored, in one poll', async () => {
    await confirmedDelete('2020-01-01');
    at.cli.sql(forged(3), forged(4), forged(5));
    await at.dovecot.append(
      at.user,
      'INBOX',
      ['three', 'four', 'five', 'six'].map((letter) => mail(letter)),
    );
    await polled();
    expect(storedFrom(3)).toEqual([3, 4, 5, 6].map((uid) => `${uid} ticket_opened true`));
    expect(await left()).toEqual([]);
  });

  test('a message that is not stored yet is stored first, though the writer knows when it arrived', async () => {
    await confirmedDelete('2020-01-01');
    const receivedAt = new Date('2025-06-06');
    await at.dovecot.append(at.user, 'INBOX', [mail('three')], { receivedAt });
    const rows = [
      forged(3, `'2025-06-06 00:00:00.000'`),
      `update outcome set action_seal = (
      select seal from (select max(action_seal) as seal from outcome)) where uid = 3`,
    ];
    at.cli.sql(...rows);
    for (let round = 1; round <= 3; round += 1) {
      await at.cli.run(['poll', 'one']);
      at.cli.sql('update outcome set action_pending = 1');
    }
    expect(storedFrom(3)).toEqual(['3 ticket_opened true']);
  });

  test.each([`'1:*'`, '4294967295', '0', '-1', '1.5', `''`, `x'31'`, '9007199254740993'])(
    'UID %s is no UID: it reaches no command, and stops no other row',
    async (uid) => {
      await confirmedDelete('2020-01-01');
      loosenUid();
      await at.dovecot.append(at.user, 'INBOX', [mail('three')]);
      expect(await at.cli.run(['mailbox', 'set', 'one', '--on-success', 'leave'])).toMatchObject(ok);
      await polled();
      expect(await at.cli.run(['mailbox', 'set', 'one', '--on-success', 'delete'])).toMatchObject(ok);
      await waiting('four');
      at.cli.sql(forged(uid));
      await polled();
      expect(await left()).toEqual([3]);
    },
  );
});

test('honest use: what waited is deleted by the poll after the confirmation', async () => {
  await confirmedDelete('2020-01-01');
  await waiting('three');
  expect(await left()).toEqual([3]);
  await polled();
  expect(await left()).toEqual([]);
});
