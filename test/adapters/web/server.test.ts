/**
 * The server of the admin page: taken ports, certificates that appear, change and break, trusted proxies, and stopping.
 */
import { once } from 'node:events';
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { serveAdminPage } from '../../../src/adapters/web/server.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { memoryService } from './memory-service.ts';
import { browser, loopback, memoryLog, openPage, raw, send, signedIn } from './page-client.ts';

let folder: TemporaryFolder;
let certificates: string;
let ca: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  certificates = await certificatesTemplate();
  ca = await readFile(join(certificates, 'ca.pem'), 'utf8');
});

afterAll(() => folder[Symbol.asyncDispose]());

async function listening(port = 0): Promise<Server & AsyncDisposable> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(server, { [Symbol.asyncDispose]: async () => void server.close() });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** A pair of files of its own, and how to put others into their place, as a renewal does. */
async function pair(name: string, kind: 'good' | 'other_name' = 'good') {
  const [certificateFile, keyFile] = [join(folder.path, `${name}.pem`), join(folder.path, `${name}.key`)];
  const put = async (from: string, to: string) => {
    await copyFile(join(certificates, from), `${to}.new`);
    await rename(`${to}.new`, to);
  };
  const renew = async (next: 'good' | 'other_name') => {
    await put(`${next}.pem`, certificateFile);
    await put(`${next}.key`, keyFile);
  };
  await renew(kind);
  return { files: { certificateFile, keyFile }, put, renew };
}

/** The subject of the certificate that is shown, and the version that was agreed on. */
async function handshake(port: number, options: object = {}): Promise<{ name: string; version: string | null }> {
  const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  try {
    await once(socket, 'secureConnect');
    return { name: `${socket.getPeerX509Certificate()?.subject}`, version: socket.getProtocol() };
  } finally {
    socket.destroy();
  }
}

test('a taken port is logged once, retried, and served when it is free', async () => {
  const taken = await listening();
  const log = memoryLog();
  const config = { ...loopback, port: portOf(taken) };
  await using _page = await serveAdminPage(config, memoryService(), log, { retryMs: 10 });
  expect(log.lines).toMatchObject([
    { level: 'warn', event: 'admin.listen_failed', fields: { error: { code: 'address_in_use' } } },
  ]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(log.lines).toHaveLength(1);
  taken.close();
  await vi.waitFor(() => expect(log.lines).toHaveLength(2));
  expect(log.lines[1]).toMatchObject({
    event: 'admin.listening',
    fields: { address: `http://127.0.0.1:${config.port}` },
  });
  expect((await send(`http://127.0.0.1:${config.port}/admin/sign-in`, {})).status).toBe(200);
});

test('an address of another machine is logged, and given up when the page is disposed', async () => {
  const log = memoryLog();
  const page = await serveAdminPage({ ...loopback, host: '192.0.2.1' }, memoryService(), log, { retryMs: 60_000 });
  expect(log.lines).toMatchObject([
    { event: 'admin.listen_failed', fields: { error: { code: 'address_unavailable' } } },
  ]);
  await page[Symbol.asyncDispose]();
});

test('with TLS it speaks 1.2 and 1.3 and nothing older, with cookies for https', async () => {
  const { files } = await pair('versions');
  await using page = await openPage(memoryService(), { tls: files });
  expect(page.address).toMatch(/^https:/);
  const user = await signedIn({ address: page.address, ca });
  const shown = await user.get('/admin/overview');
  expect(shown.status).toBe(200);
  expect(shown.headers['strict-transport-security']).toBe('max-age=604800');
  expect([...user.cookies.keys()]).toEqual(['__Host-ticketmaild']);
  expect((await handshake(page.port)).version).toBe('TLSv1.3');
  expect((await handshake(page.port, { maxVersion: 'TLSv1.2' })).version).toBe('TLSv1.2');
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
  await expect(handshake(page.port, old)).rejects.toThrow();
  expect(await raw(page.port, 'GET /admin/sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n')).not.toContain('HTTP');
  expect((await user.get('/admin/overview')).status).toBe(200);
});

test('a certificate that appears later is waited for, and logged once', async () => {
  const { files, renew } = await pair('later');
  await rm(files.keyFile);
  const log = memoryLog();
  await using _page = await serveAdminPage({ ...loopback, tls: files }, memoryService(), log, { retryMs: 10 });
  expect(log.lines).toMatchObject([{ event: 'admin.listen_failed' }]);
  expect(`${log.lines[0]?.fields.error}`).toContain('later.key cannot be read (ENOENT)');
  await renew('good');
  await vi.waitFor(() => expect(log.lines.at(-1)).toMatchObject({ event: 'admin.listening' }));
});

test('a renewed certificate is loaded without a restart, and an invalid one leaves the former in use', async () => {
  const { files, put, renew } = await pair('renewed');
  await using page = await openPage(memoryService(), { tls: files }, { certificateMs: 10 });
  expect((await handshake(page.port)).name).toBe('CN=localhost');
  await renew('other_name');
  await vi.waitFor(async () => expect((await handshake(page.port)).name).toBe('CN=mail.example.test'));
  // Only half of the next renewal.
  await put('good.pem', files.certificateFile);
  await vi.waitFor(() => expect(page.lines.at(-1)).toMatchObject({ event: 'admin.listen_failed' }));
  const told = page.lines.length;
  expect((await handshake(page.port)).name).toBe('CN=mail.example.test');
  await writeFile(files.keyFile, 'nonsense');
  await vi.waitFor(async () => expect((await handshake(page.port)).name).toBe('CN=mail.example.test'));
  await renew('good');
  await vi.waitFor(async () => expect((await handshake(page.port)).name).toBe('CN=localhost'));
  expect(page.lines.length).toBeLessThanOrEqual(told + 1);
  expect(JSON.stringify(page.lines)).not.toMatch(/nonsense|PRIVATE/);
});

test('behind a trusted proxy its X-Forwarded-For counts, and no other address is answered', async () => {
  const service = memoryService();
  const behind = { proxies: ['127.0.0.1'], origin: 'https://desk.example.org' };
  await using page = await openPage(service, behind);
  const headers = { host: 'desk.example.org', 'x-forwarded-for': '203.0.113.9, 198.51.100.4' };
  const user = browser(page);
  expect((await user.get('/admin/sign-in', headers)).status).toBe(200);
  expect((await user.get('/admin/sign-in', { ...headers, 'x-forwarded-for': 'unknown' })).status).toBe(400);
  await user.post('/admin/sign-out', {}, { ...headers, origin: 'https://desk.example.org' });
  expect(service.refusals.map(({ reason, address }) => [reason, address])).toEqual([
    ['bad_request', '127.0.0.1'],
    ['not_signed_in', '198.51.100.4'],
  ]);
  await using other = await openPage(service, { ...behind, proxies: ['198.51.100.7'] });
  expect(await raw(other.port, 'GET /admin/sign-in HTTP/1.1\r\nHost: desk.example.org\r\n\r\n')).toBe('');
});

test('stopping closes idle connections at once, and lets a response in progress be sent', async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<never>();
  const service = memoryService({
    quarantine() {
      asked.resolve();
      return answer.promise;
    },
  });
  const page = await openPage(service);
  const user = await signedIn(page);
  const idle = connect({ host: '127.0.0.1', port: page.port });
  await once(idle, 'connect');
  const shown = user.get('/admin/quarantine');
  await asked.promise;
  const stopped = page[Symbol.asyncDispose]();
  await new Promise((resolve) =>
    idle
      .on('error', () => undefined)
      .resume()
      .once('close', resolve),
  );
  answer.reject(new Error('x'));
  expect((await shown).status).toBe(500);
  await stopped;
  await expect(send(page.address, {})).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
