/**
 * Faults of network and server at every moment: the right failure, in time, and no crash.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isServerFailure } from '../../../../src/ingest/poll/server-failures.ts';
import { type FaultProxy, startFaultProxy } from '../../../support/faults/proxy.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { freePort } from '../../../support/servers/programs.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import {
  connectionTo,
  credential,
  fetchAll,
  mail,
  never,
  openSession,
  plainTo,
  secret,
  sessions,
  tookMs,
} from '../setting.ts';

let dovecot: Dovecot;
let proxy: FaultProxy;

beforeAll(async () => {
  dovecot = await startDovecot();
  proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

async function filled(): Promise<string> {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    [1, 2, 3, 4].map(() => mail('a', 200_000)),
  );
  return user;
}

function throughProxy(user: string): ReturnType<typeof connectionTo> {
  proxy.fault = { kind: 'none' };
  return connectionTo(dovecot, user, { port: proxy.port });
}

test('a name that does not resolve is name_not_found', async () => {
  const refused = await failureOf(openSession(plainTo(993, { host: 'nowhere.invalid', tls: 'implicit' })));
  expect(refused).toMatchObject({ code: 'name_not_found', domain: 'server' });
});

test('a port without a listener is connect_refused', async () => {
  const port = await freePort();
  expect((await failureOf(openSession(plainTo(port)))).code).toBe('connect_refused');
  expect((await failureOf(openSession(plainTo(port, { host: 'localhost', tls: 'implicit' })))).code).toBe(
    'connect_refused',
  );
});

test.each([
  // The kernel may report the reset before or after it reports the connection.
  ['implicit', /^(tls_failed|connection_lost)$/],
  ['none', /^connection_lost$/],
] as const)('with --tls %s a connection that is reset at once is %s', async (tls, code) => {
  const connection = { ...throughProxy('ada'), tls };
  proxy.fault = { kind: 'refuse' };
  const reset = await failureOf(openSession(connection));
  expect(reset.code).toMatch(code);
  expect(isServerFailure(reset)).toBe(true);
});

test.each([
  ['220 mail.example.test ESMTP', 'not_imap'],
  ['HTTP/1.1 400 Bad Request', 'not_imap'],
  ['* BYE Too many connections from your address', 'server_busy'],
])('a server that greets with "%s" is %s at once', async (greeting, code) => {
  await using server = await startScriptedServer({ greeting });
  const refused = failureOf(openSession(plainTo(server.port)));
  expect(await tookMs(refused)).toBeLessThan(2000);
  expect((await refused).code).toBe(code);
});

test('a fetch that breaks within a message is connection_lost, and so is every later call', async () => {
  await using session = await openSession(throughProxy(await filled()));
  proxy.fault = { kind: 'cut_after', bytes: 400_000 };
  expect((await failureOf(fetchAll(session, [1, 2, 3, 4]))).code).toBe('connection_lost');
  expect((await failureOf(session.apply({ kind: 'seen' }, [1]))).code).toBe('connection_lost');
});

test('a BYE in the middle is connection_lost', async () => {
  const script: Script = (command, _rest, _tag, { say }) => {
    if (command === 'UID SEARCH') say('* BYE Maintenance');
    return command === 'UID SEARCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  expect(await failureOf(session.listAbove(0))).toMatchObject({ code: 'connection_lost', fields: {} });
});

test('a refused search or fetch is server_refused, and the session remains usable', async () => {
  const script: Script = (command, rest, tag, { say }) => {
    const isRefused = command === 'UID SEARCH' || (command === 'UID FETCH' && rest.includes('BODY'));
    if (isRefused) say(`${tag} NO [SERVERBUG] broken index`);
    return isRefused;
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  const expected = { code: 'server_refused', fields: { status: 'NO', response_code: 'SERVERBUG' } };
  expect(await failureOf(session.listAbove(0))).toMatchObject(expected);
  expect(await failureOf(fetchAll(session, [1]))).toMatchObject(expected);
  await session.apply({ kind: 'seen' }, [1]);
});

test('a stop ends the connection at any stage and is interrupted', async () => {
  const stages = ['', 'CAPABILITY', 'AUTHENTICATE', 'LIST', 'SELECT'];
  for (const stage of stages) {
    const greeting = stage === '' ? '' : '* OK ready';
    const stop = new AbortController();
    const script: Script = (command) => {
      if (command === stage) stop.abort();
      return command === stage;
    };
    await using server = await startScriptedServer({ greeting, script });
    if (stage === '') setTimeout(() => stop.abort(), 50);
    const refused = failureOf(openSession(plainTo(server.port), secret(), stop.signal));
    expect(await tookMs(refused)).toBeLessThan(2000);
    expect((await refused).code).toBe('interrupted');
  }
});

test('a stop before the start connects to nothing', async () => {
  await using server = await startScriptedServer();
  const refused = await failureOf(openSession(plainTo(server.port), secret(), AbortSignal.abort()));
  expect(refused.code).toBe('interrupted');
  expect(server.lines).toEqual([]);
});

test('a stop in the middle of a fetch ends it', async () => {
  const stop = new AbortController();
  await using session = await openSession(throughProxy(await filled()), secret(), stop.signal);
  const seen: number[] = [];
  const refused = await failureOf(
    (async () => {
      for await (const { uid } of session.fetch([1, 2, 3, 4])) {
        seen.push(uid);
        stop.abort();
      }
    })(),
  );
  expect(refused.code).toBe('interrupted');
  expect(seen).toEqual([1]);
});

test('closing is quick and quiet: again, when the server is gone, silent, or resets at that moment', async () => {
  const user = await filled();
  const session = await openSession(throughProxy(user));
  await session.close();
  await session.close();
  expect((await failureOf(session.listAbove(0))).code).toBe('connection_lost');

  const reset = await openSession(throughProxy(user));
  const closing = reset.close();
  proxy.kill('reset');
  await closing;

  const gone = await openSession(throughProxy(user));
  proxy.kill('reset');
  await gone.close();

  await using silent = await startScriptedServer({ script: (command) => command === 'LOGOUT' });
  const mute = await openSession(plainTo(silent.port));
  const took = await tookMs(mute.close());
  expect(took).toBeGreaterThan(1500);
  expect(took).toBeLessThan(4000);
});

test('closing in the middle of a fetch does not wait for its rest', async () => {
  const session = await openSession(throughProxy(await filled()));
  for await (const { uid } of session.fetch([1, 2, 3, 4])) {
    expect(uid).toBe(1);
    expect(await tookMs(session.close())).toBeLessThan(1500);
    break;
  }
});

test('a connection that is lost between commands is reported by the next command', async () => {
  const session = await openSession(throughProxy(await filled()));
  proxy.kill('reset');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect((await failureOf(session.listAbove(0))).code).toBe('connection_lost');
  await session.close();
});

test('a restart of the server in the middle is connection_lost, and the next session works', async () => {
  await using other = await startDovecot();
  const user = other.newUser();
  await other.append(user, 'INBOX', [mail('a')]);
  const session = await openSession(connectionTo(other, user));
  await other.restart();
  expect((await failureOf(session.listAbove(0))).code).toBe('connection_lost');
  await session.close();
  await using again = await openSession(connectionTo(other, user));
  expect(await again.listAbove(0)).toEqual([1]);
});

test('50 sessions cut at random moments leave no unheard error', async () => {
  const user = await filled();
  const unheard: unknown[] = [];
  const hear = (error: unknown): void => void unheard.push(error);
  process.on('uncaughtExceptionMonitor', hear);
  const runs = Array.from({ length: 50 }, async (_, index) => {
    const cut = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
    cut.fault = { kind: 'cut_after', bytes: 500 + index * 300 };
    const run = (async () => {
      await using session = await sessions.open(connectionTo(dovecot, user, { port: cut.port }), credential(), never);
      return fetchAll(session, [1, 2, 3, 4]);
    })();
    const code = (await failureOf(run)).code;
    await cut[Symbol.asyncDispose]();
    return code;
  });
  const codes = new Set(await Promise.all(runs));
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off('uncaughtExceptionMonitor', hear);
  expect(unheard).toEqual([]);
  expect([...codes].every((code) => /^(tls_failed|connection_lost|connect_timeout|server_timeout)$/.test(code))).toBe(
    true,
  );
});
