/**
 * A daemon whose mailboxes open with tokens of a real provider: one per flow, on a Dovecot that asks the provider at
 * each login. Tokens last for seconds, so that they are renewed all the time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkOf, count, mail, metrics, opened, readiness } from '../support/instance.ts';
import { startProvider, type TestProvider } from '../support/oauth/provider.ts';
import { openTokenSetting } from '../support/oauth/token-setting.ts';
import { named } from '../support/processes/daemon.ts';
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

/** Lines of Dovecot that name Anna: each login, and each that was refused. */
async function loginsOfAnna(): Promise<number> {
  return (await dovecot.log()).split('\n').filter((line) => line.includes(users.anna) && /Login|auth/.test(line))
    .length;
}

/** Renewals of a provider that succeeded, the first token included. */
function renewals(text: string, name: string): number {
  const line = new RegExp(`^ticketmaild_oauth_renewals_total\\{provider="${name}",result="ok"\\} (\\d+)$`, 'm');
  return Number(line.exec(text)?.[1] ?? 0);
}

test('mail of an application, a service account and a person becomes tickets, while tokens are renewed; a revocation shows', {
  timeout: 120_000,
}, async () => {
  await provider.set({ accessTtlS: 6 });
  await using setting = await openTokenSetting({ provider, dovecot }, [
    { name: 'app', as: 'key', lines: ['mailboxes = ["support@example.test"]'] },
    { name: 'service', as: 'service' },
    { name: 'people', as: 'person' },
  ]);
  for (const [grant, user] of Object.entries(users)) await setting.add(user, grant, { name: grant });
  await setting.consent('anna', users.anna);
  const daemon = await setting.start({ TICKETMAILD_LOG_LEVEL: 'debug' });
  for (const round of [1, 2, 3]) {
    for (const user of Object.values(users))
      await dovecot.append(user, 'INBOX', [mail(`${user.split('@')[0]}-${round}`)]);
    await until(`tickets of round ${round}`, async () => opened(daemon) === 3 * round);
    await until(`renewal ${round} of each`, async () => {
      const text = await metrics(daemon);
      return ['app', 'service', 'people'].every((name) => renewals(text, name) > round);
    });
  }
  const { body } = await readiness(daemon);
  expect(body.checks.oauth).toMatchObject({ status: 'ok', grants: { ready: 3, needs_consent: 0, refused: 0 } });
  expect(count(daemon, 'poll.failed')).toBe(0);

  let before = (await provider.report()).counters;
  let quickestMs = Number.POSITIVE_INFINITY;
  let revocations = 0;
  // Half the life time of a token, and a second of the scheduler. Of three the quickest counts: other processes add.
  for (; revocations < 3 && quickestMs >= 4000; revocations += 1) {
    if (revocations > 0) await setting.consent('anna', users.anna);
    await until('it is ready', async () => (await readiness(daemon)).body.checks.oauth.grants.ready === 3);
    before = (await provider.report()).counters;
    const revokedMs = performance.now();
    await provider.revoke(users.anna);
    await until(
      'consent is needed',
      async () => (await readiness(daemon)).body.checks.oauth.grants.needs_consent === 1,
    );
    quickestMs = Math.min(quickestMs, performance.now() - revokedMs);
  }
  expect(quickestMs).toBeLessThan(4000);
  await until('the mailbox fails', async () => (await checkOf(daemon, 'anna'))?.status === 'failing');
  const { oauth } = (await readiness(daemon)).body.checks;
  expect(oauth).toMatchObject({
    status: 'failing',
    reason: 'oauth_needs_consent: grant anna was ended by its provider (invalid_grant)',
    hint: 'Sign in again: ticketmaild mailbox authorize anna',
  });
  expect(await metrics(daemon)).toMatch(/ticketmaild_oauth_grants\{state="needs_consent"\} 1/);
  const logins = await loginsOfAnna();
  expect(logins).toBeGreaterThan(3);
  await dovecot.append(users.anna, 'INBOX', [mail('anna-meantime')]);
  await sleep(6000);
  expect(await loginsOfAnna()).toBe(logins);
  const refused = (await provider.report()).counters['refresh_token invalid_grant'] ?? 0;
  expect(refused - (before['refresh_token invalid_grant'] ?? 0)).toBe(1);
  const warned = Array(revocations).fill({ level: 'warn', grant: 'anna' });
  expect(daemon.lines.filter(named('oauth.needs_consent'))).toMatchObject(warned);

  await setting.consent('anna', users.anna);
  await until('anna works again', async () => (await checkOf(daemon, 'anna'))?.status === 'ok');
  await until('mail of the meantime', async () => opened(daemon) === 10);
  await dovecot.append(users.anna, 'INBOX', [mail('anna-back')]);
  await until('her ticket', async () => opened(daemon) === 11);
});
