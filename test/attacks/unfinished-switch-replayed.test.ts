/**
 * A writer of the database puts an old genuine row `enabling` or `disabling` of the switch back, for the operator to
 * trust: `trust-restored` makes it `on`, so that delete still waits and new passwords are sealed.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';
import { mail } from '../support/instance.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';

let dovecot: Dovecot;
let cli: CommandLine;
let user: string;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
});

beforeEach(async () => {
  cli = await openCommandLine();
  user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('first'), mail('second')]);
  const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--user', user];
  const settings = ['--password-stdin', '--on-success', 'leave', '--since', 'all'];
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server, ...settings], 'pw')).toMatchObject(ok);
  const copy = `begin insert into history select * from encryption_switch; end`;
  cli.sql(
    'create table history as select * from encryption_switch where 0',
    `create trigger copies after update on encryption_switch ${copy}`,
    `create trigger copies_first after insert on encryption_switch ${copy}`,
  );
});

afterEach(async () => {
  await cli[Symbol.asyncDispose]();
});

const ok = { code: 0 };
const enable = () => cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
const trust = ['encryption', 'trust-restored'];

function replay(state: string): void {
  cli.sql(
    ...['drop trigger copies', 'drop trigger copies_first', 'delete from encryption_switch'],
    `insert into encryption_switch select * from history where state = '${state}' and seal is not null limit 1`,
    'update encryption_switch set operation_owner = null, operation_until = null',
  );
}

test('enabling: the delete that the writer asks for waits, and the question says so', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await cli.run(['poll', 'one'])).toMatchObject(ok);
  replay('enabling');
  cli.sql(`update mailboxes set on_success = 'delete'`, 'update outcome set action_pending = 1');
  const asked = await cli.typed(trust, [['for this host and every worker? [y/N]', 'n\n']]);
  expect(asked.err).toContain('Accept what was found as on, since enabling was not finished');
  expect(await cli.run([...trust, '--yes'])).toMatchObject({ ...ok, out: expect.stringContaining('encryption is on') });
  expect(await cli.run(['poll', 'one'])).toMatchObject(ok);
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(2);
});

test('disabling, of a key that the operator appended: the next new password is sealed', async () => {
  expect(await enable()).toMatchObject(ok);
  expect(await cli.run(['encryption', 'disable', '--yes'])).toMatchObject(ok);
  expect(await enable()).toMatchObject(ok);
  const former = readdirSync(cli.dataDir).find((name) => name.includes('disabled-')) ?? '';
  appendFileSync(join(cli.dataDir, 'encryption-key.bin'), readFileSync(join(cli.dataDir, former)));
  replay('disabling');
  expect(await cli.run([...trust, '--yes'])).toMatchObject({ ...ok, out: expect.stringContaining('encryption is on') });
  const set = ['mailbox', 'set-password', 'one', '--password-stdin', '--accept-connection'];
  expect(await cli.run(set, 'pw')).toMatchObject(ok);
  using database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
  expect(database.prepare('select password_form as form from mailboxes').all()).toEqual([{ form: 'sealed' }]);
});
