/**
 * A daemon whose mailboxes open with tokens of a real provider: one per flow, on a Dovecot that asks the provider at
 * each login. Tokens last for seconds, so that they are renewed all the time.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../src/adapters/oauth/client.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import { checkOf, count, type Instance, mail, metrics, opened, openInstance, readiness } from '../support/instance.ts';
import { visitProvider } from '../support/oauth/person.ts';
import { startProvider, type TestProvider } from '../support/oauth/provider.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';

let provider: TestProvider;
let dovecot: Dovecot;

beforeAll(async () => {
  provider = await startProvider();
  dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

const users = { app: 'support@example.test', service: 'sales@example.test', anna: 'anna@example.test' };

function configuration(): string {
  const common = [
    'kind = "oidc"',
    `issuer = ${JSON.stringify(provider.issuer)}`,
    `ca_file = ${JSON.stringify(provider.caFile)}`,
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
  ];
  const table = (name: string, ...lines: readonly string[]) => [`[oauth.${name}]`, ...common, ...lines, ''];
  const key = JSON.stringify(provider.appKeyFile);
  const application = ['flow = "application"', 'client_id = "test-app-key"', `private_key_file = ${key}`];
  const service = ['flow = "service_account"', `service_account_file = ${JSON.stringify(provider.serviceAccountFile)}`];
  return [
    ...table('app', ...application, 'scopes = ["mail.app"]', 'mailboxes = ["support@example.test"]'),
    ...table('service', ...service, 'scopes = ["mail"]', 'mailboxes = ["*@example.test"]'),
    ...table(
      'people',
      'flow = "person"',
      'client_id = "test-public"',
      'scopes = ["openid", "email", "offline_access", "mail"]',
    ),
  ].join('\n');
}

async function addMailbox({ app }: Instance, grant: keyof typeof users): Promise<Mailbox> {
  const user = users[grant];
  const mailbox: Mailbox = {
    ...{ id: crypto.randomUUID(), name: grant, grant, addresses: [user], state: 'active', pollIntervalMs: null },
    ...{ start: { from: 'all' }, postAction: { kind: 'seen' } },
    connection: {
      ...{ host: dovecot.host, port: dovecot.tlsPort, tls: 'implicit', caPem: null, fingerprint: null },
      ...{ allowPlaintext: false, user, folder: 'INBOX' },
    },
  };
  await app.store.addMailbox(mailbox, null, null, app.actor);
  return mailbox;
}

/** Anna signs in on a device; her refresh token is stored as a helpdesk would write it. */
async function consent({ app }: Instance): Promise<void> {
  const client = createProviderClient({ clock: systemClock });
  const { signal } = new AbortController();
  const device = await client.startDevice(provider.settings(), signal);
  await visitProvider(`${device.verificationUri}?user_code=${device.userCode}`, users.anna, { caPem: provider.caPem });
  const { refreshToken, accessToken, scope } = await device.wait(signal);
  accessToken.wipe();
  if (refreshToken === null) throw new Error('no refresh token');
  const refresh = { form: 'plain', token: refreshToken, switchRevision: 0 } as const;
  const by = app.actor;
  await app.store.storeConsent({ name: 'anna', provider: 'people', account: users.anna, scope, refresh, by });
  refreshToken.wipe();
}

test('mail of an application, a service account and a person becomes tickets, while tokens are renewed; a revocation shows', {
  timeout: 120_000,
}, async () => {
  await provider.set({ accessTtlS: 6 });
  await using instance = await openInstance();
  const file = join(instance.folder, 'ticketmaild.toml');
  await writeFile(file, configuration());
  for (const grant of Object.keys(users) as (keyof typeof users)[]) await addMailbox(instance, grant);
  await consent(instance);
  const daemon = instance.start({ TICKETMAILD_CONFIG: file, TICKETMAILD_LOG_LEVEL: 'debug' });
  for (const round of [1, 2, 3]) {
    for (const user of Object.values(users))
      await dovecot.append(user, 'INBOX', [mail(`${user.split('@')[0]}-${round}`)]);
    await until(`tickets of round ${round}`, async () => opened(daemon) === 3 * round);
    await new Promise((resolve) => setTimeout(resolve, 5000));
  }
  const { body } = await readiness(daemon);
  expect(body.checks.oauth).toMatchObject({ status: 'ok', grants: { ready: 3, needs_consent: 0, refused: 0 } });
  expect(count(daemon, 'poll.failed')).toBe(0);
  expect(await metrics(daemon)).toMatch(/ticketmaild_oauth_renewals_total\{provider="people",result="ok"\} [3-9]/);
  const before = (await provider.report()).counters;
  await provider.revoke(users.anna);
  await until('consent is needed', async () => (await readiness(daemon)).body.checks.oauth.grants.needs_consent === 1);
  await until('the mailbox fails', async () => (await checkOf(daemon, 'anna'))?.status === 'failing');
  const { oauth } = (await readiness(daemon)).body.checks;
  expect(oauth).toMatchObject({
    status: 'failing',
    reason: 'oauth_needs_consent: grant anna was ended by its provider (invalid_grant)',
    hint: 'Sign in again: ticketmaild mailbox authorize anna',
  });
  const refused = (await provider.report()).counters['refresh_token invalid_grant'] ?? 0;
  expect(refused - (before['refresh_token invalid_grant'] ?? 0)).toBe(1);
  await consent(instance);
  await until('anna works again', async () => (await checkOf(daemon, 'anna'))?.status === 'ok');
  await dovecot.append(users.anna, 'INBOX', [mail('anna-back')]);
  await until('her ticket', async () => opened(daemon) === 10);
});
