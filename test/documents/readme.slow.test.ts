/**
 * The commands, SQL and TOML of README.md work when pasted; only names of servers, files and users are replaced.
 */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runCommand } from '../support/processes/daemon.ts';
import { startDovecot } from '../support/servers/dovecot.ts';
import { password } from '../support/servers/dovecot-settings.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';

const readme = await readFile(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');

/** The fenced blocks of one language, in order. */
function blocks(language: string): readonly string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, text]) => text ?? '');
}

/** The words after `ticketmaild` of the line that begins with these words. */
function commandLine(words: string): readonly string[] {
  const lines = blocks('sh').flatMap((block) => block.split('\n'));
  const line = lines.find((one) => one.startsWith(`ticketmaild ${words}`));
  if (line === undefined) throw new Error(`the README has no line for ${words}`);
  return line.replace('ticketmaild ', '').split(' ');
}

function withValue(args: readonly string[], option: string, value: string): readonly string[] {
  const at = args.indexOf(option);
  return at < 0 ? [...args, option, value] : args.with(at + 1, value);
}

test('the quick start is the two commands that package.json has', async () => {
  const { scripts } = JSON.parse(await readFile(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'));
  expect(blocks('sh')).toEqual(expect.arrayContaining(['npm ci && npm run demo\n', 'npm ci && npm test\n']));
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['demo', 'test', 'test:quick', 'bench', 'package']));
});

test('a mailbox is connected with the commands and the SQL that the README gives, rights included', async () => {
  await using folder = await temporaryFolder('readme');
  await using dovecot = await startDovecot();
  await using mariadb = await startMariadb();
  await mariadb.query(blocks('sql')[0] ?? '');
  const passwordFile = join(folder.path, 'database-password');
  await writeFile(passwordFile, 'choose-one\n');
  await chmod(passwordFile, 0o600);
  const toml = (blocks('toml')[0] ?? '')
    .replace('/run/mysqld/mysqld.sock', mariadb.socketPath)
    .replace('/etc/ticketmaild/database-password', passwordFile);
  const config = join(folder.path, 'ticketmaild.toml');
  await writeFile(config, `data_dir = "data"\n${toml}`);
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [Buffer.from('Subject: first\r\n\r\nHello\r\n')]);
  let add = withValue(commandLine('mailbox add'), '--host', 'localhost');
  for (const [option, value] of [
    ['--user', user],
    ['--since', 'all'],
    ['--port', `${dovecot.tlsPort}`],
    ['--ca-file', dovecot.caFile],
    ['--config', config],
  ] as const) {
    add = withValue(add, option, value);
  }
  const added = await runCommand([...add, '--password-stdin'], { input: password });
  expect(added).toMatchObject({ code: 0, stderr: expect.stringMatching(/^warning: encryption is off[^\n]+\n$/) });
  const checked = await runCommand([...commandLine('check'), '--config', config]);
  expect(checked).toMatchObject({ code: 0, stdout: expect.stringContaining('ok      mailbox support') });
  const polled = await runCommand(['poll', '--config', config, '--json']);
  expect(polled).toMatchObject({ code: 0, stdout: expect.stringContaining('"ticket_opened":1') });
  const listed = await runCommand([...commandLine('ticket list'), '--config', config]);
  expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining('first') });
  expect((await runCommand(['mailbox', 'remove', 'support', '--yes', '--config', config])).code).toBe(0);
});

test('the sample log line has the fields of a real one', () => {
  const line = JSON.parse(blocks('json')[0] ?? '');
  expect(Object.keys(line)).toEqual([
    'level',
    'time',
    'mailbox',
    'poll',
    'uid_validity',
    'uid',
    'size_bytes',
    'message',
    'ticket',
    'event',
  ]);
});
