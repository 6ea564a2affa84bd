/** Access control for tokens: users that may be opened, and servers that a token may go to. */
import { expect, test } from 'vitest';
import { isFailure } from '../../src/errors.ts';
import { checkUserListed, tokenConnection } from '../../src/oauth/permission.ts';
import { mailbox } from '../ingest/samples.ts';
import { person, provider } from './scene.ts';

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'allowed';
  } catch (error) {
    return isFailure(error) ? error.code : 'other';
  }
}

const listed = ['support@example.test', '*@help.example.test', 'kiosk'];

test.each([
  ['support@example.test', 'allowed'],
  ['Support@Example.TEST', 'allowed'],
  ['kiosk', 'allowed'],
  ['anyone@help.example.test', 'allowed'],
  ['a.n-y_one+x@HELP.example.test', 'allowed'],
  ['boss@example.test', 'oauth_mailbox_not_listed'],
  ['support+boss@example.test', 'oauth_mailbox_not_listed'],
  ['boss@sub.help.example.test', 'oauth_mailbox_not_listed'],
  ['boss@nothelp.example.test', 'oauth_mailbox_not_listed'],
  ['@help.example.test', 'oauth_mailbox_not_listed'],
  ['help.example.test', 'oauth_mailbox_not_listed'],
  ['*@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss@example.test@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss%example.test@help.example.test', 'oauth_mailbox_not_listed'],
  ['example.test!boss@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss/x@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss*x@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss\u0001auth=@help.example.test', 'oauth_mailbox_not_listed'],
  ['boss\uff20example.test@help.example.test', 'oauth_mailbox_not_listed'],
  ['bo\u017fs@help.example.test', 'oauth_mailbox_not_listed'],
  // The Kelvin sign is a k in lower case; the dotless i and the full-width letters only look like one.
  ['\u212aiosk', 'oauth_mailbox_not_listed'],
  ['k\u0131osk', 'oauth_mailbox_not_listed'],
  ['support@example.test ', 'oauth_mailbox_not_listed'],
  ['support@example.test\u200b', 'oauth_mailbox_not_listed'],
  ['', 'oauth_mailbox_not_listed'],
])('user %j of an application: %s', (user, expected) => {
  const application = provider({ mailboxes: listed });
  expect(codeOf(() => checkUserListed(user, application, 'boss@example.test'))).toBe(expected);
});

test.each([
  ['anna@example.test', 'Anna@example.test', 'allowed'],
  ['ANNA@example.test', 'anna@example.test', 'allowed'],
  ['support@example.test', 'anna@example.test', 'oauth_mailbox_not_listed'],
  ['anna@example.test', null, 'oauth_mailbox_not_listed'],
  ['', '', 'oauth_mailbox_not_listed'],
])('user %j of a person who signed in as %j: %s', (user, account, expected) => {
  expect(codeOf(() => checkUserListed(user, person({ mailboxes: [] }), account))).toBe(expected);
  expect(codeOf(() => checkUserListed(user, provider({ mailboxes: [] }), account))).toBe('oauth_mailbox_not_listed');
});

const { connection } = mailbox('support');

test('a token goes to a listed server with the authorities of the provider', () => {
  const at = provider({ caPem: 'CA' });
  expect(tokenConnection(connection, at)).toEqual({ ...connection, caPem: 'CA' });
  expect(tokenConnection({ ...connection, host: 'MAIL.example.test', tls: 'starttls' }, at).caPem).toBe('CA');
});

test.each([
  ['another host', { host: 'mail.example.test.evil.test' }],
  ['a look-alike', { host: 'ma\u0131l.example.test' }],
  ['a trailing dot', { host: 'mail.example.test.' }],
  ['another port', { port: 1993 }],
  ['no TLS', { tls: 'none' as const, allowPlaintext: true }],
  ['authorities of the row', { caPem: 'CA of the row' }],
  ['a pin of the row', { fingerprint: 'ab'.repeat(32) }],
])('no token goes to %s', (_, change) => {
  expect(codeOf(() => tokenConnection({ ...connection, ...change }, provider()))).toBe('token_bound_elsewhere');
});
