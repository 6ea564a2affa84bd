/**
 * The password that an admin types into a real browser is nowhere in the memory of the daemon once they are signed in:
 * not in what the network was read into, nor in what was freed since. The daemon is idle, so nothing else overwrites
 * it.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adminPassword, mustRun, signIn } from '../../../admin/admin-scene.ts';
import { startBrowser, type TestBrowser } from '../../../support/browser.ts';
import { newCanary } from '../../../support/leaks/canary.ts';
import { searchMemory } from '../../../support/leaks/memory-search.ts';
import { runCommand, startDaemon } from '../../../support/processes/daemon.ts';
import { freePort } from '../../../support/servers/programs.ts';
import { certificatesTemplate } from '../../../support/servers/templates.ts';
import { temporaryFolder } from '../../../support/temporary.ts';

let chromium: TestBrowser;

beforeAll(async () => {
  chromium = await startBrowser();
});

afterAll(() => chromium[Symbol.asyncDispose]());

async function tlsFiles(): Promise<Record<string, string>> {
  const folder = await certificatesTemplate();
  return {
    TICKETMAILD_ADMIN_TLS_CERTIFICATE_FILE: join(folder, 'good.pem'),
    TICKETMAILD_ADMIN_TLS_KEY_FILE: join(folder, 'good.key'),
  };
}

async function signInAndOut(address: string, password: string): Promise<void> {
  await using opened = await chromium.open({ ignoresCertificate: true });
  const { page } = opened;
  await page.goto(`${address}/admin/sign-in`);
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL('**/overview');
}

test.each(['http', 'https'] as const)(
  'after signing in over %s the password is in no memory of the daemon',
  async (scheme) => {
    const canary = newCanary(24);
    const typed = Buffer.from(canary).toString();
    await using folder = await temporaryFolder('password-memory');
    const port = await freePort();
    const env = {
      TICKETMAILD_DATA_DIR: folder.path,
      TICKETMAILD_DATABASE_URL: `sqlite:${join(folder.path, 'ticketmaild.db')}`,
      TICKETMAILD_HTTP_LISTEN: 'off',
      TICKETMAILD_ADMIN_LISTEN: `127.0.0.1:${port}`,
      ...(scheme === 'https' ? await tlsFiles() : {}),
    };
    await mustRun(runCommand(['admin', 'add', 'ada', '--password-stdin'], { env, input: typed }));
    await using daemon = startDaemon(['run'], { env });
    await daemon.waitFor(({ event }) => event === 'admin.listening');
    for (let time = 0; time < 3; time += 1) await signInAndOut(`${scheme}://127.0.0.1:${port}`, typed);
    const { hits, searchedBytes } = await searchMemory(daemon.pid, canary);
    expect(hits).toEqual([]);
    expect(searchedBytes).toBeGreaterThan(10_000_000);
  },
  180_000,
);

test('a mailbox password that was typed into a form is sealed, and in no memory of the daemon', {
  tags: ['long'],
  timeout: 180_000,
}, async () => {
  const canary = newCanary(24);
  await using folder = await temporaryFolder('password-memory');
  const address = `http://127.0.0.1:${await freePort()}`;
  const env = {
    TICKETMAILD_DATA_DIR: folder.path,
    TICKETMAILD_DATABASE_URL: `sqlite:${join(folder.path, 'ticketmaild.db')}`,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_ADMIN_LISTEN: new URL(address).host,
  };
  await mustRun(runCommand(['admin', 'add', 'ada', '--password-stdin'], { env, input: adminPassword }));
  await mustRun(runCommand(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'], { env, input: '' }));
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(({ event }) => event === 'admin.listening');
  const ada = await signIn({ address });
  const server = { host: '127.0.0.1', port: '1', tls: 'implicit', trust: 'system', folder: 'INBOX', since: 'all' };
  for (const name of ['one', 'two', 'three']) {
    const fields = { name, user: name, ...server, sign_in: 'password:', action: 'seen' };
    // Refused by the probe, and stored without one.
    expect(
      (await ada.form('mailbox/add', { ...fields, password: `${Buffer.from(canary)}`, probe: 'yes' })).status,
    ).toBe(422);
    expect((await ada.form('mailbox/add', { ...fields, password: `${Buffer.from(canary)}` })).status).toBe(303);
  }
  const { hits, searchedBytes } = await searchMemory(daemon.pid, canary);
  expect(hits).toEqual([]);
  expect(searchedBytes).toBeGreaterThan(10_000_000);
});
