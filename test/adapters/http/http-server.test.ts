/** The HTTP server: one request per connection, its body as bytes in one buffer that is wiped, and fixed limits. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { openHeldServer } from './held-server.ts';

test.each([
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsecret-23']],
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsec', 'ret', '-23']],
  [['POST / HTTP/1.1\r\nContent-Le', 'ngth: 9\r\n\r', '\nsecret-23']],
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsecret-23GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n']],
])('a body is read whole, and every piece that was read is overwritten: %j', async (parts) => {
  const pieces: Buffer[] = [];
  const open = (socket: Socket): Socket => socket.on('data', (piece: Buffer) => void pieces.push(piece));
  await using server = await openHeldServer({ open });
  const client = await server.send(parts);
  await expect.poll(() => server.requests.length).toBe(1);
  const body = server.requests[0]?.body ?? Buffer.alloc(0);
  expect(Buffer.from(body).toString()).toBe('secret-23');
  await expect.poll(() => Buffer.concat(pieces).every((byte) => byte === 0)).toBe(true);
  expect(Buffer.concat(pieces).length).toBe(parts.join('').length);
  client.resetAndDestroy();
  await expect.poll(() => body.every((byte) => byte === 0)).toBe(true);
  expect(server.requests).toHaveLength(1);
});

test.each([
  'Content-Length: 65',
  'Content-Length: 9\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked',
  'X: y',
])('with %j there is no body', async (line) => {
  await using server = await openHeldServer();
  await server.send([`POST / HTTP/1.1\r\n${line}\r\n\r\nsecret-23`]);
  await expect.poll(() => server.requests.length + server.accepted.filter(({ destroyed }) => destroyed).length).toBe(1);
  expect(server.requests.every(({ body }) => body.length === 0)).toBe(true);
});

test.each([
  'Content-Length: 9\r\nContent-Length: 9',
  'Content-Length: -9',
  'Content-Length: 9x',
  `X: ${'y'.repeat(2_000)}`,
])('with %j it is no request, which the client is answered', async (line) => {
  await using server = await openHeldServer();
  const client = await server.send([]);
  let text = '';
  client.on('data', (piece) => {
    text += piece.toString();
  });
  client.write(`POST / HTTP/1.1\r\n${line}\r\n\r\nsecret-23`);
  await once(client, 'end');
  expect(text).toMatch(/^HTTP\/1\.1 4(00|31) /);
  expect(text).toContain('x-test: yes');
  expect(text).toContain('connection: close');
  expect(server.requests).toEqual([]);
});

test('a body that is not whole when the client closes is no request', async () => {
  await using server = await openHeldServer();
  const client = await server.send(['POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nsecret-23']);
  const closed = once(client, 'close');
  client.end();
  await closed;
  expect(server.requests).toEqual([]);
});

test('a client that half-closes after its request is answered', async () => {
  await using server = await openHeldServer();
  const client = await server.send(['GET / HTTP/1.1\r\n\r\n']);
  client.end();
  await expect.poll(() => server.requests.length).toBe(1);
  const answered = once(client, 'data');
  server.requests[0]?.respond('hello');
  expect(String((await answered)[0])).toMatch(/^HTTP\/1\.1 200 OK\r\n.*connection: close\r\n.*\r\n\r\nhello$/is);
});
