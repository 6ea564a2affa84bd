/**
 * Provider outages beside a running daemon: down, throttling (429), lost answers, another clock, credentials that end.
 * Each with what the operator sees: the log, `/readyz`, the metric that an alert rule watches.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { checkOf, count, mail, metrics, opened, readiness } from '../support/instance.ts';
import {
  openTokenServers,
  openTokenSetting,
  type ProviderTable,
  type TokenServers,
  type TokenSetting,
} from '../support/oauth/token-setting.ts';
import { type Daemon, type LogLine, named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { readCertificates } from '../support/servers/authority.ts';
import { runProgram } from '../support/servers/programs.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';

type Scene = TokenServers & { readonly setting: TokenSetting } & AsyncDisposable;

/** Servers of its own for each test: their faults hold for all clients, and tests that wait run side by side. */
async function openScene(change: Parameters<typeof openTokenServers>[0], ...tables: ProviderTable[]): Promise<Scene> {
  await using building = new AsyncDisposableStack();
  const servers = building.use(await openTokenServers({ rotation: 'strict', ...change }));
  const setting = building.use(await openTokenSetting(servers, tables));
  const stack = building.move();
  return { ...servers, setting, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const oauthOf = async (daemon: Daemon) => (await readiness(daemon)).body.checks.oauth;

async function tokenRequests({ provider }: TokenServers): Promise<number> {
  const { counters } = await provider.report();
  const isToken = (name: string): boolean => /^(refresh_token|client_credentials|urn:\S+jwt-bearer) /.test(name);
  return Object.entries(counters).reduce((sum, [name, number]) => sum + (isToken(name) ? number : 0), 0);
}

let messages = 0;

/** A message to this user becomes a ticket. */
async function expectTicket({ dovecot }: TokenServers, daemon: Daemon, user: string): Promise<void> {
  const before = opened(daemon);
  messages += 1;
  await dovecot.append(user, 'INBOX', [mail(`outage-${messages}`)]);
  await until('the ticket', async () => opened(daemon) === before + 1);
}

const errorOf = (line: LogLine | undefined) => line?.['error'] as { code?: string; message?: string } | undefined;

test.concurrent('a provider that is down for half the life of a token fails no poll, warns once, and is asked by one probe at a time', {
  timeout: 120_000,
}, async () => {
  await using scene = await openScene(
    { accessTtlS: 40 },
    { name: 'app', as: 'key' },
    { name: 'service', as: 'service' },
  );
  const { setting, provider } = scene;
  await setting.add('down-app@example.test', 'app');
  for (const at of [1, 2, 3]) await setting.add(`down-${at}@example.test`, 'service');
  const daemon = await setting.start();
  await expectTicket(scene, daemon, 'down-app@example.test');
  await expectTicket(scene, daemon, 'down-1@example.test');
  await provider.set({ fault: { path: '/token', count: 1e6, status: 503 } });
  const before = await tokenRequests(scene);
  await daemon.waitFor(named('oauth.provider_failing'));
  await sleep(4000);
  // Two providers, each asked at half the life time, then after 2 s and 4 s.
  expect((await tokenRequests(scene)) - before).toBeLessThanOrEqual(6);
  expect(await oauthOf(daemon)).toMatchObject({
    status: 'warning',
    reason: expect.stringMatching(/^oauth_provider_failed: The provider (app|service) .*\(http_503\)/),
    grants: { ready: 2, needs_consent: 0, refused: 0 },
  });
  expect((await readiness(daemon)).status).toBe(200);
  expect(await metrics(daemon)).toMatch(/ticketmaild_check_reason\{check="oauth",code="oauth_provider_failed"\} 1/);
  const { stdout } = await setting.command('status');
  expect(stdout.match(/http_503/g)).toHaveLength(1);
  await expectTicket(scene, daemon, 'down-2@example.test');
  await provider.set({ fault: null });
  await until('the warning is gone', async () => (await oauthOf(daemon)).status === 'ok');
  await expectTicket(scene, daemon, 'down-3@example.test');
  const failing = daemon.lines.filter(named('oauth.provider_failing')).map((line) => line['provider']);
  expect(failing.length).toBe(new Set(failing).size);
  expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
});

test.concurrent('a 429 with Retry-After is not asked again sooner', { timeout: 120_000 }, async () => {
  const fault = { path: '/token', count: 1, status: 429, headers: { 'retry-after': '7' } };
  await using scene = await openScene({ fault }, { name: 'app', as: 'secret' });
  const { setting } = scene;
  await setting.add('throttled@example.test', 'app');
  const before = await tokenRequests(scene);
  const daemon = await setting.start();
  const { at } = await until('the first answer', async () =>
    (await tokenRequests(scene)) > before ? { at: performance.now() } : null,
  );
  await until('the next request', async () => (await tokenRequests(scene)) === before + 2);
  expect(performance.now() - at).toBeGreaterThan(6500);
  await expectTicket(scene, daemon, 'throttled@example.test');
  expect(errorOf(daemon.lines.find(named('oauth.provider_failing')))).toMatchObject({
    message: expect.stringContaining('http_429'),
  });
});

test.concurrent.each(['lenient', 'strict'] as const)(
  'an answer is lost at a %s provider',
  { timeout: 120_000 },
  async (rotation) => {
    const user = `lost-${rotation}@example.test`;
    await using scene = await openScene({ accessTtlS: 6, rotation }, { name: 'people', as: 'person' });
    const { setting, provider } = scene;
    await setting.consent(rotation, user);
    await setting.add(user, rotation);
    const daemon = await setting.start();
    await expectTicket(scene, daemon, user);
    await provider.set({ fault: { path: '/token', count: 1, drop: true } });
    await daemon.waitFor(named('oauth.provider_failing'));
    if (rotation === 'lenient') {
      await daemon.waitFor(named('oauth.provider_recovered'));
      await expectTicket(scene, daemon, user);
      expect(await oauthOf(daemon)).toMatchObject({ status: 'ok', grants: { ready: 1 } });
      return;
    }
    const sentence =
      /^grant strict was cut off while renewing at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, the provider has ended the grant/;
    expect(errorOf(await daemon.waitFor(named('oauth.needs_consent')))?.message).toMatch(sentence);
    const shown = {
      status: 'failing',
      reason: expect.stringMatching(/^oauth_needs_consent: grant strict was cut off while renewing at .* UTC/),
      hint: 'Sign in again: ticketmaild mailbox authorize lost-strict',
    };
    expect(await oauthOf(daemon)).toMatchObject(shown);
    await until('the mailbox fails', async () => (await checkOf(daemon, 'lost-strict'))?.status === 'failing');
    expect(await checkOf(daemon, 'lost-strict')).toMatchObject(shown);
  },
);

test.concurrent.each([600, -600])(
  'the clock of the provider is %i s ahead: application and service account work',
  async (offsetS) => {
    const change = { clockOffsetS: offsetS, accessTtlS: 60 };
    await using scene = await openScene(change, { name: 'app', as: 'key' }, { name: 'service', as: 'service' });
    const { setting } = scene;
    for (const grant of ['app', 'service']) await setting.add(`clock${offsetS}-${grant}@example.test`, grant);
    const daemon = await setting.start();
    for (const grant of ['app', 'service']) await expectTicket(scene, daemon, `clock${offsetS}-${grant}@example.test`);
    expect(count(daemon, 'poll.failed')).toBe(0);
    expect((await oauthOf(daemon)).status).toBe('ok');
  },
);

test.concurrent('a secret that is wrong is one alert for 50 mailboxes; a new file and a reload mend all without a restart', {
  timeout: 120_000,
}, async () => {
  await using scene = await openScene({});
  const { setting, provider, dovecot } = scene;
  const file = join(setting.instance.folder, 'secret');
  await writeFile(file, 'the secret of last year\n', { mode: 0o600 });
  await setting.configure([{ name: 'app', as: 'secret', lines: [`client_secret_file = ${JSON.stringify(file)}`] }]);
  const users = Array.from({ length: 50 }, (_, at) => `fifty-${at}@example.test`);
  for (const user of users) {
    await setting.add(user, 'app');
    messages += 1;
    await dovecot.append(user, 'INBOX', [mail(`fifty-${messages}`)]);
  }
  const before = await provider.count('client_credentials invalid_client');
  const daemon = await setting.start();
  await until('all fail', async () => {
    const { list } = (await readiness(daemon)).body.checks.mailboxes;
    return list.filter(({ status }) => status === 'failing').length === 50;
  });
  const { status, reason, list } = await oauthOf(daemon);
  expect([status, reason]).toEqual([
    'failing',
    expect.stringMatching(/^oauth_provider_refused: .*\(?invalid_client\)?/),
  ]);
  expect(list).toMatchObject([{ grant: 'app', state: 'refused' }]);
  expect(count(daemon, 'oauth.provider_refused')).toBe(1);
  expect(await provider.count('client_credentials invalid_client')).toBe(before + 1);
  expect(await metrics(daemon)).toMatch(/ticketmaild_oauth_grants\{state="refused"\} 1/);
  await writeFile(file, await readFile(provider.clientSecretFile), { mode: 0o600 });
  daemon.signal('SIGHUP');
  await until('all mail is a ticket', async () => opened(daemon) === 50, 60_000);
  await until('nothing is left', async () => (await oauthOf(daemon)).status === 'ok');
});

test.concurrent('a certificate and a secret that end within 20 days are a warning, one that has ended a failure', async () => {
  await using scene = await openScene({});
  const { setting, provider } = scene;
  const path = join(setting.instance.folder, 'soon.pem');
  const ofKey = ['-key', provider.appKeyFile, '-subj', '/CN=ticketmaild', '-out', path];
  await runProgram('openssl', ['req', '-x509', ...ofKey, '-days', '20']);
  const until20 = new Date(Date.now() + 20.5 * 86_400_000).toISOString().slice(0, 10);
  const soon: ProviderTable = { name: 'soon', as: 'key', lines: [`certificate_file = ${JSON.stringify(path)}`] };
  const secret: ProviderTable = { name: 'secret', as: 'secret', lines: [`client_secret_until = ${until20}`] };
  await setting.configure([soon, secret]);
  const daemon = await setting.start();
  const check = await oauthOf(daemon);
  expect(check.status).toBe('warning');
  expect(check.providers.map(({ provider: name, status, credential_days_left: days }) => [name, status, days])).toEqual(
    [
      ['soon', 'warning', expect.toSatisfy((days: number) => days === 19 || days === 20)],
      ['secret', 'warning', expect.toSatisfy((days: number) => days === 19 || days === 20)],
    ],
  );
  await until('both are logged', async () => count(daemon, 'oauth.credential_ending') === 2);
  expect(await metrics(daemon)).toMatch(
    /ticketmaild_oauth_credential_left_seconds\{provider="soon"\} (1641600|1728000)\n/,
  );
  const { certificateFile } = await readCertificates(await certificatesTemplate(), 'expired');
  await setting.configure([
    { name: 'soon', as: 'key', lines: [`certificate_file = ${JSON.stringify(certificateFile)}`] },
    secret,
  ]);
  daemon.signal('SIGHUP');
  await until('it has ended', async () => (await oauthOf(daemon)).status === 'failing');
  expect((await oauthOf(daemon)).reason).toBe('the credential of provider soon has ended');
});
