/**
 * Options and configurations that are refused by `mailbox add|set --oauth` and `oauth show|test`: one line and a hint
 * each, nothing is stored, and nothing is asked of the provider, whose endpoints do not exist.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let cli: CommandLine;

const common = ['kind = "oidc"', 'token_endpoint = "http://127.0.0.1:9/token"', 'scopes = ["mail"]'];
const hosts = 'imap_hosts = ["mail.example.test:993"]';

beforeEach(async () => {
  folder = await temporaryFolder('oauth-config');
  const configFile = join(folder.path, 'ticketmaild.toml');
  await writeFile(join(folder.path, 'secret'), 'geheim\n', { mode: 0o600 });
  const application = ['flow = "application"', 'client_id = "app"', `client_secret_file = "${folder.path}/secret"`];
  const listed = 'mailboxes = ["support@example.test"]';
  const person = ['flow = "person"', 'client_id = "people"', 'authorization_endpoint = "http://127.0.0.1:9/auth"'];
  await writeFile(
    configFile,
    [
      ...['[oauth.app]', ...common, hosts, ...application, listed],
      ...['[oauth.people]', ...common, hosts, ...person],
      ...['[oauth.others]', ...common, hosts, ...person, ''],
    ].join('\n'),
  );
  cli = await openCommandLine({ TICKETMAILD_CONFIG: configFile });
  await using app = await cli.open();
  await app.migrations.apply();
  using token = SecretBytes.take(Buffer.from('refresh-token-of-anna'));
  const refresh = { form: 'plain', token, switchRevision: 0 } as const;
  const consent = { provider: 'people', account: 'anna@example.test', scope: null, refresh, by: app.actor };
  await app.store.storeConsent({ name: 'anna', ...consent });
});

afterEach(async () => {
  cli.expectNothingLeaked(['geheim', 'refresh-token-of-anna']);
  await cli[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const support = ['--name', 'support', '--host', 'mail.example.test', '--user', 'support@example.test'];
const anna = ['--name', 'anna', '--host', 'mail.example.test', '--user', 'anna@example.test'];

async function stored(): Promise<readonly unknown[]> {
  await using app = await cli.open();
  return [...(await app.store.listMailboxes()), ...(await app.store.listGrants()).map(({ name }) => name)];
}

const additions: readonly (readonly [what: string, code: number, said: RegExp, args: readonly string[]])[] = [
  [
    'an unknown provider',
    2,
    /no provider named "nope": the configuration has app, people, others/,
    [...support, '--oauth', 'nope'],
  ],
  [
    'a user who is not listed',
    3,
    /^user boss@example\.test is not listed in mailboxes of \[oauth\.app\].*\nhint: .* to mailboxes in \[oauth\.app\]/,
    [...support, '--oauth', 'app', '--user', 'boss@example.test'],
  ],
  [
    'another host',
    3,
    /server evil\.example:993 is not in imap_hosts \(mail\.example\.test:993\)\nhint: /,
    [...support, '--oauth', 'app', '--host', 'evil.example'],
  ],
  [
    'another port',
    3,
    /mail\.example\.test:1993 is not in imap_hosts/,
    [...support, '--oauth', 'app', '--port', '1993'],
  ],
  ['no TLS', 3, /uses no TLS/, [...support, '--oauth', 'app', '--tls', 'none', '--port', '993', '--allow-plaintext']],
  ['a pinned certificate', 3, /pins a certificate/, [...support, '--oauth', 'app', '--fingerprint', '0'.repeat(64)]],
  [
    'a password as well',
    2,
    /--oauth and --password-stdin exclude each other/,
    [...support, '--oauth', 'app', '--password-stdin'],
  ],
  ['a grant without a provider', 2, /--grant .* use it with --oauth/, [...support, '--grant', 'anna']],
  ['a way to sign in without a provider', 2, /--paste .* use it with --oauth/, [...support, '--paste']],
  [
    'a port of the browser without a provider',
    2,
    /--browser-port .* use it with --oauth/,
    [...support, '--browser-port', '8000'],
  ],
  [
    'a port of the browser for another way',
    2,
    /--browser-port is that of --browser/,
    [...anna, '--name', 'new', '--oauth', 'people', '--paste', '--browser-port', '8000'],
  ],
  [
    'two ways to sign in',
    2,
    /exclude each other/,
    [...anna, '--name', 'new', '--oauth', 'people', '--paste', '--device'],
  ],
  [
    'a grant of an application with another name',
    2,
    /--grant must be left out/,
    [...support, '--oauth', 'app', '--grant', 'x'],
  ],
  ['a grant of another provider', 2, /one of another provider/, [...anna, '--oauth', 'others', '--grant', 'anna']],
  [
    'the name of an application for the grant of a person',
    2,
    /that of provider app/,
    [...anna, '--oauth', 'people', '--grant', 'app'],
  ],
  ['a grant that is there, without its name', 2, /grant named "anna" already/, [...anna, '--oauth', 'people']],
  ['the user of another account', 3, /not listed/, [...support, '--oauth', 'people', '--grant', 'anna']],
];

test.each(additions)('mailbox add refuses %s', async (_what, code, said, args) => {
  const ran = await cli.run(['mailbox', 'add', ...args], 'secret');
  expect(ran).toMatchObject({ code, out: '' });
  expect(ran.err).toMatch(said);
  expect(ran.err).toMatch(/^[^\n]+\nhint: [^\n]+\n$/);
  expect(await stored()).toEqual(['anna']);
});

test('mailbox add refuses certificate authorities of the mailbox', async () => {
  const { caFile } = await readCertificates(await certificatesTemplate());
  const ran = await cli.run(['mailbox', 'add', ...support, '--oauth', 'app', '--ca-file', caFile]);
  expect(ran).toMatchObject({ code: 3, out: '', err: expect.stringContaining('certificate authorities of its own') });
  expect(ran.err).toContain('ca_file in [oauth.app]');
  expect(ran.err).toContain('--system-ca');
  expect(await stored()).toEqual(['anna']);
});

test('a sign-in that fails while a mailbox is added names no command for a stored one', async () => {
  const pasted = 'http://127.0.0.1/oauth/callback?code=x&state=other';
  const ran = await cli.run(['mailbox', 'add', ...anna, '--name', 'new', '--oauth', 'people', '--paste'], pasted);
  expect(ran).toMatchObject({ code: 1, out: '' });
  expect(ran.err).toContain('hint: Nothing was stored. Begin again: repeat this command');
  expect(await stored()).toEqual(['anna']);
});

test('a provider that does not answer leaves neither a mailbox nor a grant', async () => {
  const ran = await cli.run(['mailbox', 'add', ...support, '--oauth', 'app']);
  expect(ran).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/ECONNREFUSED[^\n]*\nhint: Check issuer and the endpoints in \[oauth\./),
  });
  expect(await stored()).toEqual(['anna']);
});

test('mailbox set changes nothing for what add refuses, and a grant takes no password of its own', async () => {
  expect(
    await cli.run(['mailbox', 'add', ...anna, '--oauth', 'people', '--grant', 'anna', '--no-probe']),
  ).toMatchObject({
    code: 0,
  });
  expect((await cli.run(['mailbox', 'show', 'anna'])).out).not.toMatch(/^password/m);
  expect((await cli.run(['oauth', 'list'])).out).toMatch(/anna@example\.test +none$/m);
  const shown = async () => (await cli.run(['mailbox', 'show', 'anna', '--json'])).json[0];
  const before = await shown();
  const wrong = [
    ['set', 'anna', '--oauth', 'nope'],
    ['set', 'anna', '--oauth', 'app'],
    ['set', 'anna', '--oauth', 'people', '--new-password'],
    ['set', 'anna', '--host', 'evil.example', '--no-probe'],
    ['set', 'anna', '--user', 'boss@example.test', '--no-probe'],
    ['set-password', 'anna', '--password-stdin'],
  ];
  for (const args of wrong) {
    const ran = await cli.run(['mailbox', ...args], 'secret');
    expect(ran, args.join(' ')).toMatchObject({ out: '', err: expect.stringMatching(/^[^\n]+\nhint: [^\n]+\n$/) });
    expect(ran.code, args.join(' ')).toBeGreaterThan(0);
  }
  expect(await shown()).toEqual(before);
});

test('mailbox authorize of a mailbox with a password says so, whatever the other options are', async () => {
  const added = await cli.run(['mailbox', 'add', ...support, '--no-probe', '--password-stdin'], 'geheim');
  expect(added).toMatchObject({ code: 0 });
  const ran = await cli.run(['mailbox', 'authorize', 'support', '--browser-port', '8000']);
  expect(ran).toMatchObject({ code: 3, err: expect.stringContaining('has a password, and no grant to renew') });
});

describe('a password takes the place of a grant', () => {
  const add = () => cli.run(['mailbox', 'add', ...support, '--oauth', 'app', '--no-probe']);
  const setPassword = () => cli.run(['mailbox', 'set', 'support', '--password-stdin', '--no-probe'], 'geheim');
  const encryption = async (operation: string, ...flags: readonly string[]) =>
    expect(await cli.run(['encryption', operation, ...flags])).toMatchObject({ code: 0 });
  const enable = () => encryption('enable', '--accept-key-loss', '--backup-prepared');

  test('at the server that mailbox add confirmed, through a rotation', async () => {
    await enable();
    expect(await add()).toMatchObject({ code: 0 });
    await encryption('rotate');
    expect(await setPassword()).toMatchObject({
      code: 0,
      err: 'for support@example.test at mail.example.test:993 (TLS implicit)\n',
    });
  });

  test('not at one that another program wrote into the row since', async () => {
    await enable();
    expect(await add()).toMatchObject({ code: 0 });
    cli.sql(`update mailboxes set host = 'evil.example'`);
    await encryption('rotate');
    const refused = await setPassword();
    expect(refused).toMatchObject({ code: 3, out: '' });
    expect(refused.err).toContain('ticketmaild mailbox confirm support\n');
  });

  test('after mailbox confirm where it was added before encryption was enabled, which the refusal says', async () => {
    expect(await add()).toMatchObject({ code: 0 });
    await enable();
    await encryption('rotate');
    expect(await setPassword()).toMatchObject({
      ...{ code: 3, out: '' },
      err: expect.stringContaining('since encryption was enabled, which confirms none\nhint: Check the server: '),
    });
    expect(await cli.run(['mailbox', 'confirm', 'support', '--yes'])).toMatchObject({ code: 0 });
    expect(await setPassword()).toMatchObject({ code: 0 });
  });
});

test.each(['show', 'test'])('oauth %s knows no other name', async (command) => {
  const ran = await cli.run(['oauth', command, 'nope']);
  expect(ran).toMatchObject({ code: 4, out: '' });
  expect(ran.err).toBe('there is no provider and no grant named "nope"\nhint: See ticketmaild oauth list.\n');
});

test('in a new database without tables, list, show and test of a provider have no grants', async () => {
  await using fresh = await openCommandLine({ TICKETMAILD_CONFIG: cli.env['TICKETMAILD_CONFIG'] ?? '' });
  const listed = await fresh.run(['oauth', 'list', '--json']);
  expect(listed).toMatchObject({ code: 0, err: '' });
  expect(listed.json.map(({ provider }) => provider)).toEqual(['app', 'people', 'others']);
  expect(await fresh.run(['oauth', 'show', 'app'])).toMatchObject({ code: 0, err: '' });
  const tested = await fresh.run(['oauth', 'test', 'people', '--json']);
  expect(tested.json).toContainEqual(expect.objectContaining({ check: 'credential', ok: true }));
  expect(tested.json.at(-1)).toMatchObject({
    ...{ check: 'mailboxes', hint: 'Add one: ticketmaild mailbox add --oauth people' },
  });
  expect(tested.err).toBe('');
});

test('a secret file that others may read fails the check', async () => {
  const { chmod } = await import('node:fs/promises');
  await chmod(join(folder.path, 'secret'), 0o644);
  const { json } = await cli.run(['check', '--json']);
  const part = json.find(({ check }) => check === 'provider app');
  expect(part).toMatchObject({ ok: false, code: 'oauth_provider_failed' });
  expect(part?.['message']).toContain('works, but other users of this machine may read or replace it');
  expect(part?.['hint']).toBe(`Keep it from them: chmod 600 ${join(folder.path, 'secret')}`);
  await chmod(join(folder.path, 'secret'), 0o600);
  expect((await cli.run(['check', '--json'])).json).toContainEqual(
    expect.objectContaining({ check: 'provider app', ok: true }),
  );
});
