/** What the gate lets through of a connection, and what it leaves behind. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { createPeers } from '../../../src/adapters/web/http/request-checks.ts';
import { createGate, type OneRequest } from '../../../src/adapters/web/http/single-request-connection.ts';

const limits = {
  ...{ headBytesMax: 1024, bodyBytesMax: 64, headMs: 5_000, bodyMs: 5_000, connectionMs: 5_000, lingerMs: 100 },
  ...{ connectionsMax: 6, answersMax: 4 },
};

/** A gate on a port; clients are called as `names` says, in the order of their connections. */
async function openGate(names: readonly (string | null)[] = []) {
  /** Those that were whole. */
  const requests: OneRequest[] = [];
  /** What came by the usual way of Node. */
  const pieces: Buffer[] = [];
  const taken: Socket[] = [];
  const gate = createGate(limits, (request) => void requests.push(request.on('error', () => undefined)));
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once('newListener', () => socket.on('data', (piece: Buffer) => void pieces.push(piece)));
    const client = names[taken.length] ?? null;
    taken.push(socket);
    gate.take(socket, (plain) => plain, client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const clients: Socket[] = [];
  return {
    ...{ requests, pieces },
    /** Sends `parts` one after the other, each when the one before was read. */
    async send(parts: readonly string[]): Promise<Socket> {
      const client = connect(port, '127.0.0.1').setNoDelay(true).resume();
      clients.push(client.on('error', () => undefined));
      await once(client, 'connect');
      await expect.poll(() => taken.length).toBe(clients.length);
      const socket = taken[clients.length - 1];
      for (const [index, part] of parts.entries()) {
        client.write(part);
        const sent = parts.slice(0, index + 1).join('').length;
        await expect.poll(() => socket?.destroyed === true || socket?.bytesRead === sent, { interval: 1 }).toBe(true);
      }
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      server.close();
      await gate.close(0);
    },
  };
}

test.each([
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsecret-23']],
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsec', 'ret', '-23']],
  [['POST / HTTP/1.1\r\nContent-Le', 'ngth: 9\r\n\r', '\nsecret-23']],
  [['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsecret-23GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n']],
])('a body is taken whole, and is nowhere else: %j', async (parts) => {
  await using gate = await openGate();
  const client = await gate.send(parts);
  const [request, ...others] = gate.requests;
  expect(others).toEqual([]);
  expect(Buffer.from(request?.body ?? []).toString()).toBe('secret-23');
  const head: Buffer = request?.read();
  expect(head.toString()).toBe('POST / HTTP/1.1\r\nContent-Length: 9\r\nConnection: close\r\n\r\n');
  // Node's own pieces of memory are left behind as they are.
  expect(gate.pieces).toEqual([]);
  client.resetAndDestroy();
  await expect.poll(() => request?.destroyed).toBe(true);
  expect(request?.body.every((byte) => byte === 0)).toBe(true);
});

test.each([
  'Content-Length: 65',
  'Content-Length: 9\r\nContent-Length: 9',
  'Content-Length: -9',
  'Content-Length: 9x',
  'Content-Length: 9\r\nTransfer-Encoding: chunked',
  'X: y',
])('with %j there is no body', async (line) => {
  await using gate = await openGate();
  await gate.send([`POST / HTTP/1.1\r\n${line}\r\n\r\nsecret-23`]);
  expect(gate.requests.map(({ body }) => body.length)).toEqual([0]);
});

test('what does not come whole is no request', async () => {
  await using gate = await openGate();
  const client = await gate.send(['POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nsecret-23']);
  const closed = once(client, 'close');
  client.end();
  await closed;
  expect(gate.requests).toEqual([]);
});

const whole = 'GET / HTTP/1.1\r\n\r\n';

test('of those who wait, the one that waits longest makes room, whether for its head or for its body', async () => {
  await using gate = await openGate();
  const body = await gate.send(['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsec']);
  const head = await gate.send(['GET ']);
  const others: Socket[] = [];
  for (let count = 0; count < 4; count += 1) others.push(await gate.send(['GET ']));
  await gate.send([whole]);
  await expect.poll(() => body.closed).toBe(true);
  expect(head.closed).toBe(false);
  await gate.send([whole]);
  await expect.poll(() => head.closed).toBe(true);
  expect(others.some(({ closed }) => closed)).toBe(false);
  expect(gate.requests).toHaveLength(2);
});

test('the client with the most connections that wait makes room', async () => {
  await using gate = await openGate(['alone', ...Array(5).fill('many'), 'other']);
  const alone = await gate.send(['GET ']);
  const many: Socket[] = [];
  for (let count = 0; count < 5; count += 1) many.push(await gate.send(['GET ']));
  await gate.send([whole]);
  await expect.poll(() => many[0]?.closed).toBe(true);
  expect([alone, ...many.slice(1)].some(({ closed }) => closed)).toBe(false);
});

test('one client has half of the answers at once, and those who share an address have all', async () => {
  await using gate = await openGate(['many', 'many', 'many', null, null, null]);
  for (let count = 0; count < 6; count += 1) await gate.send([whole]);
  expect(gate.requests).toHaveLength(4);
  gate.requests[0]?.end('x');
  await expect.poll(() => gate.requests[0]?.writableFinished).toBe(true);
  await gate.send([whole]);
  expect(gate.requests).toHaveLength(5);
});

test('who does not take the answer makes room', async () => {
  await using gate = await openGate();
  const idle = (await gate.send([whole])).pause();
  gate.requests[0]?.end(Buffer.alloc(50_000_000));
  for (let count = 0; count < 6; count += 1) await gate.send(['GET ']);
  await expect.poll(() => gate.requests[0]?.destroyed).toBe(true);
  expect(idle.bytesRead).toBeLessThan(50_000_000);
});

test('places go by address or by /64, but not where many share an address', () => {
  const open = createPeers([]);
  expect(['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', '127.0.0.1', '::1'].map(open.placesOf)).toEqual([
    ...['192.0.2.1', '192.0.2.1', '2001:db8:0:0::/64', null, null],
  ]);
  expect(createPeers(['192.0.2.1']).placesOf('192.0.2.1')).toBeNull();
});
