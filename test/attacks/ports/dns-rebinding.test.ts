/**
 * DNS rebinding: a page in a browser has its own name resolve to the health endpoints, to read mailboxes, hosts and
 * errors from there. Every endpoint answers 421 and one line.
 */
import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { startHealthServer } from '../../../src/adapters/http/health-server.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { rawRequest } from '../../support/servers/raw-request.ts';

const readiness = { ready: true, checks: { mailboxes: { list: [] } } } as unknown as Readiness;
const sources = {
  readiness: async () => readiness,
  metrics: async () => ({ contentType: 'text/plain', text: 'ticketmaild_ready 1\n' }),
};
const paths = ['/livez', '/readyz', '/metrics'];

/** Status line and body of a request with these header lines. */
async function get(address: string, path: string, ...headers: string[]): Promise<string> {
  return await rawRequest(address, [`GET ${path} HTTP/1.1`, ...headers, '', ''].join('\r\n'));
}

test.each([
  ...['rebound.example', 'rebound.example:80', '127.0.0.1.rebound.example', 'localhost.rebound.example', '192.0.2.1'],
  ...['localhost\t.example', 'user@localhost', '127.0.0.1:99999'],
])('Host %s: refused, and the answer has nothing of the daemon', async (host) => {
  await using server = await startHealthServer({ host: '127.0.0.1', port: 0 }, sources);
  for (const path of paths) {
    const got = await get(server.address, path, `Host: ${host}`);
    expect(got).toMatch(/^HTTP\/1\.1 421 /);
    expect(got.split('\r\n\r\n')[1]).toBe('{"error":"not served under this host name: see [http] hosts"}');
  }
});

test('two Hosts: refused', async () => {
  await using server = await startHealthServer({ host: '127.0.0.1', port: 0 }, sources);
  expect(await get(server.address, '/readyz', 'Host: localhost', 'Host: rebound.example')).toMatch(/^HTTP\/1\.1 4/);
});

test.each(['localhost', 'LOCALHOST:8025', '127.0.0.1:1', '127.8.8.8', '[::1]:8025', 'desk.example.org', '10.0.0.9:80'])(
  'probes and Prometheus under a loopback name or one of [http] hosts are answered: %s',
  async (host) => {
    const hosts = ['desk.example.org', '10.0.0.9'];
    await using server = await startHealthServer({ host: '127.0.0.1', port: 0, hosts }, sources);
    for (const path of paths) expect(await get(server.address, path, `Host: ${host}`)).toMatch(/^HTTP\/1\.1 200 /);
  },
);

test('a probe by HTTP/1.0 without a Host is answered: every browser sends one', async () => {
  await using server = await startHealthServer({ host: '127.0.0.1', port: 0 }, sources);
  expect(await rawRequest(server.address, 'GET /livez HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
});

test('a server on every address is scraped by the address that a connection arrives at', async () => {
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal);
  await using server = await startHealthServer({ host: '0.0.0.0', port: 0 }, sources);
  const { port } = new URL(server.address);
  for (const address of ['127.0.0.1', ...(outside === undefined ? [] : [outside.address])]) {
    expect(await get(`http://${address}:${port}`, '/metrics', `Host: ${address}:${port}`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get(`http://${address}:${port}`, '/metrics', 'Host: rebound.example')).toMatch(/^HTTP\/1\.1 421 /);
  }
});
