/**
 * Commands within hints, of mailboxes whose names were written into the table: given back to the program as they
 * stand.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from './command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server], 'pw')).toMatchObject({ code: 0 });
});

afterEach(() => cli[Symbol.asyncDispose]());

function rename(name: string, state: string): void {
  using database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
  database.prepare('update mailboxes set name = ?, state = ?').run(name, state);
}

/** The arguments of the command that ends `text`, as a shell makes them. */
function typed(text: string): readonly string[] {
  const line = text.slice(text.lastIndexOf('ticketmaild ')).trimEnd();
  const script = `ticketmaild() { printf '%s\\n' "$@"; }; ${line}`;
  const { stdout, stderr } = spawnSync('sh', ['-c', script], { cwd: cli.folder, encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(readdirSync(cli.folder)).not.toContain('pwned');
  return stdout.split('\n').slice(0, -1);
}

test.each(['box;touch$IFS./pwned;#', "$(touch pwned)'", '--yes', '-x', 'a  b\\'])('%j', async (name) => {
  rename(name, 'removing');
  const paused = await cli.run(['mailbox', 'pause', '--', name]);
  expect(paused).toMatchObject({ code: 3 });
  const remove = typed(paused.err);
  rename(name, 'active');
  const set = await cli.run(['mailbox', 'set-password', '--no-probe', '--password-stdin', '--', name], 'pw2');
  expect(set.code).toBe(0);
  expect(typed(set.out).slice(0, 2)).toEqual(['mailbox', 'test']);
  expect(typed(set.out).at(-1)).toBe(name);
  const source = await cli.run(['message', 'source', '--mailbox', name, '--uid', '1', '--output', 'x.eml']);
  expect(await cli.run(typed(source.err))).toMatchObject({ code: 0 });
  rename(name, 'removing');
  const [words, rest] = [remove.slice(0, 2), remove.slice(2)];
  expect(await cli.run([...words, '--yes', ...rest])).toMatchObject({ code: 0, out: `removed ${name}\n` });
});

test('a name with a character that is not seen leads to no command', async () => {
  rename('a\u200bb', 'removing');
  const { err } = await cli.run(['mailbox', 'pause', '--', 'a\u200bb']);
  expect(err).toMatch(/Complete it with: no command is shown/);
  expect(err).not.toContain('ticketmaild mailbox');
});
