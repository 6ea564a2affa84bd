/**
 * A writer of the database puts an old genuine row `enabling` or `disabling` of the switch back, for the operator to
 * trust: `trust-restored` makes it `on`, so that delete still waits and new passwords are sealed.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, expect, test } from 'vitest';
import { mail } from '../support/instance.ts';
import { mailboxScene } from './mailbox-scene.ts';

const at = mailboxScene();

beforeEach(async () => {
  await at.dovecot.append(at.user, 'INBOX', [mail('first'), mail('second')]);
  const settings = ['--password-stdin', '--on-success', 'leave', '--since', 'all'];
  expect(await at.cli.run(['mailbox', 'add', '--name', 'one', ...at.server, ...settings], 'pw')).toMatchObject(ok);
  const copy = `begin insert into history select * from encryption_switch; end`;
  at.cli.sql(
    'create table history as select * from encryption_switch where 0',
    `create trigger copies after update on encryption_switch ${copy}`,
    `create trigger copies_first after insert on encryption_switch ${copy}`,
  );
});

const ok = { code: 0 };
const enable = () => at.cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
const trust = ['encryption', 'trust-restored'];

function replay(state: string): void {
  at.cli.sql(
    ...['drop trigger copies', 'drop trigger copies_first', 'delete from encryption_switch'],
    `insert into encryption_switch select * from history where state = '${state}' and seal is not null limit 1`,
    'update encryption_switch set operation_owner = null, operation_until = null',
  );
}

test('enabling: the delete that the writer asks for waits, and the question says so', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await at.cli.run(['poll', 'one'])).toMatchObject(ok);
  replay('enabling');
  at.cli.sql(`update mailboxes set on_success = 'delete'`, 'update outcome set action_pending = 1');
  const asked = await at.cli.typed(trust, [['for this host and every worker? [y/N]', 'n\n']]);
  expect(asked.err).toContain('Accept what was found as on, since enabling was not finished');
  expect(await at.cli.run([...trust, '--yes'])).toMatchObject({
    ...ok,
    out: expect.stringContaining('encryption is on'),
  });
  expect(await at.cli.run(['poll', 'one'])).toMatchObject(ok);
  expect((await at.dovecot.listFlags(at.user, 'INBOX')).size).toBe(2);
});

test('disabling, of a key that the operator appended: the next new password is sealed', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await at.cli.run(['encryption', 'disable', '--yes'])).toMatchObject(ok);
  expect(await enable()).toMatchObject(ok);
  const former = readdirSync(at.cli.dataDir).find((name) => name.includes('disabled-')) ?? '';
  appendFileSync(join(at.cli.dataDir, 'encryption-key.bin'), readFileSync(join(at.cli.dataDir, former)));
  replay('disabling');
  expect(await at.cli.run([...trust, '--yes'])).toMatchObject({
    ...ok,
    out: expect.stringContaining('encryption is on'),
  });
  const set = ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'];
  expect(await at.cli.run(set, 'pw')).toMatchObject(ok);
  using database = new DatabaseSync(join(at.cli.dataDir, 'ticketmaild.db'));
  expect(database.prepare('select password_form as form from mailboxes').all()).toEqual([{ form: 'sealed' }]);
});
