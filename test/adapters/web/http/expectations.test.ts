/** Requests that expect something (RFC 9110 section 10.1.1), which node:http would answer. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { memoryService } from '../memory-service.ts';
import { type OpenPage, openPage, raw, send } from '../page-client.ts';

const head = 'Host: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n';

async function opened(page: OpenPage, bytes: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: page.port });
  await once(
    socket.on('error', () => undefined),
    'connect',
  );
  socket.write(bytes);
  return socket;
}

test('an unknown expectation is refused by the page, and the connection ends', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const expecting = (value: string, host = 'localhost'): string =>
    `GET /x HTTP/1.1\r\nHost: ${host}\r\nConnection: keep-alive\r\nExpect: ${value}\r\n\r\n`;
  for (const value of ['foo', '100-continue, foo', '100-continue\r\nExpect: 100-continue']) {
    const got = await raw(page.port, expecting(value));
    expect(got).toMatch(/^HTTP\/1\.1 417 /);
    expect(got).toContain('content-security-policy');
  }
  expect(await raw(page.port, expecting('100-continue', 'evil.example'))).toMatch(/^HTTP\/1\.1 421 /);
  expect(service.refusals.map(({ reason }) => reason)).toEqual([...Array(3).fill('bad_request'), 'foreign_host']);
  // Connections that stay open keep no other out.
  const many = await Promise.all(Array.from({ length: 300 }, () => opened(page, expecting('foo'))));
  expect((await send(`${page.address}/admin/sign-in`, {})).status).toBe(200);
  for (const socket of many) socket.destroy();
});

test('a client that waits for 100 Continue is sent it once', async () => {
  const service = memoryService();
  await using page = await openPage(service);
  const form = `POST /admin/sign-in HTTP/1.1\r\n${head}Content-Length: 6\r\nExpect: 100-continue\r\n\r\n`;
  const socket = await opened(page, form);
  let got = '';
  socket.on('data', (piece) => {
    got += piece.toString();
  });
  await expect.poll(() => got).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('csrf=x');
  await once(socket, 'close');
  expect(got.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 403']);
  expect(await raw(page.port, `${form}csrf=x`)).toMatch(/^HTTP\/1\.1 403 /);
  expect(service.refusals.map(({ reason }) => reason)).toEqual(['csrf', 'csrf']);
});
