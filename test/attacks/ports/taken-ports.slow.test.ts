/**
 * Port squatting: another process has the ports of the health endpoints and of the admin page. `status`, `check` and
 * `admin add` say so, and none sends an admin with a password to that process.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { type Instance, openInstance } from '../../support/instance.ts';
import { named, runCommand } from '../../support/processes/daemon.ts';
import { freePort } from '../../support/servers/programs.ts';

const password = 'Zucker-und-Salz-91';
let ports: { readonly health: number; readonly page: number };
let strangers: readonly Server[];
let asked: number;
let instance: Instance;

beforeEach(async () => {
  ports = { health: await freePort(), page: await freePort() };
  asked = 0;
  strangers = await Promise.all([strangerAt(ports.health), strangerAt(ports.page)]);
  instance = await openInstance({
    env: {
      TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${ports.health}`,
      TICKETMAILD_ADMIN_LISTEN: `127.0.0.1:${ports.page}`,
    },
  });
});

afterEach(async () => {
  await leave();
  await instance[Symbol.asyncDispose]();
});

async function strangerAt(port: number): Promise<Server> {
  const server = createServer((socket) => {
    asked += 1;
    socket.destroy();
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function leave(): Promise<void> {
  for (const server of strangers) {
    if (!server.listening) continue;
    server.close();
    await once(server, 'close');
  }
}

const lines = async (...args: string[]) => {
  const { stdout } = await instance.command(...args);
  return stdout.split('\n');
};

const addAdmin = async (name: string) =>
  (await runCommand(['admin', 'add', name, '--password-stdin'], { env: instance.env, input: password })).stderr;

const listeners = async () => {
  const { stdout } = await instance.command('status', '--json');
  return (JSON.parse(stdout) as Readiness).checks.listeners;
};

const takenHint =
  'hint: ss -ltnp shows whose port it is: end that program, or set a free listen address. Type no password there.';

test('a running daemon says that it does not listen, and once it does', async () => {
  const daemon = instance.start();
  await daemon.waitFor(named('daemon.ready'));
  const [health, page] = [ports.health, ports.page].map((port) => `cannot listen on 127.0.0.1:${port} (EADDRINUSE)`);
  expect(await listeners()).toMatchObject({
    status: 'warning',
    reason: `address_in_use: ${health}; address_in_use: ${page}`,
    list: [
      { listener: 'health', address: `127.0.0.1:${ports.health}`, status: 'warning' },
      { listener: 'page', address: `127.0.0.1:${ports.page}`, status: 'warning' },
    ],
  });
  expect((await lines('status')).join('\n')).toMatch(/warnings: .*listeners \(address_in_use\)/);
  const checked = (await lines('check')).join('\n');
  expect(checked).toContain(`warning health endpoints: the daemon does not listen at 127.0.0.1:${ports.health}: `);
  expect(checked).toContain(`warning admin page: the daemon does not listen at 127.0.0.1:${ports.page}: `);
  expect(checked).toContain(takenHint);
  const refused = await addAdmin('Ada');
  expect(refused).toMatch(/^The admin page is not served now: the daemon does not listen at /);
  expect(refused).toContain(`Type no password there until ticketmaild check says that the daemon listens.`);
  expect(refused).not.toContain('serves');

  await leave();
  await daemon.waitFor(named('http.listening'));
  await daemon.waitFor(named('admin.listening'));
  expect(await listeners()).toMatchObject({ status: 'ok', reason: null, list: [{ status: 'ok' }, { status: 'ok' }] });
  expect(await lines('check')).toEqual(
    expect.arrayContaining([
      `ok      health endpoints: the daemon (pid ${daemon.pid}) listens at 127.0.0.1:${ports.health}`,
      `ok      admin page: the daemon (pid ${daemon.pid}) listens at 127.0.0.1:${ports.page}`,
    ]),
  );
  const other = `127.0.0.1:${await freePort()}`;
  const env = { ...instance.env, TICKETMAILD_ADMIN_LISTEN: other };
  const shown = `the daemon (pid ${daemon.pid}) listens at 127.0.0.1:${ports.page}; configured here is ${other}`;
  expect((await runCommand(['check'], { env })).stdout).toContain(`ok      admin page: ${shown}\n`);
  const added = await runCommand(['admin', 'add', 'Eve', '--password-stdin'], { env, input: password });
  expect(added.stderr).toBe(`Admin page: ${shown}.\n`);
  expect(await addAdmin('Grace')).toMatch(`The daemon serves the admin page at http://127.0.0.1:${ports.page}/admin `);
});

test('without a daemon a port is taken or free, and no command connects to it', async () => {
  const at = `127.0.0.1:${ports.page}`;
  expect(await lines('check')).toContain(`warning admin page: the daemon does not run, and another process has ${at}`);
  const taken = await addAdmin('Ada');
  expect(taken).toMatch(`The admin page is not served now: the daemon does not run, and another process has ${at}.\n`);
  expect(taken).toContain(takenHint);
  expect(asked).toBe(0);
  await leave();
  expect(await lines('check')).toContain(`ok      admin page: the daemon does not run; ${at} is free for it`);
  expect(await addAdmin('Grace')).toMatch(
    `The daemon does not run. Once it does, it serves the admin page at http://${at}/`,
  );
});
