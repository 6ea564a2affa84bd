import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../command-line.ts';

let cli: CommandLine;

beforeAll(async () => {
  cli = await openCommandLine();
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  for (const name of ['support', 'sales'])
    expect(await cli.run(['mailbox', 'add', '--name', name, ...server], 'pw')).toMatchObject({ code: 0 });
  expect(await cli.run(['admin', 'add', 'ada', '--password-stdin'], 'a long password of ada')).toMatchObject({
    code: 0,
  });
});

afterAll(() => cli[Symbol.asyncDispose]());

test.each([
  [['mailbox', 'show', 'suport'], 'Did you mean support? See ticketmaild mailbox list.'],
  [['mailbox', 'pause', 'spuport'], 'Did you mean support? See ticketmaild mailbox list.'],
  // Each pair of swapped letters is one step.
  [['mailbox', 'pause', 'usppotr'], 'Did you mean support? See ticketmaild mailbox list.'],
  [['mailbox', 'set', 'sale', '--interval', '30'], 'Did you mean sales? See ticketmaild mailbox list.'],
  [
    ['mailbox', 'set-password', '--no-probe', 'sale', '--password-stdin'],
    'Did you mean sales? See ticketmaild mailbox list.',
  ],
  [['poll', 'suppport'], 'Did you mean support? See ticketmaild mailbox list.'],
  [['message', 'list', '--mailbox', 'saels'], 'Did you mean sales? See ticketmaild mailbox list.'],
  [
    ['quarantine', 'show', 'suport/7/1'],
    'Did you mean support? List them: ticketmaild quarantine list [--discarded]. Released messages are in message list --mailbox NAME.',
  ],
  [
    ['quarantine', 'show', 'sales/7/1'],
    'List them: ticketmaild quarantine list [--discarded]. Released messages are in message list --mailbox NAME.',
  ],
  [['mailbox', 'retry', '--host', 'mial.example'], 'Did you mean mail.example? See ticketmaild mailbox list.'],
  [['mailbox', 'show', 'warehouse'], 'See ticketmaild mailbox list.'],
  [['admin', 'remove', 'adaa', '--yes'], 'Did you mean ada? See ticketmaild admin list.'],
])('%j', async (args, hint) => {
  const { code, err } = await cli.run(args, 'pw');
  expect({ code, hint: err.split('\n')[1] }).toEqual({ code: 4, hint: `hint: ${hint}` });
});

test('a name from the table that a terminal must not get is not suggested; a shell word is quoted', async () => {
  cli.sql("update mailboxes set name = 'supp' || char(27) || 'rt' where name = 'support'");
  expect((await cli.run(['mailbox', 'show', 'support'])).err).not.toContain('Did you mean');
  cli.sql("update mailboxes set name = 'supp;rt' where name like 'supp%'");
  expect((await cli.run(['mailbox', 'show', 'support'])).err).toContain("Did you mean 'supp;rt'?");
});

test('a provider of the configuration is suggested, too', async () => {
  const file = join(cli.folder, 'oauth.toml');
  const provider = ['[oauth.desk]', 'kind = "microsoft"', 'tenant = "t.example"', 'client_id = "c"'];
  await writeFile(join(cli.folder, 'client'), 'x', { mode: 0o600 });
  const rest = [`client_secret_file = "${join(cli.folder, 'client')}"`, 'mailboxes = ["*@example.org"]'];
  await writeFile(file, [...provider, ...rest].join('\n'));
  const { code, err } = await cli.run(['oauth', 'show', 'dsek', '--config', file]);
  expect({ code, err }).toEqual({ code: 4, err: expect.stringContaining('\nhint: Did you mean desk? ') });
});
