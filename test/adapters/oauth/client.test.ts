/**
 * Each way to a token against a real OpenID provider: person, application, service account; what each error becomes.
 */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import type { Failure } from '../../../src/errors.ts';
import type { TokenAnswer } from '../../../src/oauth/ports.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { visitProvider } from '../../support/oauth/person.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const redirectUri = 'http://127.0.0.1:4711/oauth/callback';
const never = new AbortController().signal;
/** Sleeps a hundredth of the time, so that devices are polled often. */
const clock = {
  ...systemClock,
  sleep: (ms: number, signal: AbortSignal) => systemClock.sleep(ms / 100, signal),
};
const client = createProviderClient({ clock });
let provider: TestProvider;
let folder: TemporaryFolder;

beforeAll(async () => {
  provider = await startProvider();
  folder = await temporaryFolder('oauth');
});

afterEach(() => provider.set({ accessTtlS: 3600, rotation: 'strict', clockOffsetS: 0, fault: null }));

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function textOf(token: SecretBytes | null): string {
  return token === null ? '' : token.use((bytes) => Buffer.from(bytes).toString());
}

function secret(text: string): SecretBytes {
  return SecretBytes.take(Buffer.from(text));
}

async function failureOf(work: Promise<unknown>): Promise<Pick<Failure, 'code' | 'message' | 'hint' | 'fields'>> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ name: 'Failure' });
  return error as Failure;
}

/** The address that the browser of `user` ends at. */
async function browse(url: string, user: string, denies = false): Promise<string> {
  const ending = await visitProvider(url, user, { caPem: provider.caPem, denies });
  if (ending.kind !== 'address') throw new Error(`the browser stays at ${ending.heading}`);
  return ending.answer;
}

async function consent(settings: OAuthProvider, user: string): Promise<TokenAnswer> {
  const authorization = await client.authorize(settings, redirectUri, user);
  return await authorization.finish(await browse(authorization.url, user), never);
}

const withSecret = (): Partial<OAuthProvider> => ({
  clientId: 'test-secret',
  credential: { kind: 'secret', file: provider.clientSecretFile },
});
const withKey = (): Partial<OAuthProvider> => ({
  clientId: 'test-key',
  credential: { kind: 'private_key', keyFile: provider.appKeyFile, certificateFile: null },
});

describe.each([
  ['without a secret', () => ({})],
  ['with a secret', withSecret],
  ['with a key', withKey],
] as const)('a person and a client %s', (_title, changes) => {
  test('consents in a browser, and the refresh token is renewed', async () => {
    const settings = provider.settings(changes());
    const answer = await consent(settings, 'Ada@Example.test');
    expect(answer).toMatchObject({ expiresInMs: 3_600_000, account: 'ada@example.test', scope: expect.any(String) });
    const refreshToken = answer.refreshToken ?? secret('');
    const renewed = await client.requestToken(settings, { grantType: 'refresh_token', refreshToken }, never);
    const { tokens } = await provider.report();
    expect(tokens.at(-1)).toMatchObject({
      access: textOf(renewed.accessToken),
      refresh: textOf(renewed.refreshToken),
      used: textOf(refreshToken),
    });
    expect(textOf(refreshToken)).toBe(tokens.at(-2)?.refresh);
  });

  test('consents on a device', async () => {
    const settings = provider.settings(changes());
    const device = await client.startDevice(settings, never);
    expect(device.expiresInMs).toBe(120_000);
    const waiting = device.wait(never);
    const url = `${device.verificationUri}?user_code=${device.userCode}`;
    await visitProvider(url, 'bea@example.test', { caPem: provider.caPem });
    const answer = await waiting;
    expect(answer.account).toBe('bea@example.test');
    expect((await provider.report()).tokens.at(-1)?.refresh).toBe(textOf(answer.refreshToken));
  });
});

describe('an application', () => {
  test('gets a token by its key, its secret, and a secret with another line end', async () => {
    const file = join(folder.path, 'secret');
    const read = await readFile(provider.clientSecretFile, 'utf8');
    await writeFile(file, `${read.trimEnd()}\r\n`);
    const settings = provider.settings({ flow: 'application' });
    for (const changes of [
      {},
      { clientId: 'test-app-secret', credential: { kind: 'secret', file: provider.clientSecretFile } },
      { clientId: 'test-app-secret', credential: { kind: 'secret', file } },
    ] as const) {
      const answer = await client.requestToken({ ...settings, ...changes }, { grantType: 'client_credentials' }, never);
      expect(answer).toMatchObject({ refreshToken: null, account: null, scope: 'mail.app' });
      expect((await provider.report()).tokens.at(-1)?.access).toBe(textOf(answer.accessToken));
    }
  });

  test('is refused with a wrong secret', async () => {
    const file = join(folder.path, 'wrong');
    await writeFile(file, 'wrong-secret\n');
    const settings = provider.settings({
      flow: 'application',
      clientId: 'test-app-secret',
      credential: { kind: 'secret', file },
    });
    const failure = await failureOf(client.requestToken(settings, { grantType: 'client_credentials' }, never));
    expect(failure).toMatchObject({ code: 'oauth_provider_refused', fields: { cause: 'invalid_client' } });
  });

  test('whose secret is a named pipe or a folder fails at once', async () => {
    const pipe = join(folder.path, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const file of [pipe, folder.path]) {
      const settings = provider.settings({
        flow: 'application',
        clientId: 'test-app-secret',
        credential: { kind: 'secret', file },
      });
      const failure = await failureOf(client.requestToken(settings, { grantType: 'client_credentials' }, never));
      expect(failure).toMatchObject({
        code: 'oauth_provider_failed',
        fields: { cause: 'not_a_file', was_sent: false },
      });
    }
  });

  test('works with a clock that is ten minutes wrong, either way', async () => {
    const settings = provider.settings({ flow: 'application', name: 'skewed' });
    for (const clockOffsetS of [600, -600]) {
      await provider.set({ clockOffsetS });
      const before = await provider.count('client_credentials invalid_client');
      await client.requestToken(settings, { grantType: 'client_credentials' }, never);
      await client.requestToken(settings, { grantType: 'client_credentials' }, never);
      expect((await provider.count('client_credentials invalid_client')) - before).toBe(1);
      const { clockOffsetMs } = await client.probe(settings, never);
      expect(Math.abs((clockOffsetMs ?? 0) - clockOffsetS * 1000)).toBeLessThan(5000);
    }
  });
});

describe('a service account', () => {
  test('gets a token for a mailbox, with a wrong clock too', async () => {
    const settings = provider.settings({ flow: 'service_account', name: 'service' });
    for (const clockOffsetS of [0, -600]) {
      await provider.set({ clockOffsetS });
      const request = { grantType: 'jwt_bearer', subject: 'cleo@example.test' } as const;
      const answer = await client.requestToken(settings, request, never);
      expect((await provider.report()).tokens.at(-1)?.access).toBe(textOf(answer.accessToken));
    }
  });

  test('that is refused for one mailbox says nothing against the provider', async () => {
    const { endpoints } = provider.settings();
    const settings = provider.settings({
      flow: 'service_account',
      endpoints: { ...endpoints, token: `${endpoints.token}?` },
    });
    const request = { grantType: 'jwt_bearer', subject: 'cleo@example.test' } as const;
    const failure = await failureOf(client.requestToken(settings, request, never));
    expect(failure).toMatchObject({ code: 'mailbox_not_permitted', fields: { cause: 'invalid_grant' } });
  });
});

test.each([
  ['key_missing', 'no key\n'],
  ['key_encrypted', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n'],
  ['key_of_other_kind', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
  ['ENOENT', null],
])('a key file with %s is a failure that passes', async (cause, content) => {
  const file = join(folder.path, `key-${cause}`);
  if (content !== null) await writeFile(file, content);
  const settings = provider.settings({
    flow: 'application',
    credential: { kind: 'private_key', keyFile: file, certificateFile: null },
  });
  const failure = await failureOf(client.requestToken(settings, { grantType: 'client_credentials' }, never));
  expect(failure).toMatchObject({ code: 'oauth_provider_failed', fields: { cause, was_sent: false } });
  expect(failure.message).toContain(file);
});

describe('a refresh token', () => {
  const renew = (refreshToken: SecretBytes, signal = never) =>
    client.requestToken(provider.settings(), { grantType: 'refresh_token', refreshToken }, signal);

  test('that was used twice, or revoked, needs another consent', async () => {
    const { refreshToken } = await consent(provider.settings(), 'dan@example.test');
    const used = refreshToken ?? secret('');
    await renew(used);
    const failure = await failureOf(renew(used));
    expect(failure).toMatchObject({
      code: 'oauth_needs_consent',
      fields: { provider: 'test', cause: 'invalid_grant' },
    });
    expect(`${failure.message} ${failure.hint}`).not.toContain(textOf(used));
  });

  test('is not always rotated', async () => {
    await provider.set({ rotation: 'off' });
    const { refreshToken } = await consent(provider.settings(), 'eve@example.test');
    const renewed = await renew(refreshToken ?? secret(''));
    // oidc-provider repeats it where it does not rotate; others leave it out.
    expect(textOf(renewed.refreshToken)).toBe(textOf(refreshToken));
  });

  test('is revoked at the provider, once more without an error; without an endpoint nothing is asked', async () => {
    const { refreshToken } = await consent(provider.settings(), 'fay@example.test');
    const used = refreshToken ?? secret('');
    expect(await client.revoke(provider.settings(), used, never)).toBe(true);
    expect(await client.revoke(provider.settings(), used, never)).toBe(true);
    expect(await failureOf(renew(used))).toMatchObject({ code: 'oauth_needs_consent' });
    const { endpoints } = provider.settings();
    const without = provider.settings({ issuer: null, endpoints: { ...endpoints, revocation: null } });
    expect(await client.revoke(without, used, never)).toBe(false);
  });

  test.each([
    [{ status: 503 }, { cause: 'http_503' }],
    [
      { status: 429, headers: { 'retry-after': '7' } },
      { cause: 'http_429', retry_after_ms: 7000 },
    ],
    [{ status: 400, body: { error: 'temporarily_unavailable' } }, { cause: 'temporarily_unavailable' }],
    [{ status: 302, headers: { location: 'https://elsewhere.example.test/' } }, { cause: 'http_302' }],
    [{ status: 200, body: { access_token: 'x' } }, { cause: 'answer_not_conformant' }],
    [{ status: 200, body: { token_type: 'Bearer' } }, { cause: 'answer_not_conformant' }],
    [{ status: 200, body: 'hello' }, { cause: 'answer_not_conformant' }],
    [{ status: 200, body: { token_type: 'mac', access_token: 'x' } }, { cause: 'answer_not_conformant' }],
    [{ status: 200, body: { token_type: 'bearer', access_token: 'a\u0001b' } }, { cause: 'token_unreadable' }],
    [{ status: 200, body: { token_type: 'bearer', access_token: 'ä' } }, { cause: 'token_unreadable' }],
    [{ status: 200, body: { token_type: 'bearer', access_token: 'x'.repeat(12_001) } }, { cause: 'token_too_long' }],
    [{ drop: true }, { cause: 'answer_cut_off' }],
  ])('meets %o: a failure that passes', async (answer, fields) => {
    await provider.set({ fault: { path: '/token', count: 1, ...answer } });
    const failure = await failureOf(renew(secret('canary-of-the-token')));
    expect(failure).toMatchObject({ code: 'oauth_provider_failed', fields: { provider: 'test', ...fields } });
    expect(JSON.stringify([failure.message, failure.hint, failure.fields])).not.toContain('canary');
  });

  test('whose request waits for a discovery that fails was not sent', async () => {
    const settings = provider.settings();
    const discovered = { ...settings, endpoints: { ...settings.endpoints, token: null } };
    const path = '/.well-known/openid-configuration';
    const asked = { grantType: 'refresh_token', refreshToken: secret('x') } as const;
    for (const answer of [{ status: 500 }, { drop: true }]) {
      await provider.set({ fault: { path, count: 1, ...answer } });
      const failure = await failureOf(client.requestToken(discovered, asked, never));
      expect(failure).toMatchObject({ code: 'oauth_provider_failed', fields: { was_sent: false } });
    }
  });

  test('no words of the provider are shown', async () => {
    const words = 'the token canary-of-the-token is bad';
    const body = { error: 'invalid_grant', error_description: words, error_codes: [700_082], error_uri: words };
    await provider.set({ fault: { path: '/token', count: 1, status: 400, body } });
    const failure = await failureOf(renew(secret('canary-of-the-token')));
    expect(failure).toMatchObject({ code: 'oauth_needs_consent', fields: { cause: 'AADSTS700082' } });
    expect(failure.hint).toContain('90 days');
    expect(JSON.stringify([failure.message, failure.hint, failure.fields, failure])).not.toContain('canary');
  });

  test('a stopped request says so', async () => {
    await provider.set({ fault: { path: '/token', count: 1, delayMs: 5000, status: 200 } });
    const failure = await failureOf(renew(secret('x'), AbortSignal.any([stopSoon()])));
    expect(failure.code).toBe('interrupted');
  });

  function stopSoon(): AbortSignal {
    const stopping = new AbortController();
    setTimeout(() => stopping.abort(), 100);
    return stopping.signal;
  }
});

describe('a consent', () => {
  const start = () => client.authorize(provider.settings(), redirectUri, 'gil@example.test');

  test('asks with PKCE, state and the name of the person', async () => {
    const { url, state } = await start();
    const { searchParams } = new URL(url);
    expect(Object.fromEntries(searchParams)).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      redirect_uri: redirectUri,
      login_hint: 'gil@example.test',
      prompt: 'consent',
      state,
    });
    const google = provider.settings({ kind: 'google', prompt: null });
    expect((await client.authorize(google, redirectUri, '')).url).toMatch(/[?&]access_type=offline(&|$)/);
  });

  test('that is denied, of another state or issuer, or no address, stores nothing', async () => {
    const authorization = await start();
    const denied = await browse(authorization.url, 'gil@example.test', true);
    const fails = async (answer: string) => failureOf(authorization.finish(answer, never));
    expect(await fails(denied)).toMatchObject({ code: 'oauth_consent_refused', fields: { cause: 'access_denied' } });
    const { state, url } = authorization;
    for (const answer of [
      'hello',
      url,
      redirectUri,
      `${redirectUri}?code=x&state=other`,
      `${redirectUri}?code=x`,
      `${redirectUri}?code=x&state=${state}&state=${state}`,
      `${redirectUri}?code=x&state=${state}&iss=https://other.example.test`,
      `${redirectUri}?code=x&state=${state}&iss=${provider.issuer}&iss=${provider.issuer}`,
    ]) {
      expect((await fails(answer)).code, answer).toBe('oauth_consent_refused');
    }
    const subtle = `${redirectUri}?state=${state}&error=invalid_client&error_description=AADSTS650052:+secret+words`;
    expect(await fails(subtle)).toMatchObject({ code: 'oauth_provider_refused', fields: { cause: 'invalid_client' } });
    const prompt = await fails(`${redirectUri}?state=${state}&error=invalid_request&error_description=secret+words`);
    expect(prompt.hint).toMatch(/may not support prompt=consent: set prompt = "none" in .*redirect address.*--device/);
    expect(`${prompt.message} ${prompt.hint}`).not.toContain('secret words');
  });

  test('is good once', async () => {
    const authorization = await start();
    const answer = await browse(authorization.url, 'gil@example.test');
    await authorization.finish(`  ${answer}\n`, never);
    expect(await failureOf(authorization.finish(answer, never))).toMatchObject({ code: 'oauth_consent_refused' });
    const another = await start();
    const code = new URL(answer).searchParams.get('code');
    const stolen = await failureOf(another.finish(`${redirectUri}?code=${code}&state=${another.state}`, never));
    expect(stolen).toMatchObject({ code: 'oauth_consent_refused', fields: { cause: 'invalid_grant' } });
  });

  test('without offline_access has no refresh token', async () => {
    const settings = provider.settings({ scopes: ['openid', 'mail'] });
    expect((await consent(settings, 'gil@example.test')).refreshToken).toBeNull();
  });

  test('on a device that is denied, or that is never used, is refused', async () => {
    const device = await client.startDevice(provider.settings(), never);
    const waiting = failureOf(device.wait(never));
    const url = `${device.verificationUri}?user_code=${device.userCode}`;
    await visitProvider(url, 'hal@example.test', { caPem: provider.caPem, denies: true });
    expect(await waiting).toMatchObject({ code: 'oauth_consent_refused', fields: { cause: 'access_denied' } });
    let nowMs = 0;
    const pass = (ms: number): void => {
      nowMs += ms;
    };
    const hasty = createProviderClient({
      clock: { ...clock, monotonicMs: () => nowMs, sleep: async (ms) => pass(ms * 10) },
    });
    const late = await hasty.startDevice(provider.settings(), never);
    await provider.set({ fault: { path: '/token', count: 1, status: 400, body: { error: 'slow_down' } } });
    expect(await failureOf(late.wait(never))).toMatchObject({ fields: { cause: 'expired_token' } });
    const stopped = await client.startDevice(provider.settings(), never);
    expect((await failureOf(stopped.wait(AbortSignal.abort()))).code).toBe('interrupted');
  });
});

describe('discovery', () => {
  const none = { token: null, authorization: null, device: null, revocation: null };

  test('completes the endpoints, once', async () => {
    const settings = provider.settings({ flow: 'application', endpoints: none });
    const fresh = createProviderClient({ clock });
    const name = '/.well-known/openid-configuration 200';
    const before = await provider.count(name);
    await fresh.requestToken(settings, { grantType: 'client_credentials' }, never);
    await fresh.requestToken(settings, { grantType: 'client_credentials' }, never);
    expect((await provider.count(name)) - before).toBe(1);
    expect(await fresh.probe(settings, never)).toMatchObject({
      issuer: provider.issuer,
      tokenEndpoint: provider.endpoints.token,
    });
    await provider.set({ fault: { path: '/token', count: 1, status: 503 } });
    await failureOf(fresh.requestToken(settings, { grantType: 'client_credentials' }, never));
    await fresh.requestToken(settings, { grantType: 'client_credentials' }, never);
    expect((await provider.count(name)) - before).toBe(3);
  });

  test('of another issuer is refused, and so is an endpoint that is not https', async () => {
    const path = '/.well-known/openid-configuration';
    const settings = provider.settings({ flow: 'application', endpoints: none });
    const metadata = { issuer: provider.issuer, token_endpoint: 'http://elsewhere.example.test/token' };
    for (const [body, cause] of [
      [{ ...metadata, issuer: 'https://other.example.test' }, 'issuer_mismatch'],
      [metadata, 'not_https'],
      [{ ...metadata, token_endpoint: 'http://127.0.0.1:1/token' }, 'not_https'],
      [
        { ...metadata, token_endpoint: provider.endpoints.token, authorization_endpoint: 'javascript:a()' },
        'not_https',
      ],
    ] as const) {
      await provider.set({ fault: { path, count: 1, status: 200, body } });
      const failing = client.requestToken(settings, { grantType: 'client_credentials' }, never);
      expect(await failureOf(failing)).toMatchObject({ code: 'oauth_provider_failed', fields: { cause } });
    }
  });

  test('without an issuer the missing endpoint is named', async () => {
    const { endpoints } = provider.settings();
    const settings = provider.settings({ issuer: null, endpoints: { ...endpoints, device: null } });
    const failure = await failureOf(client.startDevice(settings, never));
    expect(failure).toMatchObject({ code: 'config_invalid', message: 'The provider test has no device_endpoint.' });
  });
});
