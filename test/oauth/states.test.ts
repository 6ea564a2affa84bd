/** States of grants and providers: what is tried again when, what is asked of whom, and what the operator reads. */
import { expect, test } from 'vitest';
import type { Failure } from '../../src/errors.ts';
import { providerFailure } from '../../src/oauth/provider-errors.ts';
import { failed, person, provider, type Scene, scene, secret, tokenMailbox } from './scene.ts';

const codeOf = (work: Promise<unknown>) => work.then(String, (error: Failure) => error.code);
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: Failure) => error,
  );
const support = tokenMailbox('support', 'desk');
const anna = tokenMailbox('anna', 'anna');
const hourMs = 3_600_000;

function advance({ clock, world }: Scene, ms: number): void {
  clock.at.monotonicMs += ms;
  clock.at.nowMs += ms;
  world.nowMs += ms;
}

function eventsOf({ lines }: Scene): readonly string[] {
  return lines.map(([event]) => event).filter((event) => event !== 'oauth.renewed');
}

test('a revoked grant needs consent: one request, no login, again after an hour and then daily, until a consent', async () => {
  const all = scene([person()], () => failed('oauth_needs_consent', { cause: 'invalid_grant' }));
  await all.consent('anna');
  const { login } = all.worker();
  expect(await codeOf(login(anna))).toBe('oauth_needs_consent');
  advance(all, hourMs / 2);
  expect(await failureOf(login(anna))).toMatchObject({
    code: 'oauth_needs_consent',
    message: 'since 2027-01-15 08:00:00 UTC, grant anna: oauth_needs_consent of the test',
    hint: 'Sign in again: ticketmaild mailbox authorize anna',
  });
  expect(all.requests).toHaveLength(1);
  advance(all, hourMs / 2 + 1000);
  expect(await codeOf(login(anna))).toBe('oauth_needs_consent');
  advance(all, 23 * hourMs);
  expect(await codeOf(login(anna))).toBe('oauth_needs_consent');
  expect(all.requests).toHaveLength(2);
  advance(all, hourMs);
  expect(await codeOf(login(anna))).toBe('oauth_needs_consent');
  expect(all.requests).toHaveLength(3);
  expect(eventsOf(all)).toEqual([]);
  await all.consent('anna');
  all.config.script = () => ({});
  expect(await login(anna)).toEqual(['access 4']);
  expect(all.world.grants.get('anna')).toMatchObject({ state: 'ready', errorCode: null });
});

test('a grant that was never cut off is not said to be, nor after an answer that refused nothing', async () => {
  const answers = [failed('oauth_provider_failed', { cause: 'http_429' }), failed('oauth_needs_consent', {})];
  const all = scene([person()], () => answers.shift() ?? {});
  await all.consent('anna');
  const { login } = all.worker();
  expect(await codeOf(login(anna))).toBe('oauth_provider_failed');
  advance(all, 5000);
  expect((await failureOf(login(anna)))?.message).not.toContain('cut off');
});

test('a discovery that fails sends no refresh token, so that nothing was cut off', async () => {
  const unsent = failed('oauth_provider_failed', { cause: 'ECONNRESET', was_sent: false });
  const answers = [unsent, failed('oauth_needs_consent', {})];
  const all = scene([person()], () => answers.shift() ?? {});
  await all.consent('anna');
  const { login } = all.worker();
  expect(await codeOf(login(anna))).toBe('oauth_provider_failed');
  advance(all, 5000);
  expect((await failureOf(login(anna)))?.message).not.toContain('cut off');
});

test('a token that can never be stored is not tried again, and its claim ends', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`next ${number}`) }));
  await all.consent('anna');
  const { login, sealing } = all.worker();
  const { prepare } = sealing;
  let tries = 0;
  sealing.prepare = async () => {
    tries += 1;
    throw failed('token_damaged');
  };
  expect(await codeOf(login(anna))).toBe('token_damaged');
  await all.clock.sleep(10_000, new AbortController().signal);
  expect(tries).toBe(1);
  sealing.prepare = prepare;
  expect(await login(anna)).toEqual(['access 2']);
});

test('a lost answer leaves the mark of the first request', async () => {
  const lost = () => failed('oauth_provider_failed', { cause: 'ECONNRESET' });
  const answers = [lost(), failed('oauth_provider_failed', { cause: 'http_429' }), failed('oauth_needs_consent', {})];
  const all = scene([person()], () => answers.shift() ?? {});
  await all.consent('anna');
  const { login } = all.worker();
  for (const _ of [1, 2]) {
    expect(await codeOf(login(anna))).toBe('oauth_provider_failed');
    advance(all, 10_000);
  }
  expect((await failureOf(login(anna)))?.message).toBe(
    'cut off while renewing at 2027-01-15 08:00:00 UTC, the provider has ended the grant',
  );
});

test('an application that the provider refuses is asked for every hour, and at once after a reload', async () => {
  const all = scene([provider()], () => failed('oauth_provider_refused', { cause: 'invalid_client' }));
  const { login, circuits, failures } = all.worker();
  for (let time = 0; time < 3; time += 1) expect(await codeOf(login(support))).toBe('oauth_provider_refused');
  expect([all.requests.length, eventsOf(all)]).toEqual([1, ['oauth.provider_refused']]);
  expect(all.world.grants.get('desk')).toMatchObject({ state: 'refused', errorCode: 'invalid_client' });
  circuits.reset();
  await failures.retryRefused();
  expect(await codeOf(login(support))).toBe('oauth_provider_refused');
  expect(all.requests).toHaveLength(2);
  advance(all, hourMs + 1000);
  all.config.script = () => ({});
  expect(await login(support)).toEqual(['access 3']);
  expect(all.world.grants.get('desk')?.state).toBe('ready');
  expect(eventsOf(all).at(-1)).toBe('oauth.provider_recovered');
});

test('no person is asked to consent for an application, and a stored token is used until it ends', async () => {
  const all = scene([provider()], (_, number) =>
    number === 1 ? {} : failed('oauth_needs_consent', { cause: 'invalid_grant' }),
  );
  const { login } = all.worker();
  await login(support);
  advance(all, hourMs - 60_000);
  expect(await login(support)).toEqual(['access 1']);
  expect(all.requests).toHaveLength(2);
  advance(all, 61_000);
  expect(await codeOf(login(support))).toBe('oauth_provider_refused');
  expect([all.requests.length, all.world.grants.get('desk')?.state]).toEqual([2, 'ready']);
  advance(all, hourMs);
  expect(await codeOf(login(support))).toBe('oauth_provider_refused');
  expect([all.requests.length, all.world.grants.get('desk')?.state]).toEqual([3, 'refused']);
  expect(eventsOf(all)).toEqual(['oauth.provider_refused']);
});

test('a start and a reload let a refused grant ask again, in every worker', async () => {
  const all = scene([provider()], () => failed('oauth_provider_refused', { cause: 'invalid_client' }));
  await codeOf(all.worker('one').login(support));
  expect(all.world.grants.get('desk')?.retryAtMs).toBe(all.world.nowMs + hourMs);
  await all.worker('two').failures.retryRefused();
  expect(all.world.grants.get('desk')).toMatchObject({ state: 'refused', retryAtMs: all.world.nowMs });
});

test('one mailbox that a service account may not open stops no other', async () => {
  const all = scene([provider({ flow: 'service_account' })], ({ of }) =>
    of.startsWith('gone') ? failed('mailbox_not_permitted', { cause: 'invalid_grant' }) : {},
  );
  const { login } = all.worker();
  expect(await codeOf(login(tokenMailbox('gone', 'desk')))).toBe('mailbox_not_permitted');
  expect(await login(support)).toEqual(['access 2']);
  expect(all.world.grants.get('desk')?.state).toBe('ready');
  expect(eventsOf(all)).toEqual(['oauth.renewal_failed']);
});

test('fifty grants of a failing provider are one probe at a time, with back-off and Retry-After', async () => {
  const all = scene([person()], () => failed('oauth_provider_failed', { cause: 'http_503' }));
  const names = Array.from({ length: 50 }, (_, at) => `p${at}`);
  for (const name of names) await all.consent(name, `${name}@example.test`);
  const { login } = all.worker();
  const round = async (): Promise<number> => {
    const before = all.requests.length;
    await Promise.all(names.map((name) => codeOf(login(tokenMailbox(name, name)))));
    return all.requests.length - before;
  };
  expect(await codeOf(login(tokenMailbox('p0', 'p0')))).toBe('oauth_provider_failed');
  expect(await round()).toBe(0);
  advance(all, 2500);
  expect(await round()).toBe(1);
  advance(all, 2500);
  expect(await round()).toBe(0);
  all.config.script = () => failed('oauth_provider_failed', { cause: 'http_429', retry_after_ms: 30_000 });
  advance(all, 2500);
  expect(await round()).toBe(1);
  advance(all, 29_000);
  expect(await round()).toBe(0);
  advance(all, 2000);
  all.config.script = () => ({});
  // The probe of p0 failed last: others wait, and one of them is next.
  expect(await codeOf(login(tokenMailbox('p0', 'p0')))).toBe('oauth_provider_failed');
  expect(await codeOf(login(tokenMailbox('p1', 'p1')))).toBe('access 4');
  expect(await round()).toBe(49);
  expect(eventsOf(all)).toEqual(['oauth.provider_failing', 'oauth.provider_recovered']);
  expect(all.world.grants.get('p1')?.state).toBe('ready');
});

test('a provider that is down for 25 minutes fails no login while the stored token is good', async () => {
  const all = scene([provider()], (_, number) =>
    number === 1 ? {} : failed('oauth_provider_failed', { cause: 'http_500' }),
  );
  const { login, renewals } = all.worker();
  await login(support);
  const grant = await all.store.ensureGrant('desk', provider());
  for (let minute = 0; minute < 58; minute += 1) {
    advance(all, 60_000);
    await renewals.renewDue(grant, provider(), 'support@example.test').catch(() => undefined);
    expect(await login(support)).toEqual(['access 1']);
  }
  expect(eventsOf(all)).toEqual(['oauth.provider_failing']);
});

test('a provider that fails does not hold up another one', async () => {
  const all = scene([provider(), person()], (request) =>
    request.provider === 'desk' ? failed('oauth_provider_failed', {}) : { refreshToken: secret('next') },
  );
  await all.consent('anna');
  const { login } = all.worker();
  expect(await codeOf(login(support))).toBe('oauth_provider_failed');
  expect(await login(anna)).toEqual(['access 2']);
});

test.each([
  ['a user that is not listed', { user: 'boss@other.test' }, 'oauth_mailbox_not_listed'],
  ['another server', { host: 'mail.evil.test' }, 'token_bound_elsewhere'],
  ['a pin of the row', { fingerprint: 'ab'.repeat(32) }, 'token_bound_elsewhere'],
])('for %s the provider is not asked, and nothing is opened', async (_, change, code) => {
  const all = scene([provider()]);
  const { login } = all.worker();
  const connection = { ...support.connection, ...change };
  expect(await codeOf(login({ ...support, connection }))).toBe(code);
  await login(support);
  const before = all.requests.length;
  const { readAccess } = all.store;
  let reads = 0;
  all.store.readAccess = async (use) => {
    reads += 1;
    return await readAccess(use);
  };
  expect(await codeOf(login({ ...support, connection }))).toBe(code);
  expect([all.requests.length - before, reads]).toEqual([0, 0]);
});

test('a grant without a provider, and one without a consent, say so', async () => {
  const all = scene([person()]);
  const { login } = all.worker();
  expect(await codeOf(login(tokenMailbox('anna', 'nowhere')))).toBe('oauth_provider_unknown');
  expect(await codeOf(login(tokenMailbox('anna', 'people')))).toBe('oauth_needs_consent');
  await all.consent('anna');
  all.config.providers = [provider()];
  expect(await codeOf(login(anna))).toBe('oauth_provider_unknown');
  expect(all.requests).toEqual([]);
});

test('a row that claims another flow or provider is converted before anything is asked', async () => {
  const all = scene([provider({ mailboxes: [] }), person({ mailboxes: [] })]);
  const by = { who: 'root@desk', host: 'desk' };
  const refresh = { form: 'plain', token: secret('stolen'), switchRevision: 0 } as const;
  await all.store.storeConsent({
    name: 'desk',
    provider: 'people',
    account: 'boss@example.test',
    scope: null,
    refresh,
    by,
  });
  expect(await codeOf(all.worker().login(tokenMailbox('boss', 'desk')))).toBe('oauth_mailbox_not_listed');
  expect(all.requests).toEqual([]);
});

test.each([
  ['65001 of Microsoft', 'oauth_provider_refused', { error: 'invalid_grant', microsoftNumbers: [65_001] }],
  ['unauthorized_client', 'oauth_provider_refused', { error: 'unauthorized_client' }],
  ['a request that is too large', 'oauth_provider_failed', { status: 413 }],
  ['an error of its own', 'oauth_provider_failed', { error: 'not_today' }],
])('a grant that is refused alone stops no other grant of its provider: %s', async (_, code, answer) => {
  const response = { status: 400, error: null, microsoftNumbers: [], retryAfter: null, atMs: 0, ...answer };
  const all = scene([person()], ({ of }) =>
    of.includes('mallory') ? providerFailure('people', 'refresh', response) : { expiresInMs: 600_000 },
  );
  await all.consent('mallory', 'mallory@example.test');
  await all.consent('anna');
  const { login, circuits } = all.worker();
  const mallory = tokenMailbox('mallory', 'mallory');
  for (let time = 0; time < 3; time += 1) {
    expect(await codeOf(login(mallory))).toBe(code);
    expect(await login(anna)).toEqual([`access ${all.requests.length}`]);
    advance(all, hourMs + 1000);
  }
  expect([all.requests.length, circuits.troubleOf('people'), eventsOf(all)[0]]).toEqual([
    ...[6, null],
    'oauth.renewal_failed',
  ]);
  expect(all.world.grants.get('anna')?.state).toBe('ready');
});

test('a grant that is refused alone is asked for every hour, and no login fails while its stored token is good', async () => {
  const refusal = failed('oauth_provider_refused', { cause: 'AADSTS65001', concerns: 'grant' });
  const all = scene([person()], (_, number) => (number === 1 ? {} : refusal));
  await all.consent('anna');
  const { login, renewals } = all.worker();
  await login(anna);
  advance(all, hourMs / 2 + 1000);
  const grant = await all.store.grantByName('anna');
  if (grant === null) throw new Error('no grant');
  expect(await codeOf(renewals.renewDue(grant, person(), anna.connection.user))).toBe('oauth_provider_refused');
  expect(await login(anna)).toEqual(['access 1']);
  expect(all.world.grants.get('anna')).toMatchObject({ state: 'refused', errorCode: 'AADSTS65001' });
  advance(all, hourMs / 2);
  expect(await codeOf(login(anna))).toBe('oauth_provider_refused');
  expect(all.requests).toHaveLength(2);
  advance(all, hourMs);
  all.config.script = () => ({});
  expect(await login(anna)).toEqual(['access 3']);
});

test('a grant whose probe failed lets another one probe next', async () => {
  const all = scene([person()], ({ of }) =>
    of.includes('mallory') ? failed('oauth_provider_failed', { cause: 'http_500' }) : {},
  );
  await all.consent('mallory', 'mallory@example.test');
  await all.consent('anna');
  const { login } = all.worker();
  const mallory = tokenMailbox('mallory', 'mallory');
  expect(await codeOf(login(mallory))).toBe('oauth_provider_failed');
  expect(await codeOf(login(anna))).toBe('oauth_provider_failed');
  advance(all, 2500);
  expect(await codeOf(login(mallory))).toBe('oauth_provider_failed');
  expect(all.requests).toHaveLength(1);
  expect(await login(anna)).toEqual(['access 2']);
});
