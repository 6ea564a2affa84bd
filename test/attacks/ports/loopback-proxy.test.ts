/**
 * A local user names the client address of others, to lock them out or to guess without a limit: `proxies` with a
 * loopback address trusts every user of the machine, and `check` warns. At a unix socket only the group of the
 * proxy gets in.
 */
import { chown } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { serveAdminPage } from '../../../src/adapters/web/server.ts';
import { memoryService } from '../../adapters/web/memory-service.ts';
import { loopback, memoryLog } from '../../adapters/web/page-client.ts';
import { openCommandLine } from '../../commands/command-line.ts';
import { temporaryFolder } from '../../support/temporary.ts';

test('check warns of a loopback address in proxies, and says what to do', async () => {
  const env = { TICKETMAILD_ADMIN_PROXIES: '127.0.0.1', TICKETMAILD_ADMIN_ORIGIN: 'https://desk.example.org' };
  await using cli = await openCommandLine(env);
  const { out } = await cli.run(['check']);
  expect(out).toMatch(/^warning configuration: \[admin\] proxies has a loopback address: .+\n +hint: .+unix:\/run\//m);
  const json = (await cli.run(['check', '--json'])).json.find(({ hint }) => `${hint}`.includes('unix:'));
  expect(json).toMatchObject({ check: 'configuration', ok: true });
  await using socket = await openCommandLine({
    ...{ TICKETMAILD_ADMIN_LISTEN: 'unix:/run/s', TICKETMAILD_ADMIN_ORIGIN: 'https://desk.example.org' },
  });
  expect((await socket.run(['check'])).out).not.toContain('proxies');
});

test('at a unix socket the page takes the address that the proxy appended, not what its client wrote', async () => {
  await using folder = await temporaryFolder('page');
  const path = join(folder.path, 'page.sock');
  if (process.getuid?.() === 0) await chown(folder.path, 0, 0);
  const service = memoryService();
  const { host: _host, port: _port, ...common } = loopback as typeof loopback & { host: string; port: number };
  const config = { ...common, path, group: null, origin: 'https://desk.example.org' };
  await using _page = await serveAdminPage(config, service, memoryLog());
  const get = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const sent = request({ socketPath: path, path: '/admin/no-such-page', headers }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.once('error', reject).end();
    });
  const named = { host: 'desk.example.org' };
  expect(await get({ ...named, 'x-forwarded-for': '192.0.2.66, 203.0.113.5' })).toBe(404);
  expect(service.refusals.at(-1)).toMatchObject({ reason: 'not_found', address: '203.0.113.5' });
  expect(await get(named)).toBe(400);
  expect(await get({ host: 'localhost', 'x-forwarded-for': '203.0.113.5' })).toBe(421);
});
