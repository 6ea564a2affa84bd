/** `database copy` between two SQLite files: what it prints, what it refuses, and that no secret is in any of it. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, chown, link, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../command-line.ts';

const password = 'canary-password-7312';
const token = 'canary-refresh-token-7312';

/** A mailbox and a grant, in plain text as a helpdesk writes them. */
async function withSecrets(): Promise<CommandLine & { readonly to: string }> {
  const line = await openCommandLine();
  await line.run(['migrate']);
  line.sql(
    `insert into mailboxes (name, host, username, password) values ('box', 'h', 'u@x', '${password}')`,
    `insert into oauth_grant (name, provider, refresh) values ('g', 'p', '${token}')`,
  );
  return { ...line, to: join(line.folder, 'other.db') };
}

test('it prints what was copied and what to write into the configuration', async () => {
  await using line = await withSecrets();
  const copied = await line.run(['database', 'copy', '--to', `sqlite:${line.to}`]);
  expect(copied).toMatchObject({ code: 0, err: '' });
  expect(copied.out.split('\n')).toEqual([
    expect.stringMatching(/^\d+ rows of 18 tables copied, and compared with the source$/),
    '',
    'Put this into the configuration file in place of the former lines:',
    '',
    '[database]',
    `url = "sqlite:${line.to}"`,
    '',
    'Then start the daemon. data_dir stays as it is: attachments and raw sources are files there.',
    `Nothing was changed in ${join(line.dataDir, 'ticketmaild.db')}.`,
    'It still holds every password: never run a daemon on it again, and delete it soon.',
    '',
  ]);
  using target = new DatabaseSync(line.to, { readOnly: true });
  const stored = 'select typeof(password) as type, cast(password as text) as password from mailboxes';
  expect(target.prepare(stored).all()).toEqual([{ type: 'blob', password }]);
  line.expectNothingLeaked([password, token]);
});

test('run again, it says that the copy is complete; as JSON too', async () => {
  await using line = await withSecrets();
  const args = ['database', 'copy', '--to', `sqlite:${line.to}`, '--json'];
  const first = await line.run(args);
  expect(first.json[0]).toMatchObject({ resumed: false, was_complete: false, to: { url: `sqlite:${line.to}` } });
  expect(first.json[0]?.['tables']).toContainEqual({ table: 'mailboxes', rows: 1 });
  expect((await line.run(args)).json).toMatchObject([{ rows: 0, was_complete: true, tables: [] }]);
  line.expectNothingLeaked([password, token]);
});

test('a refused row of a table with passwords is named by its id alone', async () => {
  await using line = await withSecrets();
  const id = randomUUID();
  line.sql(`insert into oauth_grant (id, name, provider, refresh) values ('${id}', 'g2', 'p', '${token}')`);
  {
    await line.run(['migrate']);
    using target = new DatabaseSync(line.to);
    target.exec('create table oauth_grant (id text)');
  }
  const refused = await line.run(['database', 'copy', '--to', `sqlite:${line.to}`]);
  expect(refused.code).not.toBe(0);
  line.expectNothingLeaked([password, token]);
});

test('a password in the URL, the same file and an invalid target are refused', async () => {
  await using line = await withSecrets();
  const copy = (...args: readonly string[]) => line.run(['database', 'copy', ...args]);
  expect(await copy('--to', 'mysql://app:canary-in-url@127.0.0.1/db')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--to must not contain the password: other users see the arguments of a process\n'),
  });
  expect((await copy('--to', `sqlite:${join(line.dataDir, 'ticketmaild.db')}`)).err).toContain(
    '--to names the configured database itself\n',
  );
  expect((await copy('--to', 'postgres://x')).err).toMatch(/^--to must be sqlite:PATH, mysql:\/\/USER/);
  expect((await copy('--to', 'mysql://u@h/db', '--to-tls', 'maybe')).err).toMatch(/^--to-tls must be/);
  expect((await copy('--to', 'mysql://u@h/db', '--to-password-file', '/nowhere')).err).toMatch(
    /^--to-password-file names a file that cannot be read \(ENOENT\)/,
  );
  expect((await copy('--to', 'sqlite:/nowhere/x.db')).err).toBe(
    "The database cannot be used right now, /nowhere/x.db: ENOENT: no such file or directory, open '/nowhere/x.db'.\n" +
      'hint: Correct that, then run the same command again: a copy that has begun continues where it ended.\n',
  );
  line.expectNothingLeaked(['canary-in-url', password, token]);
});

type Place = (folder: string, file: string) => Promise<void>;
const planted: readonly (readonly [string, Place])[] = [
  ['a file that others can read', (_, file) => writeFile(file, '', { mode: 0o644 })],
  [
    'a file with a second name',
    async (folder, file) => {
      await writeFile(join(folder, 'other'), '', { mode: 0o600 });
      await link(join(folder, 'other'), file);
    },
  ],
  ['a link', (folder, file) => symlink(join(folder, 'other'), file)],
  ['a named pipe', async (_, file) => void (await promisify(execFile)('mkfifo', ['-m', '600', file]))],
  ['a folder that others can change', (folder) => chmod(folder, 0o777)],
  ['a sticky folder that others can change', (folder) => chmod(folder, 0o1777)],
];

async function expectRefused(prepare: Place): Promise<void> {
  await using line = await withSecrets();
  const folder = join(line.folder, 'place');
  const file = join(folder, 'copy.db');
  await mkdir(folder, { mode: 0o700 });
  await prepare(folder, file);
  const before = await readdir(folder);
  const { code, err } = await line.run(['database', 'copy', '--to', `sqlite:${file}`]);
  expect({ code, err }).toEqual({
    code: 3,
    err: expect.stringContaining(' may be read or exchanged by another user: '),
  });
  // Also no lock file.
  expect(await readdir(folder)).toEqual(before);
}

test.each(planted)('%s is no target', async (_, prepare) => {
  await expectRefused(prepare);
});

test.skipIf(process.getuid?.() !== 0)('a file or a folder of another user is no target', async () => {
  const otherUid = 65_534;
  await expectRefused(async (_, file) => {
    await writeFile(file, '', { mode: 0o600 });
    await chown(file, otherUid, otherUid);
  });
  await expectRefused((folder) => chown(folder, otherUid, otherUid));
});

test('the pin of the target is an option, under the rules of [database] fingerprint', async () => {
  await using line = await openCommandLine();
  const args = ['database', 'copy', '--to', 'mysql://u@localhost/t?socket=/run/s', '--to-fingerprint', 'a'.repeat(64)];
  const refused = await line.run(args);
  expect(refused.code).toBe(2);
  expect(refused.err).toContain('--to-fingerprint must be left out with a unix socket, which has no TLS');
});
