/** Clients that are slow, many, or send without end: others are served, and a connection is one request. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { memoryService } from '../memory-service.ts';
import { type OpenPage, openPage, raw, send, signedIn } from '../page-client.ts';

const sockets = new Set<Socket>();

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

async function opened(page: OpenPage, bytes = ''): Promise<Socket & { readonly closed: boolean }> {
  const socket = connect({ host: '127.0.0.1', port: page.port });
  sockets.add(socket.on('error', () => undefined).resume());
  await once(socket, 'connect');
  if (bytes !== '') socket.write(bytes);
  return socket;
}

/** However it ends. */
function ended(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

const head =
  'POST /admin/sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n';

test('a head or a body that does not arrive is waited for until its limit', async () => {
  await using page = await openPage(memoryService(), {}, { headMs: 150, bodyMs: 150 });
  const slow = await Promise.all([
    opened(page),
    opened(page, 'GET /admin HTTP/1.1\r\nHost: loc'),
    opened(page, `${head}Content-Length: 100\r\n\r\nname=`),
  ]);
  await Promise.all(slow.map((socket) => ended(socket)));
  expect((await send(`${page.address}/admin/sign-in`, {})).status).toBe(200);
});

test('a head that arrives byte by byte is not waited for longer', async () => {
  await using page = await openPage(memoryService(), {}, { headMs: 300 });
  const socket = await opened(page, 'GET / HTTP/1.1\r\n');
  const drip = setInterval(() => socket.write('X: y\r\n'), 20);
  await ended(socket);
  clearInterval(drip);
});

test('connections that send nothing keep no other client out', async () => {
  await using page = await openPage(memoryService(), {}, { headMs: 20_000 });
  await Promise.all(Array.from({ length: 400 }, () => opened(page, 'GET ')));
  const got = await Promise.all(Array.from({ length: 20 }, () => send(`${page.address}/admin/sign-in`, {})));
  expect(got.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect([...sockets].filter((socket) => !socket.closed).length).toBeLessThanOrEqual(256);
});

test('while 64 requests are being answered the next ones are cut off, and later ones are not', async () => {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let asked = 0;
  const service = memoryService({
    hasNoAccount() {
      asked += 1;
      return promise;
    },
  });
  await using page = await openPage(service);
  const many = Array.from({ length: 64 }, () => send(`${page.address}/admin/sign-in`, {}));
  await vi.waitFor(() => expect(asked).toBe(64));
  await expect(send(`${page.address}/admin/sign-in`, {})).rejects.toThrow();
  resolve(false);
  expect((await Promise.all(many)).every(({ status }) => status === 200)).toBe(true);
  expect((await send(`${page.address}/admin/sign-in`, {})).status).toBe(200);
});

test('of many requests in one piece the first is answered, and the connection ends', async () => {
  const service = memoryService();
  let asked = 0;
  const hasNoAccount = async (): Promise<boolean> => {
    asked += 1;
    return false;
  };
  await using page = await openPage({ ...service, hasNoAccount });
  const got = await raw(page.port, 'GET /admin/sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_000));
  expect(got.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
  expect(asked).toBe(1);
});

test('what follows a form is no second request', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const user = await signedIn(page);
  const cookie = [...user.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const form = `csrf=${user.csrf}`;
  const host = `localhost:${page.port}`;
  const lines = `Host: ${host}\r\nOrigin: http://${host}\r\nCookie: ${cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
  const rotate = `POST /admin/server/encryption/rotate HTTP/1.1\r\n${lines}Content-Length: ${form.length}\r\n\r\n${form}`;
  await raw(page.port, rotate + rotate);
  // Two lengths in one, to the eyes of one reader or the other.
  await raw(page.port, rotate.replace('Content-Length', `Content-Length: 0\r\nContent-Length`) + rotate);
  await raw(page.port, rotate.replace('Content-Length', `X: y\n Content-Length: 0\r\nContent-Length`) + rotate);
  expect(service.done.filter((line) => line.startsWith('start'))).toEqual(['start rotate ada']);
});

test('a form that arrives byte by byte, or whose sender half-closes, is read whole', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const body = 'csrf=x&name=ada&password=secret';
  const request = `${head}Content-Length: ${body.length}\r\nConnection: keep-alive\r\n\r\n${body}`;
  const socket = connect({ host: '127.0.0.1', port: page.port, allowHalfOpen: true });
  sockets.add(socket);
  let got = '';
  socket.on('data', (piece) => {
    got += piece.toString();
  });
  for (const byte of request) {
    socket.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  await ended(socket);
  expect(got).toMatch(/^HTTP\/1\.1 403 /);
  expect(got).toContain('out of date');
  expect(service.refusals).toMatchObject([{ reason: 'csrf' }]);
});
