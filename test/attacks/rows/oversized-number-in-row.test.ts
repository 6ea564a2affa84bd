/**
 * A writer of the database puts a number that no JavaScript number holds into the state of one mailbox, to break the
 * commands for all: SQLite refuses it, and where its checks are off, the other mailboxes are listed and removed.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  const server = ['--host', 'localhost', '--port', '1', '--user', 'ada', '--password-stdin', '--no-probe'];
  for (const name of ['one', 'two']) await ok(['mailbox', 'add', '--name', name, ...server], 'pw');
});

afterEach(async () => {
  await cli[Symbol.asyncDispose]();
});

async function ok(args: readonly string[], input = ''): Promise<string> {
  const ended = await cli.run(args, input);
  expect(ended).toMatchObject({ code: 0 });
  return ended.out;
}

const attack = (column: string) =>
  `update mailbox_state set ${column} = 9223372036854775807
   where mailbox_id = (select id from mailboxes where name = 'one')`;

test.each(['cursor_folder_epoch', 'cursor_uid', 'failures', 'login_failures', 'lease_epoch'])(
  '%s beyond 2^53 stops no command, for neither mailbox',
  async (column) => {
    expect(() => cli.sql(attack(column))).toThrow('CHECK');
    using db = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
    db.exec('pragma ignore_check_constraints = on');
    db.exec(attack(column));
    expect(await ok(['mailbox', 'list'])).toMatch(/one[\s\S]*two/);
    for (const name of ['one', 'two']) await ok(['mailbox', 'show', name]);
    await ok(['mailbox', 'set', 'two', '--folder', 'Sent', '--no-probe']);
    for (const name of ['one', 'two']) await ok(['mailbox', 'remove', name, '--yes']);
    expect(await ok(['mailbox', 'list'])).not.toMatch(/one|two/);
  },
);
