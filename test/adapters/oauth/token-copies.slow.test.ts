/**
 * No copy of a token, a client secret or a private key is left in a core dump: after many requests of each kind, and
 * after one consent of each way with its login. What is searched, and the control: support/leaks/token-dump.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copiesAfterConsents, copiesAfterRequests } from '../../support/leaks/token-dump.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { findProgram } from '../../support/servers/programs.ts';

const none = { refresh: 0, access: 0, base64: 0, secret: 0, lines: 0, limbs: 0, der: 0 };
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

async function expectNoCopies(times: number): Promise<void> {
  expect(await copiesAfterRequests(provider, 'bytes', times)).toEqual({ tokens: 4 * times + 1, ...none });
  const control = await copiesAfterRequests(provider, 'fetch', times);
  for (const kind of ['refresh', 'access', 'secret', 'limbs'] as const) expect(control[kind]).toBeGreaterThan(0);
}

describe.skipIf(findProgram('gcore') === null)('a core dump holds no secret; with fetch it does', () => {
  test('after 30 requests of each kind', { timeout: 300_000 }, () => expectNoCopies(30));

  test('after 200 requests of each kind', { timeout: 300_000, tags: ['long'] }, () => expectNoCopies(200));

  test('after one consent of each way, with the login that proves it', { timeout: 120_000 }, async () => {
    expect(await copiesAfterConsents({ provider, dovecot }, 'bytes')).toEqual({ tokens: 6, ...none });
  });

  test('the control of the consents', { timeout: 120_000, tags: ['long'] }, async () => {
    const control = await copiesAfterConsents({ provider, dovecot }, 'fetch');
    for (const kind of ['refresh', 'access'] as const) expect(control[kind]).toBeGreaterThan(0);
  });
});
