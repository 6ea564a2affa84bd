/**
 * Silent servers at every stage: each command ends at its deadline, and a slow one is not silent.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imapSessions } from '../../../../src/adapters/imap/session.ts';
import { type FaultProxy, startFaultProxy } from '../../../support/faults/proxy.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { type Script, startScriptedServer, type Talk } from '../scripted-server.ts';
import { connectionTo, credential, fetchAll, mail, never, openHastily, plainTo, tookMs } from '../setting.ts';

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

test.each(['implicit', 'starttls', 'none'] as const)(
  'with --tls %s a server that says nothing ends by the deadline',
  async (tls) => {
    const connection = { ...throughProxy('ada'), tls };
    proxy.fault = { kind: 'blackhole' };
    const refused = failureOf(openHastily(connection));
    expect(await tookMs(refused)).toBeLessThan(4000);
    expect((await refused).code).toBe('connect_timeout');
  },
);

test.each(['CAPABILITY', 'AUTHENTICATE', 'SELECT'])(
  'a server that falls silent at %s ends by the deadline',
  async (silent) => {
    await using server = await startScriptedServer({ script: (command) => command === silent });
    const refused = failureOf(openHastily(plainTo(server.port)));
    expect(await tookMs(refused)).toBeLessThan(4000);
    expect((await refused).code).toBe('server_timeout');
  },
);

test('a fetch that stalls within a message ends at the deadline', async () => {
  await using session = await openHastily(throughProxy(await filled()), 1000);
  proxy.fault = { kind: 'stall_after', bytes: 400_000 };
  const got: number[] = [];
  const refused = failureOf(
    (async () => {
      for await (const { uid } of session.fetch([1, 2, 3, 4])) got.push(uid);
    })(),
  );
  expect(await tookMs(refused)).toBeLessThan(4000);
  expect(await refused).toMatchObject({ code: 'server_timeout', domain: 'server' });
  expect(got).toEqual([1]);
  expect((await failureOf(session.listAbove(0))).code).toBe('server_timeout');
});

test('a slow message is not silence: it may take longer than the deadline while bytes arrive', async () => {
  const script: Script = (command, _rest, tag, { say, socket }) => {
    if (command !== 'UID FETCH') return false;
    socket.write('* 1 FETCH (UID 1 BODY[] {12}\r\n');
    const drip = (count: number): void => {
      socket.write('x');
      if (count > 1) setTimeout(drip, 60, count - 1);
      else say(')', `${tag} OK`);
    };
    drip(12);
    return true;
  };
  await using server = await startScriptedServer({ script });
  await using session = await openHastily(plainTo(server.port), 300);
  expect(await fetchAll(session, [1])).toEqual([[1, 'xxxxxxxxxxxx']]);
});

test.each([
  ['CAPABILITY', '* CAPABILITY IMAP4rev1 AUTH=PLAIN'],
  ['AUTHENTICATE', '* OK still looking'],
  ['UID SEARCH', '* OK still searching'],
  ['LIST', '* LIST () "/" INBOX'],
  ['UID FETCH', '* 9 FETCH (UID 9 FLAGS (\\Seen))'],
  ['UID FETCH', '* 1 FETCH (UID 1 RFC822.SIZE 5)'],
])('a server that sends without end at %s ends after three deadlines, even when bytes flow', async (flooded, line) => {
  let timer: NodeJS.Timeout | undefined;
  const script: Script = (command, rest, tag, { say }) => {
    const isFlooded = command === flooded && rest !== '"" ""';
    if (isFlooded) timer = setInterval(() => say(line), 20);
    if (command === 'SELECT' && flooded === 'LIST') say(`${tag} NO not now`);
    return isFlooded || (command === 'SELECT' && flooded === 'LIST');
  };
  await using server = await startScriptedServer({ script });
  const deadlineMs = 200;
  const refused = failureOf(
    (async () => {
      await using session = await openHastily(plainTo(server.port), deadlineMs);
      await session.listAbove(0);
      await session.sizes([1]);
    })(),
  );
  const took = await tookMs(refused);
  clearInterval(timer);
  expect(took).toBeGreaterThan(3 * deadlineMs);
  expect(took).toBeLessThan(9 * deadlineMs);
  const { code, message, fields } = await refused;
  expect(code).toBe('server_timeout');
  expect(message).toMatch(/^The server did not finish .+ in time\.$/);
  expect(fields.after_ms).toBeGreaterThanOrEqual(3 * deadlineMs);
});

test('a slow consumer, within a message and between commands, does not count as silence of the server', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID FETCH')
      say('* 1 FETCH (UID 1 BODY[] {3}', 'one)', '* 2 FETCH (UID 2 BODY[] {3}', 'two)', `${tag} OK`);
    return command === 'UID FETCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openHastily(plainTo(server.port), 200);
  const got: number[] = [];
  for await (const { uid } of session.fetch([1, 2])) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    got.push(uid);
  }
  expect(got).toEqual([1, 2]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await session.apply({ kind: 'seen' }, [1]);
});

test('a busy main thread is not the silence of the server', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command !== 'UID SEARCH') return false;
    say('* SEARCH 1 2', `${tag} OK`);
    // The answer is on its way, and this process cannot read it for a while.
    const until = performance.now() + 600;
    while (performance.now() < until);
    return true;
  };
  await using server = await startScriptedServer({ script });
  await using session = await openHastily(plainTo(server.port), 300);
  expect(await session.listAbove(0)).toEqual([1, 2]);
});

test('a server that throttles is server_busy at once, not after the minutes that it asks for', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID FETCH') say(`${tag} BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds`);
    return command === 'UID FETCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openHastily(plainTo(server.port), 10_000);
  const refused = failureOf(fetchAll(session, [1]));
  expect(await tookMs(refused)).toBeLessThan(1000);
  expect(await refused).toMatchObject({ code: 'server_busy', fields: { retry_after_ms: 92_415 } });
});

test.each([
  ['a mail larger than the limit', '* 1 FETCH (UID 1 BODY[] {60000000}'],
  ['an answer that is none', 'TAG MAYBE later'],
  ['an answer to another command', 'FFFF0 OK done'],
])('%s does not hang', async (_what, line) => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID FETCH') say(line.replace('TAG', tag));
    return command === 'UID FETCH';
  };
  await using server = await startScriptedServer({ script });
  await using session = await openHastily(plainTo(server.port));
  const refused = failureOf(fetchAll(session, [1]));
  expect(await tookMs(refused)).toBeLessThan(4000);
  expect((await refused).code).toMatch(/^server_(protocol_error|timeout)$/);
});

test('a server that agrees to STARTTLS and then falls silent is tls_failed by the deadline', async () => {
  const deadlines = { connectTimeoutMs: 100, commandTimeoutMs: 5000, literalBytesMax: 1000 };
  const silent = (command: string, _rest: string, tag: string, { say, socket }: Talk): boolean => {
    if (command !== 'STARTTLS') return false;
    say(`${tag} OK`);
    socket.removeAllListeners('data');
    socket.resume();
    return true;
  };
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 STARTTLS', script: silent });
  const refused = failureOf(
    imapSessions(() => deadlines).open(plainTo(server.port, { tls: 'starttls' }), credential(), never),
  );
  expect(await tookMs(refused)).toBeLessThan(4000);
  expect((await refused).code).toBe('tls_failed');
});
