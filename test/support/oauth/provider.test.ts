/**
 * The OpenID provider that tests run against does what it says, and Dovecot takes its tokens.
 */
import { request } from 'node:https';
import { json } from 'node:stream/consumers';
import { ImapFlow } from 'imapflow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../servers/dovecot.ts';
import { visitProvider } from './person.ts';
import { startProvider, type TestProvider } from './provider.ts';

let provider: TestProvider;
let providerOfJwts: TestProvider;

beforeAll(async () => {
  [provider, providerOfJwts] = await Promise.all([startProvider(), startProvider({ tokenFormat: 'jwt' })]);
});

afterAll(async () => {
  await provider[Symbol.asyncDispose]();
  await providerOfJwts[Symbol.asyncDispose]();
});

type Answer = { readonly status: number; readonly date: number; readonly body: Readonly<Record<string, string>> };

function post(url: string, form: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    request(url, { method: 'POST', ca: provider.caPem, agent: false, headers }, async (response) => {
      const date = Date.parse(response.headers.date ?? '');
      resolve({ status: response.statusCode ?? 0, date, body: (await json(response)) as Answer['body'] });
    })
      .on('error', reject)
      .end(new URLSearchParams(form).toString());
  });
}

const device = 'urn:ietf:params:oauth:grant-type:device_code';

/** Tokens of a person, by a device. */
async function signIn(user: string, { endpoints, caPem } = provider): Promise<Answer['body']> {
  const scope = 'openid email offline_access mail';
  const { body } = await post(endpoints.device, { client_id: 'test-public', scope });
  const ending = await visitProvider(body.verification_uri_complete ?? '', user, { caPem });
  expect(ending).toEqual({ kind: 'page', heading: 'Sign-in Success' });
  const form = { grant_type: device, client_id: 'test-public', device_code: body.device_code ?? '' };
  return (await post(endpoints.token, form)).body;
}

const refresh = (token: string | undefined): Promise<Answer> =>
  post(provider.endpoints.token, {
    grant_type: 'refresh_token',
    client_id: 'test-public',
    refresh_token: token ?? '',
  });

test('a person signs in on a device; a refresh token used twice ends its family', async () => {
  const first = await signIn('ada@example.test');
  const second = await refresh(first.refresh_token);
  expect(second.status).toBe(200);
  expect((await refresh(first.refresh_token)).body.error).toBe('invalid_grant');
  expect((await refresh(second.body.refresh_token)).body.error).toBe('invalid_grant');
  const { tokens, counters } = await provider.report();
  expect(tokens.map(({ refresh: one }) => one)).toContain(second.body.refresh_token);
  expect(counters).toMatchObject({ 'refresh_token 200': 1, 'refresh_token invalid_grant': 2 });
});

test('its knobs: rotation, faults, its clock, and a revocation', async () => {
  const { refresh_token: token } = await signIn('bea@example.test');
  await provider.set({ rotation: 'off', clockOffsetS: 600 });
  const answer = await refresh(token);
  expect(answer.status).toBe(200);
  expect(Math.abs(answer.date - Date.now() - 600_000)).toBeLessThan(5_000);
  const fault = { path: '/token', count: 1, status: 429, headers: { 'retry-after': '7' } };
  await provider.set({ clockOffsetS: 0, fault });
  expect((await refresh(token)).status).toBe(429);
  await provider.set({ fault: { path: '/token', count: 1, drop: true } });
  await expect(refresh(token)).rejects.toThrow();
  await provider.revoke('bea@example.test');
  expect((await refresh(token)).body.error).toBe('invalid_grant');
  await provider.set({ rotation: 'strict' });
});

describe.each(['introspection', 'local'] as const)('Dovecot that checks tokens by %s', (mode) => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    dovecot = await startDovecot({ tokens: { mode, provider: mode === 'local' ? providerOfJwts : provider } });
  });
  afterAll(() => dovecot[Symbol.asyncDispose]());

  async function login(user: string, auth: object): Promise<void> {
    const client = new ImapFlow({
      ...{ host: dovecot.host, port: dovecot.tlsPort, secure: true, logger: false, tls: { ca: dovecot.caPem } },
      auth: { user, ...auth } as never,
    });
    client.on('error', () => client.close());
    try {
      await client.connect();
      await client.logout();
    } finally {
      client.close();
    }
  }

  test('opens the mailbox that the token names, and no other; passwords work beside', async () => {
    const { access_token: accessToken } = await signIn(
      'cleo@example.test',
      mode === 'local' ? providerOfJwts : provider,
    );
    await login('cleo@example.test', { accessToken });
    await login('dan@example.test', { pass: 'pw' });
    await expect(login('dan@example.test', { accessToken })).rejects.toThrow();
    await expect(login('cleo@example.test', { accessToken: 'x' })).rejects.toThrow();
    await expect(login('cleo@example.test', { pass: accessToken })).rejects.toThrow();
  });
});
