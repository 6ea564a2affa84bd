/** Renewal: one request for all who need a token, nothing lost between answer and commit, margins by life time. */
import { expect, test } from 'vitest';
import type { Failure } from '../../src/errors.ts';
import { failed, person, provider, scene, secret, textOf, tokenMailbox } from './scene.ts';

const codeOf = (work: Promise<unknown>) => work.then(String, (error: Failure) => error.code);
const support = tokenMailbox('support', 'desk');
const anna = tokenMailbox('anna', 'anna');

test('fifty mailboxes of two workers share one token of an application, for one request', async () => {
  const { worker, requests } = scene([provider()]);
  const workers = [worker('one'), worker('two')];
  const logins = Array.from({ length: 50 }, (_, at) => workers[at % 2]?.login(tokenMailbox(`box${at}`, 'desk')));
  expect(new Set((await Promise.all(logins)).flat())).toEqual(new Set(['access 1']));
  expect(requests).toEqual([{ provider: 'desk', grantType: 'client_credentials', of: '' }]);
});

test('a service account asks for each mailbox, with its name in the assertion', async () => {
  const { worker, requests } = scene([provider({ flow: 'service_account' })]);
  const { login } = worker();
  await login(support);
  await login(tokenMailbox('sales', 'desk'));
  await login(support);
  expect(requests.map(({ grantType, of }) => [grantType, of])).toEqual([
    ['jwt_bearer', 'support@example.test'],
    ['jwt_bearer', 'sales@example.test'],
  ]);
});

test('a rotated refresh token replaces the former one, and both are wiped', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`refresh ${number}`), expiresInMs: 20_000 }));
  await all.consent('anna');
  const { login } = all.worker();
  await login(anna);
  all.clock.at.monotonicMs += 15_000;
  all.world.nowMs += 15_000;
  await login(anna);
  expect(all.requests.map(({ of }) => of)).toEqual(['refresh of anna', 'refresh 1']);
  expect(all.answers.map(({ accessToken, refreshToken }) => [accessToken.length, refreshToken?.length])).toEqual([
    [0, 0],
    [0, 0],
  ]);
});

test('a token of 20 s is used until its renewal is due, by a worker that did not request it too', async () => {
  const { worker, requests, clock, world } = scene([provider()], () => ({ expiresInMs: 20_000 }));
  await worker('one').login(support);
  const advance = (ms: number) => {
    clock.at.monotonicMs += ms;
    world.nowMs += ms;
  };
  advance(7500);
  await worker('two').login(support);
  expect(requests).toHaveLength(1);
  advance(3000);
  await worker('two').login(support);
  expect(requests).toHaveLength(2);
});

test('tokens survive a database that is away at the commit, and are stored when it is back', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`refresh ${number}`) }));
  await all.consent('anna');
  const { storeRenewal } = all.store;
  let failures = 3;
  all.store.storeRenewal = async (...args) => {
    if (failures-- > 0) throw failed('database_unavailable');
    return await storeRenewal(...args);
  };
  const { login, renewals } = all.worker();
  expect(await codeOf(login(anna))).toBe('database_unavailable');
  expect(await codeOf(login(anna))).toBe('database_unavailable');
  await renewals[Symbol.asyncDispose]();
  expect(all.requests).toHaveLength(1);
  expect(await all.worker('two').login(anna)).toEqual(['access 1']);
  expect(all.answers[0]?.refreshToken?.length).toBe(0);
  all.clock.at.monotonicMs += 3_700_000;
  all.world.nowMs += 3_700_000;
  await all.worker('two').login(anna);
  expect(all.requests.map(({ of }) => of)).toEqual(['refresh of anna', 'refresh 1']);
});

test('tokens whose claim another worker took while the database was away are stored, if no newer ones were stored', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`refresh ${number}`) }));
  await all.consent('anna');
  const grantId = all.world.grants.get('anna')?.id ?? '';
  const { storeRenewal, claimRenewal, releaseRenewal } = all.store;
  all.store.storeRenewal = async (claim) => {
    all.store.storeRenewal = storeRenewal;
    all.world.nowMs += 50_000;
    const other = await claimRenewal({ grantId, username: '' }, 'other', 5000, Infinity);
    if (other.kind === 'claimed') await releaseRenewal(other.claim, false);
    expect(other.kind).toBe('claimed');
    expect(claim.owner).toBe('one');
    throw failed('database_unavailable');
  };
  const { login, renewals } = all.worker();
  expect(await codeOf(login(anna))).toBe('database_unavailable');
  await renewals[Symbol.asyncDispose]();
  expect(await all.worker('two').login(anna)).toEqual(['access 1']);
});

test('a consent while the database was away is not overwritten by tokens of the former grant', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`refresh ${number}`) }));
  await all.consent('anna');
  const { storeRenewal } = all.store;
  all.store.storeRenewal = async () => {
    all.store.storeRenewal = storeRenewal;
    await all.consent('anna');
    const grant = all.world.grants.get('anna');
    if (grant !== undefined) grant.refresh = { form: 'plain', bytes: Buffer.from('of the new consent'), keyId: null };
    throw failed('database_unavailable');
  };
  const { login, renewals } = all.worker();
  expect(await codeOf(login(anna))).toBe('database_unavailable');
  await renewals[Symbol.asyncDispose]();
  await all.worker('two').login(anna);
  expect(all.requests.map(({ of }) => of)).toEqual(['refresh of anna', 'of the new consent']);
});

test('a switch that changes between sealing and storing costs no request', async () => {
  const all = scene([provider()]);
  const { storeRenewal } = all.store;
  let calls = 0;
  all.store.storeRenewal = async (...args) => {
    calls += 1;
    if (calls === 1) all.world.switchRevision += 1;
    return await storeRenewal(...args);
  };
  expect(await all.worker().login(support)).toEqual(['access 1']);
  expect([calls, all.requests.length]).toEqual([2, 1]);
});

test('a worker killed between answer and commit leaves a mark, and the next refusal says that it was cut off', async () => {
  const all = scene([person()], (_, number) =>
    number === 1 ? {} : failed('oauth_needs_consent', { cause: 'invalid_grant' }),
  );
  await all.consent('anna');
  const { storeRenewal } = all.store;
  all.store.storeRenewal = () => new Promise(() => undefined);
  void all.worker('killed').login(anna);
  await all.clock.sleep(1000, new AbortController().signal);
  all.store.storeRenewal = storeRenewal;
  const failure = await all
    .worker('two')
    .login(anna)
    .catch((error: Failure) => error);
  expect(failure).toMatchObject({
    code: 'oauth_needs_consent',
    message: 'cut off while renewing at 2027-01-15 08:00:00 UTC, the provider has ended the grant',
    hint: 'Sign in again: ticketmaild mailbox authorize anna',
  });
  expect(all.world.grants.get('anna')).toMatchObject({
    state: 'needs_consent',
    errorCode: 'invalid_grant',
    askedAtMs: null,
  });
  // It waited for the claim of the dead worker.
  expect(all.requests).toHaveLength(2);
});

test('a token that the mail server refuses is replaced once, and once only', async () => {
  const { worker, requests, clock, world } = scene([provider()]);
  const { login } = worker();
  await login(support);
  clock.at.monotonicMs += 120_000;
  world.nowMs += 120_000;
  expect(await login(support, (token) => token === 'access 2')).toEqual(['access 1', 'access 2']);
  expect(requests).toHaveLength(2);
  clock.at.monotonicMs += 120_000;
  world.nowMs += 120_000;
  expect(await codeOf(login(support, () => false))).toBe('login_refused');
  expect(requests).toHaveLength(3);
  clock.at.monotonicMs += 120_000;
  world.nowMs += 120_000;
  expect(await codeOf(login(support, () => false))).toBe('login_refused');
  expect(requests).toHaveLength(3);
});

test('a token of 8 s that ends on the way to the mail server is replaced', async () => {
  const all = scene([provider()], () => ({ expiresInMs: 8000 }));
  const { login } = all.worker();
  await login(support);
  all.clock.at.monotonicMs += 3000;
  all.world.nowMs += 3000;
  expect(await login(support, (token) => token === 'access 2')).toEqual(['access 1', 'access 2']);
  expect(await codeOf(login(support, () => false))).toBe('login_refused');
  expect(all.requests).toHaveLength(2);
});

test('a row that a rotation resealed while its former form was opened is read again', async () => {
  const all = scene([person()]);
  await all.consent('anna');
  const { login, sealing } = all.worker();
  await login(anna);
  const { open } = sealing;
  let opened = 0;
  sealing.open = async (...given) => {
    opened += 1;
    if (opened === 1) throw failed('key_unknown');
    return await open(...given);
  };
  expect(await login(anna)).toEqual(['access 1']);
  sealing.open = async () => {
    throw failed('key_unknown');
  };
  expect(await codeOf(login(anna))).toBe('key_unknown');
  expect(all.requests).toHaveLength(1);
});

test('a token that another worker renewed replaces a refused one without a request', async () => {
  const { worker, requests, clock, world } = scene([provider()]);
  const [one, two] = [worker('one'), worker('two')];
  await one.login(support);
  clock.at.monotonicMs += 120_000;
  world.nowMs += 120_000;
  const seen: string[] = [];
  await one.login(support, (token) => {
    seen.push(token);
    return token !== 'access 1';
  });
  expect(seen).toEqual(['access 1', 'access 2']);
  clock.at.monotonicMs += 120_000;
  world.nowMs += 120_000;
  expect(await two.login(support)).toEqual(['access 2']);
  expect(requests).toHaveLength(2);
});

test('a step of the clock of this machine changes nothing', async () => {
  const { worker, requests, clock } = scene([provider()]);
  const { login } = worker();
  await login(support);
  for (const ms of [-86_400_000, 864_000_000]) {
    clock.at.nowMs += ms;
    expect(await login(support)).toEqual(['access 1']);
  }
  expect(requests).toHaveLength(1);
});

test('a stop waits for the request in progress, and its token is stored', async () => {
  const all = scene([provider()]);
  const one = all.worker('one');
  const login = one.login(support);
  await all.clock.sleep(50, new AbortController().signal);
  await one.renewals[Symbol.asyncDispose]();
  expect(await login).toEqual(['access 1']);
  expect(await all.worker('two').login(support)).toEqual(['access 1']);
  all.world.nowMs += 3_700_000;
  expect(await codeOf(one.login(support))).toBe('interrupted');
  expect(all.requests).toHaveLength(1);
});

test('a modified access token is requested again', async () => {
  const all = scene([provider()]);
  const { login } = all.worker();
  await login(support);
  for (const row of all.world.access.values()) row.token?.bytes.fill(0x41);
  expect(await login(support)).toEqual(['access 2']);
});

test('a token is lent as secret bytes, and wiped after the login', async () => {
  const all = scene([provider()]);
  const { renewals } = all.worker();
  const grant = await all.store.ensureGrant('desk', provider());
  const { secret: token, remainingMs } = await renewals.accessFor(grant, provider(), 'support@example.test');
  expect([textOf(token), remainingMs]).toEqual(['access 1', 3_599_900]);
  token.wipe();
});
