/** Why a grant gives no tokens, and the command that mends it, whatever stands in the cells of its row. */
import { expect, test } from 'vitest';
import { describeGrant } from '../../../src/commands/oauth/grants.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import type { Grant } from '../../../src/oauth/model.ts';

const sinceMs = Date.UTC(2026, 0, 31);
const grant: Grant = {
  ...{ id: '1', name: 'anna', provider: 'm365', flow: 'person', account: 'anna@example.test', state: 'ready' },
  ...{ stateSinceMs: sinceMs, errorCode: null, errorMessage: null, retryInMs: null, cutOffAtMs: null },
};
const provider: OAuthProvider = {
  ...{ name: 'm365', kind: 'microsoft', flow: 'person', tenant: 'contoso.example', clientId: 'x' },
  ...{ issuer: null, endpoints: { token: 'https://x/token', authorization: null, device: null, revocation: null } },
  ...{ credential: { kind: 'none' }, credentialEndsAtMs: null, scopes: [], prompt: null, mailboxes: [] },
  ...{ imapHosts: [], sessionEndsWithToken: true, caPem: null, proxy: null },
};

test('a grant that works has nothing to do; one of an application is created on first use', () => {
  expect(describeGrant(grant, provider, 'box')).toEqual({ condition: 'ready', sinceMs, why: null, remedy: null });
  const application = { ...provider, flow: 'application' } as const;
  expect(describeGrant(null, application, 'box')).toMatchObject({ condition: 'unused', why: null, remedy: null });
});

test.each([
  ['needs_consent', 'the provider ended the grant (invalid_grant)', 'ticketmaild mailbox authorize box'],
  ['refused', 'the provider refuses the application (invalid_grant)', 'ticketmaild oauth test m365'],
] as const)('%s: since when, why, and the command', (state, why, remedy) => {
  const ended = { ...grant, state, errorCode: 'invalid_grant' };
  expect(describeGrant(ended, provider, 'box')).toEqual({ condition: state, sinceMs, why, remedy });
});

test('no provider in the configuration, and no consent yet', () => {
  expect(describeGrant(grant, null, 'box')).toMatchObject({
    condition: 'unknown_provider',
    remedy: expect.any(String),
  });
  const never = describeGrant(null, provider, 'box');
  expect(never).toMatchObject({ condition: 'needs_consent', remedy: 'ticketmaild mailbox authorize box' });
});

test('a grant that no mailbox uses: the command has its name and its provider', () => {
  const ended = { ...grant, name: 'anna b', state: 'needs_consent' } as const;
  expect(describeGrant(ended, provider, null).remedy).toBe(
    "Add a mailbox with it: ticketmaild mailbox add --oauth m365 --grant='anna b'",
  );
});

test('what stands in the cells is one printable line, and its name one argument', () => {
  const hostile = { ...grant, state: 'needs_consent', errorCode: '$(x)', errorMessage: 'a\u001b[31m\nb' } as const;
  expect(describeGrant(hostile, provider, '; calc')).toMatchObject({
    why: 'a\\x1b[31m b',
    remedy: "ticketmaild mailbox authorize '; calc'",
  });
  expect(describeGrant({ ...hostile, errorMessage: null }, provider, 'a\u202eb')).toMatchObject({
    why: 'the provider ended the grant',
    remedy: expect.stringContaining('no command is shown'),
  });
});
