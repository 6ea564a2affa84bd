/**
 * The end of an access token, which ends its session at some providers: told from a lost connection, by the clock and
 * by the words of the server.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { tokenLost } from '../../../../src/adapters/imap/token-failures.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { fetchAll, never, openByToken, openSession, plainTo } from '../setting.ts';

const capabilities = 'IMAP4rev1 IDLE AUTH=XOAUTH2 AUTH=PLAIN';
const minute = 60_000;

/** Ends the connection while it idles, or after the first message of a fetch. */
function ending(...bye: readonly string[]): Script {
  return (command, _rest, _tag, { say, socket }) => {
    if (command === 'IDLE') say('+ idling', ...bye);
    else if (command === 'UID FETCH') say('* 1 FETCH (UID 1 BODY[] {3}', 'one)', ...bye);
    else return false;
    setTimeout(() => socket.end(), 30);
    return true;
  };
}

describe('a session by token', () => {
  test.each([
    [60 * minute, 59 * minute],
    [5 * minute, 4 * minute],
    [2 * minute, 96_000],
    [20_000, 16_000],
  ])('of a token that is good for %d ms should be left after %d ms', async (sessionMs, leftMs) => {
    await using server = await startScriptedServer({ capabilities });
    await using session = await openByToken(plainTo(server.port), 'token-token', sessionMs);
    expect(session.endsInMs).toBeGreaterThan(leftMs - 1000);
    expect(session.endsInMs).toBeLessThanOrEqual(leftMs);
  });

  test('lasts where the provider does not end it, as one by password does', async () => {
    await using server = await startScriptedServer({ capabilities });
    await using byToken = await openByToken(plainTo(server.port), 'token-token', null);
    await using byPassword = await openSession(plainTo(server.port));
    expect([byToken.endsInMs, byPassword.endsInMs]).toEqual([null, null]);
  });

  test.each<[string, readonly string[]]>([
    ['a BYE', ['* BYE Session invalidated - AccessTokenExpired']],
    ['a BYE that says nothing', ['* BYE Connection closed']],
    ['nothing', []],
  ])('that the server ends with %s near the end of its token is session_expired', async (_how, bye) => {
    await using server = await startScriptedServer({ capabilities, script: ending(...bye) });
    for (const use of ['idle', 'fetch'] as const) {
      const session = await openByToken(plainTo(server.port), 'token-token', 250);
      await sleep(210);
      expect(session.endsInMs).toBeLessThanOrEqual(0);
      const lost = await failureOf(use === 'idle' ? session.idle(minute, never) : fetchAll(session, [1, 2]));
      expect(lost).toMatchObject({ code: 'session_expired', domain: 'server' });
      await session.close();
    }
  });

  test('that breaks long before is connection_lost', async () => {
    await using server = await startScriptedServer({ capabilities, script: ending() });
    const session = await openByToken(plainTo(server.port), 'token-token', 60 * minute);
    expect((await failureOf(session.idle(minute, never))).code).toBe('connection_lost');
    await session.close();
  });
});

describe('the words of a BYE', () => {
  const token = { lengthBytes: 2000, isSent: true, challenge: null, isEnding: false, ageMs: 10 * minute };
  const lost = { stage: 'open', isLoggedIn: true, doing: 'waiting for new mail' } as const;

  test.each([
    'Session invalidated - AccessTokenExpired',
    'Session expired, please login again.',
    'The token has expired',
  ])('"%s" are the end of the token, whatever the clock says', (goodbye) => {
    expect(tokenLost(token, { ...lost, goodbye })?.code).toBe('session_expired');
    // Right after the login it would be repeated at once.
    expect(tokenLost({ ...token, ageMs: 100 }, { ...lost, goodbye })).toBeNull();
    const login = { ...lost, stage: 'login', isLoggedIn: false, goodbye } as const;
    expect(tokenLost({ ...token, ageMs: 100 }, login)).toMatchObject({ code: 'login_refused' });
  });

  test.each(['Server shutting down', 'Autologout; idle for too long', ''])('"%s" are not', (goodbye) => {
    expect(tokenLost(token, { ...lost, goodbye })).toBeNull();
  });
});
