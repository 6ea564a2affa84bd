/**
 * Error responses of providers as a table: which failure, which cause, and that none of their words is shown.
 */
import { describe, expect, test } from 'vitest';
import type { FailureCode } from '../../src/errors.ts';
import { type ProviderErrorResponse, providerFailure, type RequestPurpose } from '../../src/oauth/provider-errors.ts';

const atMs = Date.parse('2026-11-01T00:00:00Z');

function response(changes: Partial<ProviderErrorResponse>): ProviderErrorResponse {
  return { status: 400, error: null, microsoftNumbers: [], retryAfter: null, atMs, ...changes };
}

type Row = readonly [error: string, Readonly<Record<RequestPurpose, FailureCode>>];

const refusal = 'oauth_provider_refused';
const passing = 'oauth_provider_failed';
const person = {
  refresh: 'oauth_needs_consent',
  application: refusal,
  mailbox: 'mailbox_not_permitted',
  consent: 'oauth_consent_refused',
} as const;
const application = { refresh: refusal, application: refusal, mailbox: refusal, consent: refusal } as const;
const transient = { refresh: passing, application: passing, mailbox: passing, consent: passing } as const;

const rows: readonly Row[] = [
  ['invalid_grant', person],
  ['interaction_required', person],
  ['invalid_scope', person],
  ['invalid_request', person],
  ['access_denied', person],
  ['invalid_client', application],
  ['unauthorized_client', { ...application, mailbox: 'mailbox_not_permitted' }],
  ['unsupported_grant_type', application],
  ['temporarily_unavailable', transient],
  ['server_error', transient],
  ['slow_down', transient],
  ['constructor', transient],
  ['the token is abc', transient],
];

describe.each(rows)('the error %s', (error, expected) => {
  test.each(Object.entries(expected))('for the purpose %s is %s', (purpose, code) => {
    const failure = providerFailure('m365', purpose as RequestPurpose, response({ error }));
    expect(failure.code).toBe(code);
    const isShown = /^[a-z_]+$/.test(error) && error !== 'constructor';
    expect(failure.fields).toMatchObject({ provider: 'm365', cause: isShown ? error : 'http_400' });
    expect(`${failure.message}${failure.hint}`).not.toContain('abc');
  });
});

test.each([
  [50173, 'oauth_needs_consent', 'mailbox authorize'],
  [700082, 'oauth_needs_consent', '90 days'],
  [50076, 'oauth_needs_consent', 'multi-factor'],
  [53003, 'oauth_needs_consent', 'Conditional Access'],
  [65001, 'oauth_provider_refused', 'Grant admin consent'],
  [7000222, 'oauth_provider_refused', 'client_secret_file'],
  [7000215, 'oauth_provider_refused', 'Secret ID'],
  [700016, 'oauth_provider_refused', 'client_id'],
  [90002, 'oauth_provider_refused', 'tenant'],
  [90033, 'oauth_provider_failed', 'automatically'],
])('AADSTS%i is %s, whatever the code of RFC 6749 says', (number, code, words) => {
  const failure = providerFailure(
    'm365',
    'refresh',
    response({ error: 'invalid_grant', microsoftNumbers: [1, number] }),
  );
  expect(failure).toMatchObject({ code, fields: { cause: `AADSTS${number}` } });
  expect(failure.hint).toContain(words);
});

test.each<readonly [error: string, number: number, concerns: string | undefined]>([
  ['invalid_client', 1, undefined],
  ['unsupported_grant_type', 1, undefined],
  ['invalid_grant', 700_016, undefined],
  ['invalid_grant', 7_000_215, undefined],
  ['invalid_grant', 7_000_222, undefined],
  ['invalid_grant', 700_027, undefined],
  ['unauthorized_client', 1, 'grant'],
  ['invalid_grant', 65_001, 'grant'],
  ['invalid_grant', 65_006, 'grant'],
  ['invalid_grant', 90_094, 'grant'],
])('a refresh token that is refused with %s, %i', (error, number, concerns) => {
  const { code, fields } = providerFailure('m365', 'refresh', response({ error, microsoftNumbers: [number] }));
  expect([code, fields['concerns']]).toEqual(['oauth_provider_refused', concerns]);
});

test('a status without a known code is a failure that passes; 429 and 5xx are, whatever the code', () => {
  for (const status of [302, 404, 401, 500])
    expect(providerFailure('a', 'refresh', response({ status }))).toMatchObject({
      code: 'oauth_provider_failed',
      fields: { cause: `http_${status}` },
    });
  for (const status of [429, 503])
    expect(providerFailure('a', 'refresh', response({ status, error: 'invalid_grant' }))).toMatchObject({
      code: 'oauth_provider_failed',
      fields: { cause: 'invalid_grant' },
    });
});

test.each([
  ['7', 7000],
  ['0', 0],
  ['999999999', 3_600_000],
  ['Sun, 01 Nov 2026 00:02:00 GMT', 120_000],
  ['Sat, 31 Oct 2026 00:00:00 GMT', 0],
  ['soon', undefined],
  ['-5', 0],
  ['1e9', undefined],
])('Retry-After: %s', (retryAfter, ms) => {
  const { fields } = providerFailure('a', 'refresh', response({ status: 429, retryAfter }));
  expect(fields['retry_after_ms']).toBe(ms);
});
