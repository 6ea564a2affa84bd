/**
 * Refused access tokens, and those that a server drops without a word: what each answer means, and what to do then.
 */
import { describe, expect, test } from 'vitest';
import { hintOf } from '../../../../src/errors.ts';
import { hints } from '../../../../src/text/hints.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { openByToken, openSession, plainTo } from '../setting.ts';

const capabilities = 'IMAP4rev1 AUTH=XOAUTH2 AUTH=PLAIN';

/** Answers the token with these lines; `end`: closes the connection then. */
function answering(lines: (tag: string) => readonly string[], end = false): Script {
  return (command, _rest, tag, { say, next, socket }) => {
    if (command !== 'AUTHENTICATE') return false;
    say('+ ');
    next(() => {
      say(...lines(tag));
      if (end) socket.end();
    });
    return true;
  };
}

async function failureAfter(script: Script, token = 'token-token') {
  await using server = await startScriptedServer({ capabilities, script });
  return await failureOf(openByToken(plainTo(server.port), token));
}

test.each([
  ['NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)', 'login_refused', hints.tokenRefused],
  ['NO AUTHENTICATE failed.', 'login_refused', hints.tokenRefused],
  ['NO [EXPIRED] the token', 'login_refused', hints.tokenRefused],
  ['NO [ALERT] Please log in via your web browser', 'login_refused', hints.tokenRefused],
  ['NO [AUTHORIZATIONFAILED] not yours', 'mailbox_not_permitted', hintOf('mailbox_not_permitted')],
  ['BAD User is authenticated but not connected.', 'mailbox_not_permitted', hintOf('mailbox_not_permitted')],
  ['NO [UNAVAILABLE] later', 'server_busy', hints.serverPartDown],
  ['NO [CONTACTADMIN] broken', 'server_refused', hints.contactOperator],
  ['BAD what', 'server_refused', hintOf('server_refused')],
])('the answer "%s" to a token is %s', async (answer, code, hint) => {
  expect(await failureAfter(answering((tag) => [`${tag} ${answer}`]))).toMatchObject({ code, hint });
});

test('a server that says that IMAP is off for the mailbox is believed', async () => {
  const refused = await failureAfter(answering((tag) => [`${tag} NO [ALERT] Please enable IMAP access`]));
  expect(refused).toMatchObject({ code: 'login_refused', fields: { credential: 'token' } });
  expect(refused.hint).toMatch(/IMAP is disabled for this account/);
});

describe('Exchange, where the permission on the mailbox is missing', () => {
  const notConnected: Script = (command, _rest, tag, { say }) => {
    if (command !== 'SELECT') return false;
    say(`${tag} BAD User is authenticated but not connected.`);
    return true;
  };

  test('accepts the token and opens nothing: mailbox_not_permitted', async () => {
    const refused = await failureAfter(notConnected);
    expect(refused).toMatchObject({ code: 'mailbox_not_permitted', domain: 'login', fields: { credential: 'token' } });
    expect(refused.message).toBe('The server took the token, but does not open this mailbox.');
  });

  test('with a password it is a busy server, as before', async () => {
    await using server = await startScriptedServer({ script: notConnected });
    expect((await failureOf(openSession(plainTo(server.port)))).code).toBe('server_busy');
  });
});

describe('a connection that ends without an answer to the token', () => {
  const dropping = answering(() => [], true);

  test('names the size of a long one, and what helps', async () => {
    expect(await failureAfter(dropping, 'x'.repeat(6120))).toMatchObject({
      code: 'connection_lost',
      message: 'The server closed the connection without an answer to an access token of 6120 bytes.',
      hint: hints.tokenTooLong,
      fields: { stage: 'login', token_bytes: 6120, credential: 'token' },
    });
  });

  test('also where the BYE says that a buffer is full', async () => {
    const bye = answering(() => ['* BYE Input buffer full, aborting'], true);
    expect((await failureAfter(bye, 'x'.repeat(9000))).hint).toBe(hints.tokenTooLong);
  });

  test('is a lost connection where the token is short, or the server says why', async () => {
    expect(await failureAfter(dropping, 'x'.repeat(4096))).toMatchObject({
      code: 'connection_lost',
      message: 'The connection was lost while logging in.',
    });
    const busy = answering(() => ['* BYE Too many connections'], true);
    expect((await failureAfter(busy, 'x'.repeat(9000))).code).toBe('server_busy');
  });
});
