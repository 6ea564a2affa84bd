/**
 * Throttling servers and logins refused for another reason than the password: failure, delay and hint. No text of a
 * server is shown.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { meaningOfRefusal } from '../../../../src/adapters/imap/throttling.ts';
import type { Failure } from '../../../../src/errors.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, type ScriptedServer, startScriptedServer } from '../scripted-server.ts';
import { fetchAll, never, openHastily, plainTo, tookMs } from '../setting.ts';

const second = 1000;
const minute = 60 * second;

/** Answers `command` with `line` after the tag; AUTHENTICATE after the password. */
function answering(asked: string, line: string): Script {
  return (command, _rest, tag, { say, next }) => {
    if (command !== asked) return false;
    if (asked !== 'AUTHENTICATE') say(`${tag} ${line}`);
    else {
      say('+ ');
      next(() => say(`${tag} ${line}`));
    }
    return true;
  };
}

const throttled = 'Request is throttled. Suggested Backoff Time: 299876 milliseconds';
const commands = ['AUTHENTICATE', 'SELECT', 'UID SEARCH', 'UID FETCH', 'UID STORE', 'IDLE'] as const;

/** Opens a session and asks for everything, until something fails. */
async function poll(server: ScriptedServer): Promise<Failure> {
  return failureOf(
    (async () => {
      await using session = await openHastily(plainTo(server.port), 5000);
      await session.listAbove(0);
      await fetchAll(session, [1]);
      await session.apply({ kind: 'seen' }, [1]);
      await session.idle(50, never);
    })(),
  );
}

let server: ScriptedServer | null = null;
afterEach(() => server?.[Symbol.asyncDispose]());

async function started(script: Script, greeting = '* OK ready'): Promise<ScriptedServer> {
  server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=PLAIN IDLE', script, greeting });
  return server;
}

describe.each(['NO', 'BAD'])('Microsoft 365 that throttles with %s', (status) => {
  test.each(commands)('at %s is server_busy at once, after one command, with the delay', async (command) => {
    const busy = await started(answering(command, `${status} ${throttled}`));
    const refused = poll(busy);
    expect(await tookMs(refused)).toBeLessThan(1000);
    const { code, fields, message } = await refused;
    expect(code).toBe('server_busy');
    expect(fields).toMatchObject({ status, response_code: 'THROTTLED', retry_after_ms: 299_876 });
    expect(fields.stage).toBe(command === 'AUTHENTICATE' ? 'login' : undefined);
    expect(JSON.stringify({ message, fields })).not.toMatch(/backoff|suggested/i);
    expect(busy.lines.filter((line) => line.includes(` ${command}`)).length).toBe(1);
  });
});

test.each(['UID FETCH', 'SELECT'])('a throttled %s with a BYE behind it is still server_busy', async (command) => {
  const busy = await started(answering(command, `BAD ${throttled}\r\n* BYE Connection closed. 14`));
  expect(await poll(busy)).toMatchObject({ code: 'server_busy', fields: { retry_after_ms: 299_876 } });
});

test('a throttled session is closed and sends no further command', async () => {
  const busy = await started(answering('UID FETCH', `BAD ${throttled}`));
  await using session = await openHastily(plainTo(busy.port));
  expect((await failureOf(fetchAll(session, [1]))).code).toBe('server_busy');
  expect((await failureOf(session.listAbove(0))).code).toBe('server_busy');
});

test('an IDLE that is refused by throttling is server_busy, and can be repeated', async () => {
  const busy = await started(answering('IDLE', 'NO [THROTTLED] slow down'));
  await using session = await openHastily(plainTo(busy.port));
  expect(await failureOf(session.idle(50, never))).toMatchObject({ code: 'server_busy' });
  expect(session.supportsIdle).toBe(true);
  expect(await session.listAbove(0)).toEqual([1, 2, 3]);
});

test.each([
  ['* BYE Too many connections from your address', minute],
  ['* BYE Temporary System Error', minute],
  ['* BYE Lockdown in sector 4', 15 * minute],
  ['* BYE go away', undefined],
])('the greeting "%s" is server_busy', async (greeting, retryAfterMs) => {
  const refused = await poll(await started(() => false, greeting));
  expect(refused.code).toBe('server_busy');
  expect(refused.fields.retry_after_ms).toBe(retryAfterMs);
  expect(refused.fields.stage).toBe('greeting');
});

test.each([
  ['Temporary System Error', 'server_busy', minute],
  ['Server shutting down', 'connection_lost', undefined],
])('a BYE "%s" in the middle is %s', async (words, code, retryAfterMs) => {
  const script: Script = (command, _rest, _tag, { say }) => {
    if (command === 'UID SEARCH') say(`* BYE ${words}`);
    return command === 'UID SEARCH';
  };
  const refused = await poll(await started(script));
  expect(refused.code).toBe(code);
  expect(refused.fields.retry_after_ms).toBe(retryAfterMs);
});

const password = /set-password/;
const microsoft = /no longer supports passwords/;
const browser = /web browser/;

test.each<[string, string, number | undefined, RegExp]>([
  // Too much
  ['NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)', 'server_busy', 15 * minute, /slower rate/],
  ['NO [ALERT] Account exceeded command or bandwidth limits. (Failure)', 'server_busy', 15 * minute, /slower rate/],
  ['NO [ALERT] Too many simultaneous connections. (Failure)', 'server_busy', minute, /slower rate/],
  ['NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded', 'server_busy', minute, /slower rate/],
  ['NO [UNAVAILABLE] Temporary System Error', 'server_busy', minute, /slower rate/],
  ['NO Server Unavailable. 15', 'server_busy', minute, /slower rate/],
  ['NO [THROTTLED] later', 'server_busy', minute, /slower rate/],
  ['NO [LIMIT] LOGIN Rate limit hit.', 'server_busy', 5 * minute, /slower rate/],
  ['NO [ALERT] Lockdown in Sector 4', 'server_busy', 15 * minute, /slower rate/],
  ['NO [UNAVAILABLE] later', 'server_busy', undefined, /part of the mail server is down/],
  ['NO [UNAVAILABLE] Please try again in 3 minutes', 'server_busy', 3 * minute, /part of the mail server is down/],
  ['NO [X-NEVER-HEARD] Rate limit exceeded', 'server_busy', 5 * minute, /slower rate/],
  ['BAD User is authenticated but not connected.', 'server_busy', 5 * minute, /IMAP is enabled/],
  // No password, whatever it is
  ['NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)', 'login_refused', undefined, password],
  ['NO [AUTHENTICATIONFAILED] Too many login failures', 'login_refused', 15 * minute, /locked the login/],
  ['NO [AUTHENTICATIONFAILED] Too many login attempts, try again in 2 hours', 'login_refused', 120 * minute, /locked/],
  ['NO [AUTHENTICATIONFAILED] Too many simultaneous connections', 'login_refused', minute, password],
  ['NO Too many invalid login attempts, wait 30 seconds', 'login_refused', 15 * minute, /locked the login/],
  ['NO [ALERT] Please log in via your web browser: https://example.test', 'login_refused', undefined, browser],
  ['NO [WEBALERT https://example.test/continue] Web login required.', 'login_refused', undefined, browser],
  ['NO [WEBALERT https://example.test/continue] go there', 'login_refused', undefined, browser],
  ['NO [ALERT] Application-specific password required', 'login_refused', undefined, /app password/],
  ['NO AUTHENTICATE failed. LogonDenied-BasicAuthBlocked', 'login_refused', undefined, microsoft],
  ['NO AUTHENTICATE failed, basic authentication is disabled.', 'login_refused', undefined, microsoft],
  ['NO AUTHENTICATE failed.', 'login_refused', undefined, /set-password.*Microsoft 365/],
  ['NO [ALERT] IMAP access is disabled for your domain.', 'login_refused', undefined, /IMAP is disabled/],
  ['NO Login failed for user', 'login_refused', undefined, password],
  ['NO [EXPIRED] Too many connections', 'login_refused', undefined, /has expired.*new password/],
])('the answer "%s" to a login is %s', async (answer, code, retryAfterMs, hint) => {
  const refused = await poll(await started(answering('AUTHENTICATE', answer)));
  expect(refused.code).toBe(code);
  expect(refused.fields.retry_after_ms).toBe(retryAfterMs);
  expect(refused.hint).toMatch(hint);
});

test.each([
  ['UID FETCH', 'NO [OVERQUOTA] Account exceeded command or bandwidth limits.', 'server_busy', 15 * minute],
  ['SELECT', 'BAD User is authenticated but not connected.', 'server_busy', 5 * minute],
  ['UID STORE', 'NO [OVERQUOTA] Disk full', 'server_refused', undefined],
  ['UID STORE', 'NO [OVERQUOTA] Account exceeded command or bandwidth limits.', 'server_busy', 15 * minute],
  ['SELECT', 'NO [NONEXISTENT] Rate limit is no folder', 'folder_missing', undefined],
  ['UID SEARCH', 'NO Too many failed attempts', 'server_refused', undefined],
])('the answer to %s "%s" is %s', async (command, answer, code, retryAfterMs) => {
  const refused = await poll(await started(answering(command, answer)));
  expect(refused.code).toBe(code);
  expect(refused.fields.retry_after_ms).toBe(retryAfterMs);
});

test('Exchange that takes the login and then knows no mailbox is server_busy', async () => {
  const script = answering('NAMESPACE', 'BAD User is authenticated but not connected.');
  server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=PLAIN NAMESPACE', script });
  expect(await poll(server)).toMatchObject({ code: 'server_busy', fields: { retry_after_ms: 5 * minute } });
});

test.each([
  ['0', second],
  ['999', second],
  ['1000', second],
  ['86400000', 24 * 60 * minute],
  ['999999999', 24 * 60 * minute],
  // More digits than a waiting time has: only that it is one counts.
  ['9999999999999', 5 * minute],
])('a told waiting time of %s ms is kept between a second and a day', (told, expected) => {
  const text = `Request is throttled. Suggested Backoff Time: ${told} milliseconds`;
  expect(meaningOfRefusal({ status: 'BAD', code: null, text }, 'open')?.retryAfterMs).toBe(expected);
});

test('a very long answer costs no time', async () => {
  const text = 'too many '.repeat(5_000_000);
  expect(await tookMs(Promise.resolve(meaningOfRefusal({ status: 'NO', code: null, text }, 'login')))).toBeLessThan(
    100,
  );
});
