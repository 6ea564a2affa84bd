/**
 * A writer of the database puts a confirmed `delete` of before a rotation back, plants a row that keeps the former key
 * in the key file, or has triggers that put it in while an operation runs: its seal counts no more, and nothing is
 * deleted that the operation did not list.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, expect, test } from 'vitest';
import { mail } from '../support/instance.ts';
import { mailboxScene } from './mailbox-scene.ts';

const at = mailboxScene();

/** Encryption is on, and a `delete` was confirmed; the operator wants `leave` since. */
beforeEach(async () => {
  const settings = ['--on-success', 'delete', '--since', 'all', '--password-stdin'];
  await ok(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  await ok(['mailbox', 'add', '--name', 'one', ...at.server, ...settings], 'pw');
  at.cli.sql('create table stash as select * from mailboxes');
  await ok(['mailbox', 'set', 'one', '--on-success', 'leave']);
  await at.dovecot.append(at.user, 'INBOX', [mail('one'), mail('two')]);
});

async function ok(args: readonly string[], input = ''): Promise<string> {
  const ended = await at.cli.run(args, input);
  expect(ended).toMatchObject({ code: 0 });
  return ended.out;
}

const left = async () => (await at.dovecot.listFlags(at.user, 'INBOX')).size;

function columnsOfMailboxes(): string {
  using db = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  const rows = db.prepare(`select name from pragma_table_info('mailboxes')`).all();
  return rows.map((row) => `${row['name']}`).join();
}

test('a rotation ends the seals of before, also where the former key has to stay in the key file', async () => {
  // The password in a copy of the row is bound to another id: it cannot be opened, and keeps its key.
  const copied = columnsOfMailboxes().replace('id,name', `'00000000-0000-4000-8000-000000000000','copy'`);
  at.cli.sql(`insert into mailboxes (${columnsOfMailboxes()}) select ${copied} from stash`);
  expect(await at.cli.run(['encryption', 'rotate'])).toMatchObject({ code: 1 });
  expect(await ok(['key', 'show'])).toMatch(/[0-9a-f]{16}[\s\S]*[0-9a-f]{16}/);
  const former = '(select settings_seal from stash)';
  at.cli.sql(`update mailboxes set on_success = 'delete', settings_seal = ${former} where name = 'one'`);
  await ok(['poll', 'one']);
  expect(await left()).toBe(2);
  // Neither resealing nor another rotation renews it.
  await at.cli.run(['encryption', 'reseal']);
  await ok(['poll', 'one']);
  await at.cli.run(['encryption', 'rotate']);
  await ok(['poll', 'one']);
  expect(await left()).toBe(2);
});

/** While the switch is `during`, the settings of the stash stand in the table; what is sealed then goes to `loot`. */
function putInWhile(during: string): void {
  const put = 'on_success = (select on_success from stash), settings_seal = (select settings_seal from stash)';
  at.cli.sql(
    'create table loot as select * from mailboxes where 0',
    `create trigger comes after update on encryption_switch when new.state = '${during}' and old.state <> '${during}'
     begin update mailboxes set ${put}; end`,
    `create trigger goes after update on encryption_switch when new.state = 'on' and old.state = '${during}' begin
       insert into loot select * from mailboxes;
       update mailboxes set on_success = 'leave', settings_seal = null; end`,
  );
}

function putLootIn(): void {
  const loot = '(select settings_seal from loot)';
  at.cli.sql(`update mailboxes set on_success = 'delete', settings_seal = ${loot}`);
}

test('a rotation does not renew what stands in the table only while it runs, and names it', async () => {
  putInWhile('rotating');
  const out = await ok(['encryption', 'rotate']);
  expect(out).toContain('changed    one while the rotation ran');
  putLootIn();
  await ok(['poll', 'one']);
  expect(await left()).toBe(2);
});

test('a rotation lists each delete that it renews, as it was sealed', async () => {
  // The writer put it back before, so that it acts already.
  at.cli.sql(`update mailboxes set on_success = 'delete', settings_seal = (select settings_seal from stash)`);
  const out = await ok(['encryption', 'rotate']);
  expect(out).toContain(`confirmed  one: delete in INBOX, ${at.user} at localhost`);
  expect(out).toContain('Check these');
});

test('enable lists each delete that it confirms, also one that is hidden before it ends', async () => {
  await ok(['encryption', 'disable', '--yes']);
  at.cli.sql(`update stash set settings_seal = null`);
  putInWhile('enabling');
  const out = await ok(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  expect(out).toContain('confirmed  one: delete in INBOX');
  putLootIn();
  expect(await ok(['mailbox', 'show', 'one'])).toContain('delete');
});

test('honest use: what was confirmed before a rotation acts after it', async () => {
  await ok(['mailbox', 'set', 'one', '--on-success', 'delete']);
  expect(await ok(['encryption', 'rotate'])).toContain('confirmed  one: delete');
  await ok(['poll', 'one']);
  expect(await left()).toBe(0);
});
