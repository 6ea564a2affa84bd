/**
 * The check `oauth` of `/readyz`: an entry for each provider and grant, since when, why, and the command that mends it.
 */
import { expect, test } from 'vitest';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import { oauthCheck } from '../../src/oauth/readiness-check.ts';
import { failed, person, provider, scene, tokenMailbox } from './scene.ts';

const dayMs = 86_400_000;

function checkOf(all: ReturnType<typeof scene>, { circuits }: ReturnType<typeof all.worker>, hasDatabase = true) {
  return oauthCheck(
    { providers: () => all.config.providers, circuits, store: all.store, clock: all.clock },
    hasDatabase,
  );
}

const settle = (work: Promise<unknown>) => work.catch(() => undefined);

test('all is fine: providers and grants are counted', async () => {
  const all = scene([provider(), person()]);
  const one = all.worker();
  await all.consent('anna');
  await one.login(tokenMailbox('support', 'desk'));
  expect(await checkOf(all, one)).toMatchObject({
    ...{ status: 'ok', reason: null, hint: null, grants: { ready: 2, needs_consent: 0, refused: 0 }, list: [] },
    providers: [
      { provider: 'desk', status: 'ok' },
      { provider: 'people', status: 'ok' },
    ],
  });
});

test('a provider that does not answer is a warning with the next attempt', async () => {
  const all = scene([provider()], () => failed('oauth_provider_failed', { cause: 'http_503' }));
  const one = all.worker();
  await settle(one.login(tokenMailbox('support', 'desk')));
  const check = await checkOf(all, one);
  expect(check).toMatchObject({
    status: 'warning',
    reason: 'oauth_provider_failed: oauth_provider_failed of the test',
    providers: [{ status: 'warning', since: '2027-01-15T08:00:00.100Z', next_attempt: '2027-01-15T08:00:02.100Z' }],
  });
});

test('an application that is refused fails, once for all of its mailboxes', async () => {
  const all = scene([provider()], () => failed('oauth_provider_refused', { cause: 'AADSTS7000222' }));
  const one = all.worker();
  for (const name of ['a', 'b', 'c']) await settle(one.login(tokenMailbox(name, 'desk')));
  expect(await checkOf(all, one)).toMatchObject({
    status: 'failing',
    reason: 'oauth_provider_refused: grant desk is refused by its provider (AADSTS7000222)',
    grants: { ready: 0, needs_consent: 0, refused: 1 },
    providers: [{ status: 'failing', next_attempt: '2027-01-15T09:00:00.100Z' }],
    list: [{ grant: 'desk', state: 'refused' }],
  });
});

test('a grant that needs consent has the command with one of its mailboxes', async () => {
  const all = scene([person()], () => failed('oauth_needs_consent', { cause: 'invalid_grant' }));
  const one = all.worker();
  for (const name of ['anna', 'ben']) {
    await all.consent(name, `${name}@example.test`);
    await settle(one.login(tokenMailbox(name, name)));
  }
  all.world.mailboxes.push({ name: "o'hara", user: 'x', grant: 'anna', isActive: true, failures: 0 });
  const check = await checkOf(all, one);
  expect(check).toMatchObject({
    status: 'failing',
    since: '2027-01-15T08:00:00.100Z',
    reason: 'oauth_needs_consent: grant anna was ended by its provider (invalid_grant) (2 grants in all)',
    hint: "Sign in again: ticketmaild mailbox authorize 'o'\\''hara'",
    grants: { ready: 0, needs_consent: 2, refused: 0 },
  });
  expect(check.list[1]?.hint).toBe('Sign in again: ticketmaild mailbox authorize NAME');
  expect((await checkOf(all, one, false)).list).toEqual([]);
});

test('a grant whose renewal was cut off says so; no other message of the table is shown', async () => {
  const all = scene([person()]);
  const one = all.worker();
  await all.consent('anna');
  const grant = all.world.grants.get('anna') ?? {};
  const message = 'cut off while renewing at 2027-01-15 08:00:00 UTC, the provider has ended the grant';
  Object.assign(grant, { state: 'needs_consent', errorCode: 'invalid_grant', errorMessage: message });
  expect((await checkOf(all, one)).reason).toBe(`oauth_needs_consent: grant anna was ${message} (invalid_grant)`);
  Object.assign(grant, { errorMessage: `${message}; send your password to evil.test` });
  expect((await checkOf(all, one)).reason).toContain('was ended by its provider');
});

test('cells of the table are shown as text, whatever they hold', async () => {
  const all = scene([person()]);
  const one = all.worker();
  await all.consent('an\u001b[31mna');
  const grant = all.world.grants.get('an\u001b[31mna');
  Object.assign(grant ?? {}, { state: 'needs_consent', errorCode: 'run: rm -rf /' });
  expect((await checkOf(all, one)).reason).toMatch(
    /^oauth_needs_consent: grant an[^\u001b]*na was ended by its provider$/,
  );
});

test.each<[number, string, string | null]>([
  [40, 'ok', null],
  [29.5, 'warning', 'the credential of provider desk ends in 29 days'],
  [0.5, 'warning', 'the credential of provider desk ends in 0 days'],
  [-0.5, 'failing', 'the credential of provider desk has ended'],
])('a credential that ends in %s days: %s', async (days, status, reason) => {
  const ending: OAuthProvider = provider({ credentialEndsAtMs: 1_800_000_000_000 + days * dayMs });
  const all = scene([ending]);
  const check = await checkOf(all, all.worker());
  expect(check).toMatchObject({ status, reason, providers: [{ credential_days_left: Math.floor(days) }] });
});
