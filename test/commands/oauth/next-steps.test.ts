/** The next step after each failure of `oauth test`, for Exchange as PowerShell lines with the ids in them. */
import { expect, test } from 'vitest';
import { nextSteps, powershellArg } from '../../../src/commands/oauth/next-steps.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { Failure } from '../../../src/errors.ts';
import { providerFailure } from '../../../src/oauth/provider-errors.ts';
import { hints } from '../../../src/text/hints.ts';

const clientId = '11111111-2222-3333-4444-555555555555';
const objectId = '99999999-8888-7777-6666-555555555555';

const provider: OAuthProvider = {
  ...{ name: 'm365', kind: 'microsoft', flow: 'application', tenant: 'contoso.example', clientId },
  ...{ issuer: null, endpoints: { token: 'https://x/token', authorization: null, device: null, revocation: null } },
  credential: { kind: 'secret', file: '/secret' },
  ...{ credentialEndsAtMs: null, scopes: [], prompt: null, mailboxes: ['support@contoso.example'] },
  ...{ imapHosts: [], sessionEndsWithToken: true, caPem: null, proxy: null },
};
const mailbox = { name: 'support', user: 'support@contoso.example' };
const fields = { credential: 'token' };

test('Exchange refuses a login: each command that may be missing, with client id, object id and mailbox', () => {
  const failure = new Failure('login_refused', 'no', { hint: hints.tokenRefused, fields });
  const { hint, steps } = nextSteps(failure, { provider, mailbox, account: null, objectId });
  expect(hint).toBe(hints.exchangeRefused);
  expect(steps).toEqual([
    'Connect-ExchangeOnline',
    `Get-ServicePrincipal | Where-Object AppId -eq ${clientId}`,
    `New-ServicePrincipal -AppId ${clientId} -ObjectId ${objectId} -DisplayName ticketmaild`,
    `Add-MailboxPermission -Identity support@contoso.example -User ${objectId} -AccessRights FullAccess`,
    'Set-CASMailbox -Identity support@contoso.example -ImapEnabled $true',
  ]);
});

test('Exchange opens no mailbox: the permission alone; without the object id the command that finds it', () => {
  const failure = new Failure('mailbox_not_permitted', 'no', { fields });
  const { hint, steps } = nextSteps(failure, { provider, mailbox, account: null, objectId: null });
  expect(hint).toBe(hints.exchangePermission);
  expect(steps).toEqual([
    `Get-MgServicePrincipal -Filter "appId eq '${clientId}'" | Select-Object Id`,
    'Connect-ExchangeOnline',
    'Add-MailboxPermission -Identity support@contoso.example -User ENTERPRISE_OBJECT_ID -AccessRights FullAccess',
    'Set-CASMailbox -Identity support@contoso.example -ImapEnabled $true',
  ]);
});

test('IMAP is off: that command alone; a person may lack the permission on a shared mailbox', () => {
  const off = new Failure('login_refused', 'no', { hint: hints.imapDisabled, fields });
  expect(nextSteps(off, { provider, mailbox, account: null, objectId }).steps).toEqual([
    'Connect-ExchangeOnline',
    'Set-CASMailbox -Identity support@contoso.example -ImapEnabled $true',
  ]);
  const person = { ...provider, flow: 'person' } as const;
  const refused = new Failure('login_refused', 'no', { hint: hints.tokenRefused, fields });
  expect(
    nextSteps(refused, { provider: person, mailbox, account: 'anna@contoso.example', objectId: null }).steps,
  ).toContain(
    'Add-MailboxPermission -Identity support@contoso.example -User anna@contoso.example -AccessRights FullAccess',
  );
});

test.each([
  ['tenant', 90_002, /tenant does not exist: correct tenant in \[oauth\.m365\]/],
  ['client id', 700_016, /client_id and tenant in \[oauth\.m365\]/],
  ['consent', 65_001, /Grant admin consent/],
  ['secret', 7_000_215, /takes the Value of the secret/],
  ['clock', 700_024, /timedatectl/],
])('Entra refuses the %s: its number decides', (_what, number, said) => {
  const response = { status: 400, error: 'invalid_client', microsoftNumbers: [number], retryAfter: null, atMs: 0 };
  const failure = providerFailure('m365', 'application', response);
  const { hint, steps } = nextSteps(failure, { provider, mailbox: null, account: null, objectId: null });
  expect(hint).toMatch(said);
  expect(steps).toEqual([]);
});

test('other servers: what Google or the operator of the mail server has to change', () => {
  const refused = new Failure('login_refused', 'no', { hint: hints.tokenRefused, fields });
  const of = (kind: OAuthProvider['kind']) => ({ provider: { ...provider, kind }, mailbox, account: null, objectId });
  expect(nextSteps(refused, of('google')).hint).toBe(hints.googleImapOff);
  expect(nextSteps(refused, of('oidc')).hint).toBe(hints.tokenNotTaken);
  const scope = new Failure('login_refused', 'no', { hint: hints.tokenLacksScope, fields });
  expect(nextSteps(scope, of('oidc')).hint).toContain('scopes in [oauth.m365]');
});

test.each([
  ['support@contoso.example', 'support@contoso.example'],
  ["o'neil@contoso.example", "'o''neil@contoso.example'"],
  ['a;Remove-Mailbox b', "'a;Remove-Mailbox b'"],
  ['$(calc)', "'$(calc)'"],
  ['-Confirm', "'-Confirm'"],
])('%s is one argument for PowerShell', (word, expected) => {
  expect(powershellArg(word)).toBe(expected);
});

test('a word with invisible characters, or with what PowerShell takes for an apostrophe, is not shown for copying', () => {
  expect(powershellArg('a\u2019;calc')).toMatch(/^\(no command is shown/);
  expect(powershellArg('a\u202eb')).toMatch(/^\(no command is shown/);
});
