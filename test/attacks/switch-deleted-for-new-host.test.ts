/**
 * A writer of the database deletes the switch and every trace of sealing, for a host that has the key file and never
 * accepted a switch: no new password is stored in plain text there, and no unconfirmed delete acts.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, test } from 'vitest';
import { runInProcess } from '../commands/command-line.ts';
import { mail } from '../support/instance.ts';
import { mailboxScene } from './mailbox-scene.ts';

const at = mailboxScene();

beforeEach(async () => {
  await at.dovecot.append(at.user, 'INBOX', [mail('first'), mail('second')]);
});

const ok = { code: 0 };
const enable = () => at.cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
const refused = { code: 3, out: '', err: expect.stringMatching(/^there is a key file.+\nhint: Run .+ enable.+\n$/m) };
const setPassword = ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'];

function adding(name: string): readonly string[] {
  return [
    'mailbox',
    'add',
    '--name',
    name,
    ...at.server,
    '--password-stdin',
    '--on-success',
    'leave',
    '--since',
    'all',
  ];
}

/** Host B, as one to which the key file alone was copied. */
function openHostB(): (args: readonly string[], input?: string) => ReturnType<typeof runInProcess> {
  const dataDir = join(at.cli.folder, 'host-b');
  mkdirSync(dataDir, { mode: 0o700 });
  copyFileSync(join(at.cli.dataDir, 'encryption-key.bin'), join(dataDir, 'encryption-key.bin'));
  const url = `sqlite:${join(at.cli.dataDir, 'ticketmaild.db')}`;
  const env = { ...at.cli.env, TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_DATABASE_URL: url };
  return (args, input = '') => runInProcess(args, { env, input });
}

const eraseTraces = [
  'delete from encryption_switch',
  `update mailboxes set password_form = 'plain', password_key_id = null, settings_seal = null, password = cast('pw' as blob)`,
];

test('a second host with the key file stores no new password', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await at.cli.run(adding('one'), 'pw')).toMatchObject(ok);
  const onB = openHostB();
  at.cli.sql(
    'create table loot (form text)',
    `create trigger steals after insert on mailboxes begin insert into loot values (new.password_form); end`,
    ...eraseTraces,
  );
  expect(await onB(adding('two'), 'pw')).toMatchObject(refused);
  expect(await onB(setPassword, 'pw')).toMatchObject(refused);
  const set = ['mailbox', 'set', 'one', '--user', 'other', '--no-probe', '--password-stdin'];
  expect(await onB(set, 'pw')).toMatchObject({ code: 3 });
  expect(await onB(['check'])).toMatchObject({ code: 1, out: expect.stringContaining('there is a key file, and') });
  using database = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  expect(database.prepare('select form from loot').all()).toEqual([]);
});

test('a host that lost its switch state removes no message that the table alone says to remove', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await at.cli.run(adding('one'), 'pw')).toMatchObject(ok);
  rmSync(join(at.cli.dataDir, 'switch-state'));
  at.cli.sql(...eraseTraces, `update mailboxes set on_success = 'delete'`);
  const { code, json } = await at.cli.run(['poll', 'one', '--json']);
  expect({ code, outcomes: json[0]?.['outcomes'] }).toMatchObject({ code: 0, outcomes: { ticket_opened: 2 } });
  expect((await at.dovecot.listFlags(at.user, 'INBOX')).size).toBe(2);
  expect(await at.cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject({ code: 3 });
});

describe('honest use', () => {
  test('with a key file made before the first enable, add says in one line what to do, and works after it', async () => {
    expect(await at.cli.run(['migrate'])).toMatchObject(ok);
    writeFileSync(join(at.cli.dataDir, 'encryption-key.bin'), randomBytes(32), { mode: 0o600 });
    expect(await at.cli.run(adding('one'), 'pw')).toMatchObject(refused);
    expect(await enable()).toMatchObject(ok);
    expect(await at.cli.run(adding('one'), 'pw')).toMatchObject(ok);
    expect(await at.cli.run(setPassword, 'pw')).toMatchObject(ok);
  });

  test('a second host works with the key file, and after disable, where its key file is left', async () => {
    expect(await enable()).toMatchObject(ok);
    const onB = openHostB();
    expect(await onB(adding('one'), 'pw')).toMatchObject(ok);
    expect(await at.cli.run(['encryption', 'disable', '--yes'])).toMatchObject(ok);
    expect(await onB(setPassword, 'pw')).toMatchObject(ok);
  });
});
