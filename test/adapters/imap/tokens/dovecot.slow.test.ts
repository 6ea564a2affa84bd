/**
 * Logins by access token against a real Dovecot that asks the provider: both mechanisms, refusals, a token too long.
 */
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hints } from '../../../../src/text/hints.ts';
import { startProvider, type TestProvider } from '../../../support/oauth/provider.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { connectionTo, mail, openByToken, openSession, sessions, tokenCredential } from '../setting.ts';

let provider: TestProvider;
let dovecot: Dovecot;
let token: string;

/** A token of an application, which opens every mailbox but those whose name begins with `private`. */
async function applicationToken({ endpoints, caPem, clientSecretFile }: TestProvider): Promise<string> {
  const form = {
    ...{ grant_type: 'client_credentials', scope: 'mail.app', client_id: 'test-app-secret' },
    client_secret: (await readFile(clientSecretFile, 'utf8')).trim(),
  };
  return await new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    request(endpoints.token, { method: 'POST', ca: caPem, agent: false, headers }, async (response) => {
      resolve(((await json(response)) as { access_token: string }).access_token);
    })
      .on('error', reject)
      .end(new URLSearchParams(form).toString());
  });
}

beforeAll(async () => {
  provider = await startProvider();
  dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
  token = await applicationToken(provider);
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

test.each(['implicit', 'starttls', 'none'] as const)('a token opens the folder with --tls %s', async (tls) => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a')]);
  await using session = await openByToken(connectionTo(dovecot, user, { tls }), token);
  expect(await session.listAbove(0)).toEqual([1]);
  const report = await sessions.probe(connectionTo(dovecot, user, { tls }), tokenCredential(token), () => undefined);
  expect(report.folder.messageCount).toBe(1);
});

test('passwords work beside', async () => {
  await using session = await openSession(connectionTo(dovecot, dovecot.newUser()));
  expect(session.folder.messageCount).toBe(0);
});

test.each([
  ['a mailbox that the token does not open', 'private-ada', () => token],
  ['a token that the provider did not give', 'ada', () => 'x'.repeat(43)],
])('%s is login_refused, after the error challenge', async (_what, user, tokenOf) => {
  const refused = await failureOf(openByToken(connectionTo(dovecot, user), tokenOf()));
  expect(refused).toMatchObject({ code: 'login_refused', fields: { credential: 'token' }, hint: hints.tokenRefused });
});

test('a token of 12,000 bytes, which Dovecot drops without an answer, is named with its size', async () => {
  const refused = await failureOf(openByToken(connectionTo(dovecot, 'ada'), 'x'.repeat(12_000)));
  expect(refused.hint).toBe(hints.tokenTooLong);
  expect(refused.message).toContain('12000 bytes');
});
