/** The connection limit of the admin page: which connection makes room, and how many requests are answered at once. */
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { createConnectionLimit } from '../../../src/adapters/http/connection-limit.ts';
import { createTrustedProxies } from '../../../src/adapters/web/http/request-checks.ts';
import { openHeldServer } from './held-server.ts';

/**
 * A server with six connections and four answers at once; clients are called as `names` says, in the order of their
 * connections.
 */
async function openLimited(names: readonly (string | null)[] = []) {
  const limit = createConnectionLimit({ connectionsMax: 6, answersMax: 4 });
  let count = 0;
  return await openHeldServer({
    open(socket) {
      limit.add(socket, names[count] ?? null);
      count += 1;
      return socket;
    },
    begin: limit.begin,
    end: limit.end,
  });
}

const whole = 'GET / HTTP/1.1\r\n\r\n';

test('the oldest idle connection makes room, whether its head or its body is missing', async () => {
  await using server = await openLimited();
  const body = await server.send(['POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsec']);
  const head = await server.send(['GET ']);
  const others: Socket[] = [];
  for (let count = 0; count < 4; count += 1) others.push(await server.send(['GET ']));
  await server.send([whole]);
  await expect.poll(() => body.closed).toBe(true);
  expect(head.closed).toBe(false);
  await server.send([whole]);
  await expect.poll(() => head.closed).toBe(true);
  expect(others.some(({ closed }) => closed)).toBe(false);
  expect(server.requests).toHaveLength(2);
});

test('the client with the most idle connections makes room', async () => {
  await using server = await openLimited(['alone', ...Array(5).fill('many'), 'other']);
  const alone = await server.send(['GET ']);
  const many: Socket[] = [];
  for (let count = 0; count < 5; count += 1) many.push(await server.send(['GET ']));
  await server.send([whole]);
  await expect.poll(() => many[0]?.closed).toBe(true);
  expect([alone, ...many.slice(1)].some(({ closed }) => closed)).toBe(false);
});

test('one client is given half of the answers at once, and clients that share an address all of them', async () => {
  await using server = await openLimited(['many', 'many', 'many', null, null, null]);
  for (let count = 0; count < 6; count += 1) await server.send([whole]);
  expect(server.requests).toHaveLength(4);
  server.requests[0]?.respond('x');
  await expect.poll(() => server.requests[0]?.outgoing.writableFinished).toBe(true);
  await server.send([whole]);
  expect(server.requests).toHaveLength(5);
});

test('a client that does not read its response makes room', async () => {
  await using server = await openLimited();
  const idle = (await server.send([whole])).pause();
  server.requests[0]?.respond('x'.repeat(20_000_000));
  await expect.poll(() => server.requests[0]?.outgoing.headersSent).toBe(true);
  for (let count = 0; count < 6; count += 1) await server.send(['GET ']);
  await expect.poll(() => server.accepted[0]?.destroyed).toBe(true);
  expect(idle.bytesRead).toBeLessThan(20_000_000);
});

test('a client is an address or a /64, and no one client where many share an address', () => {
  const direct = createTrustedProxies([]);
  expect(['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', '127.0.0.1', '::1'].map(direct.connectionGroup)).toEqual([
    ...['192.0.2.1', '192.0.2.1', '2001:db8:0:0::/64', null, null],
  ]);
  expect(createTrustedProxies(['192.0.2.1']).connectionGroup('192.0.2.1')).toBeNull();
});
