/**
 * A writer of the database points a mailbox at a server of their own before encryption is enabled: the next new
 * password is not sent there unasked, since `enable` vouches for no server.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
});

afterEach(async () => {
  cli.expectNothingLeaked([secret]);
  await cli[Symbol.asyncDispose]();
});

const secret = 'Kupfer-und-Zinn-17';
const theirs = 'for desk at 127.0.0.1:1143 (no TLS)';
const setPassword = (...more: readonly string[]) =>
  cli.run(['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', ...more], secret);

async function enabledAfter(change: string | null): Promise<void> {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server], 'pw')).toMatchObject({ code: 0 });
  if (change !== null) cli.sql(change);
  const flags = ['--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
}

test('a server that was in the table before enable gets a new password only after a yes', async () => {
  await enabledAfter(`update mailboxes set host = '127.0.0.1', port = 1143, tls_mode = 'none', ca_pem = null`);
  for (const operation of ['reseal', 'rotate'])
    expect(await cli.run(['encryption', operation])).toMatchObject({ code: 0 });
  const refused = await setPassword();
  expect(refused).toMatchObject({ code: 3, out: '' });
  expect(refused.err).toContain(`no command has confirmed it since encryption was enabled.\n`);
  expect(refused.err).toContain(`The new password will be sent to this server:\n${theirs}\n`);
  expect(refused.err).toContain('add --accept-connection');
  const asked = await cli.typed(
    ['mailbox', 'set-password', '--no-probe', 'one'],
    [['Is this your mail server? [y/N]', 'n\n']],
  );
  expect(asked).toMatchObject({ code: 1, out: '', err: expect.stringContaining(theirs) });
});

test.each([
  ['mailbox confirm', ['mailbox', 'confirm', 'one', '--yes']],
  [
    'set-password --accept-connection',
    ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'],
  ],
])('once confirmed by %s it is not asked for again, until the row is changed', async (_title, confirming) => {
  await enabledAfter(null);
  expect(await setPassword()).toMatchObject({ code: 3 });
  expect(await cli.run(confirming, secret)).toMatchObject({ code: 0 });
  expect(await setPassword()).toMatchObject({ code: 0, err: 'for desk at mail.example:993 (TLS implicit)\n' });
  cli.sql(`update mailboxes set port = 994`);
  expect(await setPassword()).toMatchObject({ code: 3, out: '' });
});
