/**
 * Answers that no provider gives: too long, cut off, too slow, not HTTP, not JSON, with tokens in odd places; wrong
 * certificates, and proxies that refuse.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net, { type Server, type Socket } from 'node:net';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import { createAnswerReader } from '../../../src/adapters/oauth/http-answer.ts';
import { accountOf } from '../../../src/adapters/oauth/id-token.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { isFailure } from '../../../src/errors.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { type CertificateKind, readCertificates } from '../../support/servers/authority.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';

const never = new AbortController().signal;
const client = createProviderClient({ clock: systemClock, deadlineMs: 500 });
let provider: TestProvider;
const open: (Server | Socket)[] = [];

beforeAll(async () => {
  provider = await startProvider();
});

afterEach(() => {
  for (const one of open.splice(0)) 'destroy' in one ? one.destroy() : one.close();
});

afterAll(() => provider[Symbol.asyncDispose]());

async function listen(server: Server): Promise<number> {
  open.push(server);
  server.on('connection', (socket: Socket) => open.push(socket.on('error', () => undefined)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** A TLS server that answers the first bytes of each connection; `wire` gets the encrypted connection. */
async function tlsServer(answer: (socket: Socket, request: string) => void, kind: CertificateKind = 'good') {
  const { certificateFile, keyFile } = await readCertificates(await certificatesTemplate(), kind);
  const server = tls.createServer({ cert: await readFile(certificateFile), key: await readFile(keyFile) }, (socket) => {
    socket.on('error', () => undefined).once('data', (bytes: Buffer) => answer(socket, bytes.toString()));
  });
  server.on('tlsClientError', () => undefined);
  return await listen(server);
}

function settingsFor(port: number, changes: Partial<OAuthProvider> = {}): OAuthProvider {
  const { endpoints } = provider.settings();
  return provider.settings({ endpoints: { ...endpoints, token: `https://localhost:${port}/token` }, ...changes });
}

async function renew(settings: OAuthProvider) {
  using refreshToken = SecretBytes.take(Buffer.from('canary-of-the-token'));
  return await client.requestToken(settings, { grantType: 'refresh_token', refreshToken }, never);
}

async function causeOf(settings: OAuthProvider): Promise<unknown> {
  try {
    await renew(settings);
  } catch (error) {
    if (!isFailure(error, 'oauth_provider_failed')) throw error;
    expect(JSON.stringify([error.message, error.hint, error.fields])).not.toContain('canary');
    return error.fields['cause'];
  }
  return 'none';
}

const good = '{"access_token":"abc","token_type":"Bearer","expires_in":60}';
const json = 'Content-Type: application/json\r\n';
const whole = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\n${json}${more}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const chunked = (body: string): string => `HTTP/1.1 200 OK\r\n${json}Transfer-Encoding: chunked\r\n\r\n${body}`;
const until = (body: string): string => `HTTP/1.1 200 OK\r\n${json}\r\n${body}`;

test.each([
  ['a length', whole(good)],
  [
    'chunks',
    chunked(`5;ext=1\r\n${good.slice(0, 5)}\r\n${(good.length - 5).toString(16)}\r\n${good.slice(5)}\r\n0\r\n\r\n`),
  ],
  ['its end', until(good)],
  ['HTTP/1.0', whole(good).replace('HTTP/1.1', 'HTTP/1.0')],
  [
    'escapes and white space',
    whole(`{\n "access\\u005ftoken" : "a\\u0062\\u0063" ,"token_type":"bearer","x":[{"a":"\\""}]}`),
  ],
])('an answer with %s is read, at once and in pieces of three bytes', async (_title, text) => {
  for (const size of [text.length, 3]) {
    const port = await tlsServer(async (socket) => {
      for (let at = 0; at < text.length; at += size) {
        socket.write(text.slice(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (text.startsWith(until(''))) socket.end();
    });
    const { accessToken } = await renew(settingsFor(port));
    expect(accessToken.use((bytes) => Buffer.from(bytes).toString())).toBe('abc');
  }
});

test('the request is what the protocol says, and nothing of it is elsewhere', async () => {
  const requests: string[] = [];
  const port = await tlsServer((socket, request) => {
    requests.push(request);
    socket.end(whole(good));
  });
  await renew(settingsFor(port));
  const [head = '', body] = (requests[0] ?? '').split('\r\n\r\n');
  expect(head).toMatch(/^POST \/token HTTP\/1\.1\r\nHost: localhost:\d+\r\n/);
  expect(head).toContain(`Content-Length: ${body?.length}`);
  expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
    grant_type: 'refresh_token',
    refresh_token: 'canary-of-the-token',
    client_id: 'test-public',
  });
});

describe('an answer', () => {
  const token = '"access_token":"abc","token_type":"bearer"';
  test.each([
    ['is too long', whole(`{${token},"x":"${'y'.repeat(300_000)}"}`), 'answer_too_long'],
    [
      'says a length that is too long',
      `HTTP/1.1 200 OK\r\n${json}Content-Length: 999999999\r\n\r\n{`,
      'answer_too_long',
    ],
    ['ends never and is too long', until(`{${' '.repeat(300_000)}`), 'answer_too_long'],
    ['has a head that is too long', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(20_000)}`, 'head_too_long'],
    ['has no HTTP', '* OK IMAP4rev1 ready\r\n', 'not_http'],
    ['has HTTP/2', 'HTTP/2 200\r\n\r\n', 'not_http'],
    ['has a header without a name', `HTTP/1.1 200 OK\r\n: x\r\n\r\n${good}`, 'not_http'],
    ['has a negative length', `HTTP/1.1 200 OK\r\n${json}Content-Length: -1\r\n\r\n${good}`, 'not_http'],
    ['is compressed', `HTTP/1.1 200 OK\r\n${json}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'unknown_encoding'],
    ['has a chunk without a size', chunked(`zz\r\n${good}`), 'wrong_chunk'],
    ['has a chunk that is longer than it says', chunked(`5\r\n${good}\r\n0\r\n\r\n`), 'wrong_chunk'],
    ['has a chunk of a huge size', chunked(`fffffff\r\n${good}\r\n0\r\n\r\n`), 'wrong_chunk'],
    ['is a page', whole('<html>canary-of-the-token</html>'), 'answer_not_conformant'],
    ['is an array', whole(`[{${token}}]`), 'answer_not_conformant'],
    ['has a NUL', whole(`{${token},"x":\0}`), 'answer_not_conformant'],
    ['has a NUL in the token', whole('{"access_token":"a\\u0000b","token_type":"bearer"}'), 'token_unreadable'],
    ['has two access tokens', whole(`{${token},"access_token":"def"}`), 'answer_not_conformant'],
    ['has a second one in disguise', whole(`{${token},"access\\u005ftoken":"def"}`), 'answer_not_conformant'],
    ['has the token one level down', whole(`{"data":{${token}}}`), 'answer_not_conformant'],
    ['has a number as the token', whole('{"access_token":12345,"token_type":"bearer"}'), 'answer_not_conformant'],
    ['has a list as the token', whole('{"access_token":["abc"],"token_type":"bearer"}'), 'answer_not_conformant'],
    ['ends within a string', whole('{"access_token":"abc'), 'answer_not_conformant'],
    ['has a life time below zero', whole(`{${token},"expires_in":-5}`), 'answer_not_conformant'],
  ])('that %s is refused', async (_title, text, cause) => {
    const port = await tlsServer((socket) => void socket.write(text));
    expect(await causeOf(settingsFor(port))).toBe(cause);
  });

  test.each([
    ['within its head', 'HTTP/1.1 200 OK\r\nContent-'],
    ['within its body', whole(good).slice(0, -5)],
    ['within a chunk', chunked(`40\r\n${good.slice(0, 9)}`)],
    ['before it began', ''],
  ])('that is cut off %s is refused', async (_title, text) => {
    const port = await tlsServer((socket) => void socket.end(text));
    expect(await causeOf(settingsFor(port))).toBe('answer_cut_off');
  });

  test('of 40,000 chunks, each in a piece of its own, is read in linear time', () => {
    const reader = createAnswerReader();
    reader.add(Buffer.from(chunked('')));
    const startedAtMs = performance.now();
    for (let chunk = 0; chunk < 40_000; chunk += 1) reader.add(Buffer.from('1\r\n \r\n'));
    expect(reader.add(Buffer.from('0\r\n'))).toBe(true);
    expect(performance.now() - startedAtMs).toBeLessThan(3000);
    expect(reader.answer().body).toHaveLength(40_000);
  });

  test('that drips, or never comes, meets the deadline', async () => {
    const timers: NodeJS.Timeout[] = [];
    const dripping = await tlsServer((socket) => {
      const text = whole(good);
      const letters = text[Symbol.iterator]();
      timers.push(setInterval(() => socket.write(letters.next().value ?? ''), 50));
    });
    const silent = await tlsServer(() => undefined);
    const startedAtMs = performance.now();
    expect(await Promise.all([causeOf(settingsFor(dripping)), causeOf(settingsFor(silent))])).toEqual([
      'deadline',
      'deadline',
    ]);
    expect(performance.now() - startedAtMs).toBeLessThan(3000);
    for (const timer of timers) clearInterval(timer);
  });
});

test.each([
  ['of another authority', 'good', { caPem: null }, /SELF_SIGNED|UNABLE_TO/],
  ['that is out of date', 'expired', {}, 'CERT_HAS_EXPIRED'],
  ['for another name', 'other_name', {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
] as const)('a server with a certificate %s gets no byte', async (_title, kind, changes, cause) => {
  let requests = 0;
  const port = await tlsServer(() => (requests += 1), kind);
  expect(await causeOf(settingsFor(port, changes))).toEqual(expect.stringMatching(cause));
  expect(requests).toBe(0);
});

test('a server without TLS, or that does not run, is a failure; plain http goes to loopback alone', async () => {
  const plain = await listen(net.createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
  expect(await causeOf(settingsFor(plain))).toEqual(expect.stringMatching(/^ERR_SSL|ECONNRESET|EPROTO/));
  open.pop();
  expect(await causeOf(settingsFor(1))).toBe('ECONNREFUSED');
  const { endpoints } = provider.settings();
  const to = (token: string) => provider.settings({ endpoints: { ...endpoints, token } });
  expect(await causeOf(to('http://mail.example.test/token'))).toBe('not_https');
  expect(await causeOf(to('https://user:pass@localhost/token'))).toBe('not_https');
  expect(await causeOf(to('https://nobody.invalid/token'))).toEqual(expect.stringMatching(/ENOTFOUND|EAI_AGAIN/));
  const http = await listen(net.createServer((socket) => socket.once('data', () => socket.write(whole(good)))));
  expect(await causeOf(to(`http://127.0.0.1:${http}/token`))).toBe('none');
});

describe('a proxy', () => {
  async function proxy(answer: string | null): Promise<{ readonly url: string; readonly heads: string[] }> {
    const heads: string[] = [];
    const server = net.createServer((socket) =>
      socket.once('data', (bytes: Buffer) => {
        heads.push(bytes.toString());
        const [, port] = /^CONNECT localhost:(\d+) /.exec(bytes.toString()) ?? [];
        if (answer !== null || port === undefined) return void socket.write(answer ?? '');
        const onward = net.connect(Number(port), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
          socket.pipe(onward).pipe(socket);
        });
        open.push(onward.on('error', () => socket.destroy()));
      }),
    );
    return { url: `http://127.0.0.1:${await listen(server)}`, heads };
  }

  test('tunnels to the provider, and sees its name alone', async () => {
    const { url, heads } = await proxy(null);
    const port = await tlsServer((socket) => void socket.write(whole(good)));
    const { accessToken } = await renew(settingsFor(port, { proxy: url }));
    expect(accessToken.use((bytes) => Buffer.from(bytes).toString())).toBe('abc');
    expect(heads).toEqual([`CONNECT localhost:${port} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`]);
    const other = await tlsServer(() => undefined, 'other_name');
    expect(await causeOf(settingsFor(other, { proxy: url }))).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test.each([
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'proxy_407'],
    ['hello\r\n\r\n', 'proxy_not_http'],
    ['HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK', 'proxy_not_http'],
    [`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(9000)}`, 'proxy_not_http'],
    ['HTTP/1.1 200', 'deadline'],
  ])('that answers %j opens no connection', async (answer, cause) => {
    expect(await causeOf(settingsFor(4, { proxy: (await proxy(answer)).url }))).toBe(cause);
  });

  test('that does not run is named', async () => {
    expect(await causeOf(settingsFor(4, { proxy: 'http://127.0.0.1:1' }))).toBe('proxy_ECONNREFUSED');
  });
});

test('a scope that repeats the tokens is not kept: of it only configured scopes are', async () => {
  const body = '{"access_token":"canary-1","token_type":"bearer","scope":"canary-1 mail canary-of-the-token"}';
  const port = await tlsServer((socket) => void socket.write(whole(body)));
  expect((await renew(settingsFor(port, { scopes: ['mail', 'openid'] }))).scope).toBe('mail');
});

test.each([
  [{ preferred_username: 'des\u212A@example.org' }, 'des\u212A@example.org'],
  [{ preferred_username: 'DESK@example.org' }, 'desk@example.org'],
  [{ preferred_username: 'desk@example.org', email: 'M@example.org', email_verified: true }, 'm@example.org'],
  [{ email: 'desk@example.org', email_verified: 'false' }, null],
])('an id token with %j is one of %s', async (claims, account) => {
  const settings = settingsFor(await tlsServer(() => undefined));
  const payload = Buffer.from(JSON.stringify({ aud: settings.clientId, ...claims })).toString('base64url');
  using idToken = SecretBytes.take(Buffer.from(`e30.${payload}.`));
  expect(accountOf(settings, idToken, null)).toBe(account);
});
