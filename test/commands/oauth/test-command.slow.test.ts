/** `oauth test` beside a real provider and Dovecot: what it finds, and the next step that it names. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { hints } from '../../../src/text/hints.ts';
import type { CommandLine, Ran } from '../command-line.ts';
import { consentFirst, type OAuthScene, startScene } from './scene.ts';

let scene: OAuthScene;
let cli: CommandLine;

beforeAll(async () => {
  scene = await startScene({
    more: (_common, { endpoints, clientSecretFile, caFile }, { host, tlsPort }) => [
      '[oauth.m365]',
      ...['kind = "microsoft"', 'tenant = "contoso.example"', 'client_id = "test-app-secret"', 'scopes = ["mail.app"]'],
      `token_endpoint = ${JSON.stringify(endpoints.token)}`,
      `client_secret_file = ${JSON.stringify(clientSecretFile)}`,
      `ca_file = ${JSON.stringify(caFile)}`,
      `imap_hosts = ["${host}:${tlsPort}"]`,
      'mailboxes = ["*@example.test"]',
    ],
  });
});

afterAll(() => scene[Symbol.asyncDispose]());

beforeEach(async () => {
  cli = await scene.open();
  expect(await cli.run(['migrate'])).toMatchObject({ code: 0 });
});

afterEach(async () => {
  await scene.provider.set({ clockOffsetS: 0, fault: null });
  const { tokens } = await scene.provider.report();
  cli.expectNothingLeaked(tokens.flatMap(({ access, refresh }) => [access, ...(refresh === null ? [] : [refresh])]));
  await cli[Symbol.asyncDispose]();
});

async function add(provider: string, user: string, ...more: readonly string[]): Promise<void> {
  const options = ['--name', user, ...scene.server, '--user', user, '--oauth', provider, ...more];
  expect(await cli.run(['mailbox', 'add', ...options])).toMatchObject({ code: 0 });
}

const tested = (name: string): Promise<Ran> => cli.run(['oauth', 'test', name, '--json']);

test.each([
  ['appkey', 'client_credentials 200'],
  ['service', 'urn:ietf:params:oauth:grant-type:jwt-bearer 200'],
])('%s: every part is well, with a token of its own', async (name, request) => {
  await add(name, 'support@example.test');
  const before = await scene.provider.count(request);
  const { code, json } = await tested(name);
  expect(json.map(({ check, ok }) => [check, ok])).toEqual(
    ['provider', 'clock', 'credential', 'token', 'mailbox support@example.test'].map((part) => [part, true]),
  );
  expect(code).toBe(0);
  expect(json.at(-1)?.['message']).toMatch(/^XOAUTH2, 0 messages in INBOX, certificate valid until /);
  expect(json.find(({ check }) => check === 'token')?.['message']).toMatch(/^issued now, \d+ bytes/);
  expect(json.find(({ check }) => check === 'clock')?.['message']).toBe('it agrees with that of the provider');
  expect(await scene.provider.count(request)).toBe(before + 1);
  expect((await cli.run(['oauth', 'test', name])).out).toMatch(/^ok {6}provider: issuer https:/);
});

test('oauth show has the configuration and the grants, by the name of either', async () => {
  await add('appkey', 'support@example.test');
  const { code, json } = await cli.run(['oauth', 'show', 'appkey', '--json']);
  expect(code).toBe(0);
  expect(json[0]).toMatchObject({
    provider: { provider: 'appkey', kind: 'oidc', flow: 'application', client_id: 'test-app-key', proxy: null },
    grants: [{ grant: 'appkey', state: 'ready', mailboxes: 1, has_refresh_token: false, why: null }],
  });
  const { out } = await cli.run(['oauth', 'show', 'appkey']);
  expect(out).toMatch(/^credential +private key in \/.*app-key\.pem$/m);
  expect(out).toMatch(/^imap hosts +localhost:\d+$/m);
  await consentFirst(scene, cli, 'anna@example.test');
  expect((await cli.run(['oauth', 'show', 'anna', '--json'])).json[0]).toMatchObject({
    provider: { provider: 'people' },
    grants: [{ grant: 'anna', account: 'anna@example.test', has_refresh_token: true }],
  });
});

test('the grant of a person is not renewed for it', async () => {
  await consentFirst(scene, cli, 'anna@example.test');
  await add('people', 'anna@example.test', '--grant', 'anna');
  const before = await scene.provider.count('refresh_token 200');
  const { code, json } = await tested('people');
  expect(code).toBe(0);
  expect(json).toContainEqual(expect.objectContaining({ check: 'grant anna', ok: true }));
  expect(await scene.provider.count('refresh_token 200')).toBe(before);
});

test('a grant that its provider ended fails as soon as the login of its mailbox finds that out', async () => {
  await consentFirst(scene, cli, 'anna@example.test');
  await add('people', 'anna@example.test', '--grant', 'anna');
  await scene.provider.revoke('anna@example.test');
  const { code, json } = await tested('anna');
  expect(code).toBe(1);
  expect(json.slice(-2)).toEqual([
    expect.objectContaining({ check: 'mailbox anna@example.test', ok: false, code: 'oauth_needs_consent' }),
    expect.objectContaining({ check: 'grant anna', ok: false, code: 'oauth_needs_consent' }),
  ]);
  expect(json.at(-1)?.['hint']).toBe('ticketmaild mailbox authorize anna@example.test');
});

test('a clock that differs, a secret that is wrong, and a mail server that refuses the token', async () => {
  await scene.provider.set({ clockOffsetS: 600 });
  const clock = (await tested('appkey')).json.find(({ check }) => check === 'clock');
  expect(clock).toMatchObject({ hint: hints.oauthClockWrong });
  expect(clock?.['message']).toMatch(/^this machine is (599|600|601) seconds behind the provider$/);
  await scene.provider.set({ clockOffsetS: 0 });

  const options = ['--name', 'x', ...scene.server, '--user', 'private@example.test', '--oauth'];
  const added = await cli.run(['mailbox', 'add', ...options, 'appkey']);
  expect(added).toMatchObject({ code: 1, err: expect.stringContaining(`hint: ${hints.tokenNotTaken}\n`) });
  const exchange = await cli.run(['mailbox', 'add', ...options, 'm365']);
  expect(exchange.err).toContain('repeat this command with --no-probe, then ticketmaild oauth test m365\n');
  await add('appkey', 'private@example.test', '--no-probe');
  const refused = await tested('appkey');
  expect(refused.code).toBe(1);
  expect(refused.json.at(-1)).toMatchObject({ ok: false, code: 'login_refused', hint: hints.tokenNotTaken });
});

test('a client secret that is wrong fails the token alone, and the hint names the provider', async () => {
  const body = { error: 'invalid_client', error_description: 'geheim' };
  await scene.provider.set({ fault: { path: '/token', count: 10, status: 401, body } });
  const { code, json } = await tested('appsecret');
  expect(code).toBe(1);
  expect(json.find(({ check }) => check === 'credential')).toMatchObject({ ok: true });
  const token = json.find(({ check }) => check === 'token');
  expect(token).toMatchObject({ ok: false, code: 'oauth_provider_refused' });
  expect(token?.['hint']).toContain('[oauth.appsecret]');
  expect(JSON.stringify(json)).not.toContain('geheim');
});

test('Exchange: the PowerShell lines have our client id and the mailbox in them', async () => {
  await add('m365', 'private@example.test', '--no-probe');
  const { code, json } = await tested('m365');
  expect(code).toBe(1);
  expect(json.at(-1)).toMatchObject({ code: 'login_refused', hint: hints.exchangeRefused });
  expect(json.at(-1)?.['steps']).toContain(
    'Add-MailboxPermission -Identity private@example.test -User ENTERPRISE_OBJECT_ID -AccessRights FullAccess',
  );
  const shown = await cli.run(['oauth', 'test', 'm365']);
  expect(shown.out).toMatch(/^ {10}New-ServicePrincipal -AppId test-app-secret -ObjectId ENTERPRISE_OBJECT_ID /m);
});

test('a secret that ends soon is a warning, one that has ended a failure', async () => {
  const file = join(cli.folder, 'ends.toml');
  const tables = (until: string) =>
    [
      ...['[oauth.ends]', 'kind = "oidc"', 'flow = "application"', 'client_id = "x"', 'scopes = ["mail"]'],
      ...[`client_secret_file = "${scene.provider.clientSecretFile}"`, `client_secret_until = ${until}`],
      ...[
        'token_endpoint = "http://127.0.0.1:9/t"',
        'imap_hosts = ["mail.example"]',
        'mailboxes = ["a@b.example"]',
        '',
      ],
    ].join('\n');
  await writeFile(file, tables('2026-02-10'));
  const soon = await cli.run(['check', '--config', file, '--json']);
  expect(soon.json.filter(({ check }) => check === 'provider ends')).toEqual([
    expect.objectContaining({ ok: true, message: expect.stringContaining('for 9 days more') }),
    expect.objectContaining({ ok: true, message: 'its credential ends in 9 days', hint: hints.oauthCredentialEnding }),
  ]);
  await writeFile(file, tables('2026-01-20'));
  const ended = await cli.run(['check', '--config', file, '--json']);
  expect(ended.json.find(({ check }) => check === 'provider ends')).toMatchObject({
    ...{ ok: false, hint: hints.oauthCredentialEnding },
  });
});

test('a token beyond 4 KB that the mail server drops is named by its size', async () => {
  await using long = await startScene({ format: 'jwt', tokens: 'local' });
  await long.provider.set({ padBytes: 6000 });
  await using commands = await long.open();
  const options = ['--name', 'box', ...long.server, '--user', 'box@example.test', '--oauth', 'appkey'];
  const added = await commands.run(['mailbox', 'add', ...options]);
  expect(added).toMatchObject({ code: 1, err: expect.stringContaining(hints.tokenTooLong) });
  expect(await commands.run(['mailbox', 'add', ...options, '--no-probe'])).toMatchObject({ code: 0 });
  const { json } = await commands.run(['oauth', 'test', 'appkey', '--json']);
  expect(json.filter(({ check }) => check === 'token').at(-1)).toMatchObject({ hint: hints.tokenTooLong });
  expect(json.at(-1)).toMatchObject({ ok: false, code: 'connection_lost', hint: hints.tokenTooLong });
});
