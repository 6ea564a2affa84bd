/**
 * From "Connect with" on the page to a ticket: real Chromium, provider, Dovecot and daemon, with encryption on, the
 * strict cookie and the content security policy. Afterwards nothing of the sign-in is found anywhere.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBrowser, type TestBrowser } from '../../support/browser.ts';
import { mail, metrics, opened, readiness } from '../../support/instance.ts';
import { visitProvider } from '../../support/oauth/person.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { openTokenSetting, type TokenSetting } from '../../support/oauth/token-setting.ts';
import { type Daemon, named, runCommand } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { freePort } from '../../support/servers/programs.ts';

const password = 'correct horse 9 battery';
const user = 'anna@example.test';

let browser: TestBrowser;
let provider: TestProvider;
let dovecot: Dovecot;
let setting: TokenSetting;
let daemon: Daemon;
let origin: string;

beforeAll(async () => {
  browser = await startBrowser();
  provider = await startProvider();
  dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
  const secret = `client_secret_file = ${JSON.stringify(provider.clientSecretFile)}`;
  setting = await openTokenSetting({ provider, dovecot }, [
    { name: 'people', as: 'person', lines: ['client_id = "test-page"', secret] },
  ]);
  await setting.add(user, 'anna');
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  const env = { ...setting.instance.env, TICKETMAILD_CONFIG: setting.configFile };
  await runCommand(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'], { env });
  const added = await runCommand(['admin', 'add', 'ada', '--password-stdin'], { env, input: password });
  expect(added.code, added.stderr).toBe(0);
  daemon = await setting.start({ TICKETMAILD_ADMIN_LISTEN: `127.0.0.1:${port}`, TICKETMAILD_LOG_LEVEL: 'trace' });
  await daemon.waitFor(named('admin.listening'));
});

afterAll(async () => {
  await setting[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
  await browser[Symbol.asyncDispose]();
});

async function signIn(page: Page): Promise<void> {
  await page.goto(`${origin}/admin/sign-in`);
  await page.locator('[name=name]').fill('ada');
  await page.locator('[name=password]').fill(password);
  await page.locator('main button[type=submit]').click();
  await page.waitForURL('**/admin/overview');
}

async function begin(page: Page): Promise<void> {
  await page.goto(`${origin}/admin/mailbox?name=anna`);
  await page.getByRole('button', { name: 'with people' }).click();
}

/** Signs in on the forms of the provider, and allows. */
async function allow(page: Page, account: string, button = 'Allow'): Promise<void> {
  await page.getByRole('link', { name: 'Continue to people' }).click();
  await page.locator('[name=login]').fill(account);
  await page.locator('[name=password]').fill('pw');
  await page.locator('form button').first().click();
  await page.locator('[name=login]').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: button }).click();
}

const flash = (page: Page) => page.locator('.flash p').textContent();

/** Everything that the daemon wrote: log at trace, and the files of its data folder. */
async function written(): Promise<string> {
  const files = await readdir(setting.instance.dataDir, { recursive: true, withFileTypes: true });
  const paths = files.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  const contents = await Promise.all(paths.map((path) => readFile(path, 'latin1')));
  return [JSON.stringify([daemon.lines, await readiness(daemon)]), await metrics(daemon), ...contents].join('\n');
}

test.each([
  ['another account', async (page: Page) => await allow(page, 'eve@example.test'), 'eve@example.test signed in'],
  ['a denied access', async (page: Page) => await allow(page, user, 'Deny'), 'denied'],
])('%s is refused with its own sentence, and nothing is stored', async (_name, act, sentence) => {
  await using chromium = await browser.open({ ignoresCertificate: true });
  await signIn(chromium.page);
  await begin(chromium.page);
  await act(chromium.page);
  await chromium.page.waitForURL('**/admin/mailbox?name=anna');
  expect(await flash(chromium.page)).toContain(sentence);
  expect(await flash(chromium.page)).toContain('Nothing was stored');
  expect(await setting.instance.app.store.grantByName('anna')).toBeNull();
});

test('an attacker cannot have the admin finish a sign-in of theirs', async () => {
  const { oauth, vault, actor } = setting.instance.app;
  await vault.refresh();
  await using chromium = await browser.open({ ignoresCertificate: true });
  await signIn(chromium.page);
  const [people] = (await import('../../../src/config/load.ts')).loadConfig({
    file: setting.configFile,
    env: setting.instance.env,
  }).oauth;
  if (people === undefined) throw new Error('no provider');
  const request = { grant: 'anna', provider: people, user, by: actor };
  const begun = await oauth.consents.beginBrowser(request, `${origin}/admin/oauth/callback`);
  const ending = await visitProvider(begun.url, user, { caPem: provider.caPem });
  if (ending.kind !== 'address') throw new Error(ending.heading);
  const before = (await provider.report()).counters;
  await chromium.page.goto(ending.answer);
  await chromium.page.waitForURL('**/admin/overview');
  expect(await flash(chromium.page)).toContain('This sign-in was not begun here');
  expect((await provider.report()).counters).toEqual(before);
  expect(await setting.instance.app.store.grantByName('anna')).toBeNull();
});

test.each([true, false])('from the button to a ticket, with a script: %s', async (hasScript) => {
  await using chromium = await browser.open({ ignoresCertificate: true, hasScript });
  const { page, troubles } = chromium;
  const seen: string[] = [];
  const cookies: string[] = [];
  page.on('request', async (one) => {
    if (!one.url().includes('callback?') || one.method() !== 'GET') return;
    cookies.push(`${(await one.allHeaders())['cookie'] ?? 'none'}`);
  });
  page.on('request', (one) => seen.push(`${one.method()} ${one.url()} ${one.headers()['referer'] ?? ''}`));
  await signIn(page);
  await begin(page);
  await allow(page, user);
  if (!hasScript) await page.getByRole('button', { name: 'Finish the sign-in' }).click();
  await page.waitForURL('**/admin/mailbox?name=anna');
  expect(await flash(page)).toBe(`The sign-in of ${user} is stored: the mailbox is fetched now.`);
  expect(await page.locator('main').textContent()).toContain('Connected');
  expect(troubles).toEqual([]);
  // Strict: the provider's redirect came without it.
  expect(cookies).toEqual(['none']);

  const before = opened(daemon);
  await dovecot.append(user, 'INBOX', [mail(`connected-${hasScript}`)]);
  await until('a ticket', async () => opened(daemon) === before + 1);

  const callback = new URL(seen.find((line) => line.includes('callback?'))?.split(' ')[1] ?? '');
  const [code, state] = [callback.searchParams.get('code') ?? '', callback.searchParams.get('state') ?? ''];
  expect(code.length > 20 && state.length > 20).toBe(true);
  // No Referer holds them: the third word of each line.
  expect(seen.filter((line) => line.split(' ')[2]?.includes('code='))).toEqual([]);
  const tokens = (await provider.report()).tokens.flatMap(({ access, refresh }) => [access, refresh ?? access]);
  expect(tokens.length).toBeGreaterThan(1);
  const text = await written();
  // The search finds what is there.
  expect([user, 'oauth callback', 'ticketmaild_oauth_grants'].filter((word) => !text.includes(word))).toEqual([]);
  expect([code, state, ...tokens].filter((secret) => text.includes(secret))).toEqual([]);
  const audit = await setting.command('encryption', 'log', '--json');
  expect(audit.stdout).toContain('ada (admin page)');
  expect([code, state, ...tokens].filter((secret) => audit.stdout.includes(secret))).toEqual([]);
});
