/**
 * A local user listens at [::1]:PORT, the port of the page or of the health endpoints, to be `http://localhost:PORT`,
 * which browsers ask at ::1 first: the daemon holds the port at both addresses, and names one that it found taken.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { startHealthServer } from '../../../src/adapters/http/health-server.ts';
import { serveAdminPage } from '../../../src/adapters/web/server.ts';
import { causeCode } from '../../../src/errors.ts';
import { memoryService } from '../../adapters/web/memory-service.ts';
import { loopback, memoryLog, openPage } from '../../adapters/web/page-client.ts';
import { fine } from '../../commands/status/samples.ts';
import { until } from '../../support/promises.ts';
import { freePort } from '../../support/servers/programs.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
const sources = { readiness: async () => fine, metrics: null };

/** Another user's server at ::1, or the code of the error. */
async function stranger(port: number): Promise<Server | string> {
  const server = createServer((socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\nnot ours')).listen(port, '::1');
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    return causeCode(error);
  }
}

async function textAt(url: string): Promise<string> {
  return await (await fetch(url)).text();
}

describe.skipIf(!hasIpv6)('a stranger at the other address of localhost', () => {
  test('finds it in use while the page is served, which answers there', async () => {
    await using page = await openPage(memoryService());
    expect(await stranger(page.port)).toBe('EADDRINUSE');
    expect(await textAt(`http://[::1]:${page.port}/admin/sign-in`)).toContain('name="password"');
  });

  test('finds it in use while the health endpoints are served, which answer there', async () => {
    await using health = await startHealthServer({ host: '127.0.0.1', port: 0 }, sources);
    const { port } = new URL(health.address);
    expect(await stranger(Number(port))).toBe('EADDRINUSE');
    expect(await textAt(`http://[::1]:${port}/livez`)).toBe('{"status":"ok"}');
  });

  test('finds 127.0.0.1 in use where ::1 is configured', async () => {
    await using health = await startHealthServer({ host: '::1', port: 0 }, sources);
    const { port } = new URL(health.address);
    expect(await textAt(`http://127.0.0.1:${port}/livez`)).toBe('{"status":"ok"}');
  });

  test('who was there first is named in the log, and 127.0.0.1 is served', async () => {
    const port = await freePort();
    const theirs = await stranger(port);
    if (typeof theirs === 'string') throw new Error(theirs);
    const log = memoryLog();
    const told: string[] = [];
    const twin = { descriptor: null, onTaken: (address: string) => void told.push(address) };
    {
      await using _page = await serveAdminPage({ ...loopback, port }, memoryService(), log);
      expect(await textAt(`http://127.0.0.1:${port}/admin/sign-in`)).toContain('name="password"');
    }
    {
      await using _health = await startHealthServer({ host: '127.0.0.1', port, twin }, sources);
      expect(await textAt(`http://127.0.0.1:${port}/livez`)).toBe('{"status":"ok"}');
    }
    theirs.close();
    const taken = { level: 'warn', event: 'listen.localhost_taken', fields: { address: `[::1]:${port}` } };
    expect(log.lines).toContainEqual(taken);
    expect(told).toEqual([`[::1]:${port}`]);
  });

  test('leaves it to the daemon within seconds once it ends', { timeout: 15_000 }, async () => {
    const port = await freePort();
    const theirs = await stranger(port);
    if (typeof theirs === 'string') throw new Error(theirs);
    await using _health = await startHealthServer({ host: '127.0.0.1', port }, sources);
    theirs.close();
    const ours = () => textAt(`http://[::1]:${port}/livez`).catch(() => '');
    await until('the daemon listens there', async () => (await ours()) === '{"status":"ok"}', 10_000);
  });
});
