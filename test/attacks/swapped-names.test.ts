/**
 * A writer of the database swaps the names of two mailboxes: `set-password` for one of them asks, since the name was
 * confirmed for another server.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  for (const name of ['sales', 'support']) await added(name);
  const flags = ['--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
  for (const name of ['sales', 'support'])
    expect(await cli.run(['mailbox', 'confirm', name, '--yes'])).toMatchObject({ code: 0 });
});

afterEach(async () => {
  cli.expectNothingLeaked([secret]);
  await cli[Symbol.asyncDispose]();
});

const secret = 'Kupfer-und-Zinn-17';
const setPassword = (name: string) =>
  cli.run(['mailbox', 'set-password', '--no-probe', name, '--password-stdin'], secret);

async function added(name: string, code = 0): Promise<string> {
  const server = ['--host', `${name.toLowerCase()}.example`, '--user', 'desk', '--no-probe', '--password-stdin'];
  const ran = await cli.run(['mailbox', 'add', '--name', name, ...server], 'pw');
  expect(ran.code).toBe(code);
  return ran.err;
}

test('a password for a swapped name is not sent to the server of the other mailbox unasked', async () => {
  expect(await setPassword('support')).toMatchObject({ code: 0 });
  cli.sql(
    `update mailboxes set name = 'x' where name = 'sales'`,
    `update mailboxes set name = 'sales' where name = 'support'`,
    `update mailboxes set name = 'support' where name = 'x'`,
  );
  const { code, out, err } = await setPassword('support');
  expect({ code, out }).toEqual({ code: 3, out: '' });
  expect(err).toContain('The name support was given to this server by another program');
  expect(err).toContain('for desk at sales.example:993 (TLS implicit)\n');
  expect(await setPassword('sales')).toMatchObject({ code: 3, out: '' });
});

describe('a name that differs in case only', () => {
  test('is refused to a new mailbox and to a renamed one, with the name that is taken', async () => {
    const why = 'a mailbox named "support" exists already, and names must differ in more than case\n';
    expect(await added('Support', 2)).toContain(why);
    const ran = await cli.run(['mailbox', 'set', 'sales', '--name', 'SUPPORT']);
    expect(ran).toMatchObject({ code: 2, err: expect.stringContaining(why) });
    // The other case of its own name is none of another mailbox.
    expect(await cli.run(['mailbox', 'set', 'support', '--name', 'Support'])).toMatchObject({ code: 0 });
    expect(await setPassword('Support')).toMatchObject({ code: 0 });
  });
});
