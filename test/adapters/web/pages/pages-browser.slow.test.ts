/**
 * Every page and face in a real browser, under the real headers: wide and narrow, light and dark, with the keyboard,
 * and without a script; and what the script does.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encryptionPage } from '../../../../src/adapters/web/pages/encryption.ts';
import type { Frame } from '../../../../src/adapters/web/pages/layout.ts';
import type { EncryptionView } from '../../../../src/admin/service.ts';
import {
  axeFindings,
  type OpenedPage,
  sidewaysPixels,
  startBrowser,
  type TestBrowser,
} from '../../../support/browser.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../support/temporary.ts';
import { type PagesServer, startPagesServer } from './pages-server.ts';
import { frame, pages } from './views.ts';
import { exampleKey, keyOne, keyTwo, on, onVerified, working } from './views-encryption.ts';

let browser: TestBrowser;
let server: PagesServer;
let folder: TemporaryFolder;

beforeAll(async () => {
  browser = await startBrowser();
  server = await startPagesServer();
  folder = await temporaryFolder('pages');
});

afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

beforeEach(() => {
  server.sent.length = 0;
  server.asked.length = 0;
});

const view = (name: string): string => `${server.origin}/view/${name}`;

/** What unfolds is opened: it is part of the page. */
const openAll = 'for (const one of document.querySelectorAll("details")) one.open = true';

describe.each([
  [1280, 'light', []],
  [360, 'dark', []],
  [1280, 'dark', ['long']],
  [360, 'light', ['long']],
] as const)('at %i pixels, %s', (width, scheme, tags) => {
  let opened: OpenedPage;

  beforeAll(async () => {
    opened = await browser.open({ width, scheme });
  });

  afterAll(() => opened[Symbol.asyncDispose]());

  test.each(Object.keys(pages))('%s has no fault', { tags: [...tags] }, async (name) => {
    const { page, troubles } = opened;
    await page.goto(view(name));
    expect(await sidewaysPixels(page)).toBe(0);
    await page.evaluate(openAll);
    expect(await sidewaysPixels(page)).toBe(0);
    expect(await axeFindings(page)).toEqual([]);
    expect(troubles).toEqual([]);
  });
});

test('the gathering of faults sees faults', async () => {
  await using opened = await browser.open({ width: 360 });
  await opened.page.goto(view('overview'));
  await opened.page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<img src="/none" onerror="alert(1)"><div>${'x'.repeat(200)}</div>');
    document.querySelector('div:last-child').setAttribute('style', 'white-space: nowrap; overflow-wrap: normal')`);
  expect((await axeFindings(opened.page)).join()).toContain('image-alt');
  await expect.poll(() => opened.troubles.join()).toContain('Content Security Policy');
  await opened.page.evaluate('fetch("https://mail.example.org/").catch(() => undefined)');
  await expect.poll(() => opened.troubles.length).toBeGreaterThan(1);
});

/** What has the focus: its text, or its name. */
function focused(page: Page): Promise<unknown> {
  return page.evaluate(
    `(({ innerText, name, tagName, id }) => (innerText || name || id || tagName).trim().split('\\n')[0])(document.activeElement)`,
  );
}

async function tabs(page: Page, count: number): Promise<readonly unknown[]> {
  const seen: unknown[] = [];
  for (let step = 0; step < count; step += 1) {
    await page.keyboard.press('Tab');
    seen.push(await focused(page));
  }
  return seen;
}

describe('with the keyboard', () => {
  test('the tab order runs from the top to the end, and skips the navigation by one link', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(view('off'));
    expect(await tabs(page, 8)).toEqual([
      'Skip to the content',
      'ticketmaild',
      'Overview',
      'Mailboxes',
      'Quarantine',
      'Server › Encryption',
      'Sign out',
      'accept_key_loss',
    ]);
    await page.goto(view('off'));
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.querySelector(".skip").getBoundingClientRect().top >= 0')).toBe(true);
    await page.keyboard.press('Enter');
    expect(await tabs(page, 1)).toEqual(['accept_key_loss']);
  });

  test('both boxes and the button are reached and used, and the button answers only then', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(view('off'));
    const button = page.getByRole('button', { name: 'Generate key file & enable encryption' });
    expect(await button.isDisabled()).toBe(true);
    await page.locator('[name=accept_key_loss]').focus();
    await page.keyboard.press('Space');
    expect(await button.isDisabled()).toBe(true);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    expect(await button.isDisabled()).toBe(false);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => server.sent).toHaveLength(1);
    expect(server.sent[0]?.body).toBe(`csrf=${frame.csrf}&accept_key_loss=yes&backup_prepared=yes`);
  });

  test('what has the focus is outlined', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(view('quarantine'));
    for (let step = 0; step < 14; step += 1) {
      await page.keyboard.press('Tab');
      const style = 'getComputedStyle(document.activeElement).outlineStyle';
      expect(await page.evaluate(style), String(await focused(page))).toBe('solid');
    }
  });
});

describe('without a script', () => {
  test('every page is complete, and reloads automatically during an operation', async () => {
    await using opened = await browser.open({ hasScript: false });
    const { page } = opened;
    server.answers.set('/admin/server/encryption', () => encryptionPage(frame, working, null));
    await page.goto(`${server.origin}/admin/server/encryption`);
    const refreshes = () => server.asked.filter((path) => path === '/admin/server/encryption?refresh=1').length;
    await expect.poll(refreshes, { timeout: 12_000 }).toBe(3);
    expect(opened.troubles).toEqual([]);
    await page.getByRole('link', { name: 'Show how far it is' }).click();
    await expect.poll(() => server.asked.filter((path) => path === '/admin/server/encryption')).toHaveLength(2);
  });

  test('a message is discarded after a confirmation', async () => {
    await using opened = await browser.open({ hasScript: false });
    const { page } = opened;
    await page.goto(view('quarantine'));
    const discard = page.getByRole('button', { name: 'Discard it' }).first();
    expect(await discard.isVisible()).toBe(false);
    await page.locator('summary', { hasText: 'Discard…' }).first().click();
    await discard.click();
    await expect.poll(() => server.sent).toHaveLength(1);
    const fields = new URLSearchParams(server.sent[0]?.body);
    expect(Object.fromEntries(fields)).toEqual({
      csrf: frame.csrf,
      id: 'support-berlin/1698765432/811',
      action: 'discard',
      page: '1',
    });
  });

  test('the copy is verified by a command, and the button of the boxes is the browser’s to hold back', async () => {
    await using opened = await browser.open({ hasScript: false });
    const { page } = opened;
    await page.goto(view('on'));
    expect(await page.locator('input[type=file]').isVisible()).toBe(false);
    expect(await page.locator('.unscripted').getByText(on.commands.verify).isVisible()).toBe(true);
    expect(await page.locator('#verify-command').isVisible()).toBe(false);
    await page.goto(view('off'));
    await page.getByRole('button', { name: 'Generate Key File' }).click();
    expect(server.sent).toEqual([]);
  });
});

describe('the copy of the key file', () => {
  let copies = 0;

  async function choose(page: Page, content: Uint8Array | string): Promise<string> {
    // A name of its own: the browser reports no change when the same file is chosen again.
    copies += 1;
    const path = join(folder.path, `copy-${copies}.bin`);
    await writeFile(path, content);
    const verdict = page.locator('[data-verdict]');
    await page.evaluate('document.querySelector("[data-verdict]").textContent = "waiting"');
    await page.locator('#copy').setInputFiles(path);
    await expect.poll(() => verdict.textContent()).not.toBe('waiting');
    return (await verdict.textContent()) ?? '';
  }

  test('is read in the browser, and nothing but its fingerprints is sent', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(view('on'));
    const copy = Buffer.concat([exampleKey(1), exampleKey(2)]);
    expect(await choose(page, copy)).toBe(
      `Fingerprints of this copy: ${keyOne}, ${keyTwo}. The copy holds every key of the key file.`,
    );
    await page.getByRole('button', { name: 'Verify my backup' }).click();
    await expect.poll(() => server.sent).toHaveLength(1);
    expect(server.sent[0]).toEqual({
      path: '/admin/server/encryption/verify-backup',
      contentType: 'application/x-www-form-urlencoded',
      body: `csrf=${frame.csrf}&key_ids=${keyOne}+${keyTwo}`,
    });
    expect(opened.troubles).toEqual([]);
  });

  test('is distinguished from another file', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(view('on'));
    expect(await choose(page, exampleKey(2))).toBe(
      `Fingerprint of this copy: ${keyTwo}. It lacks ${keyOne}: it is an older copy, or from another server.`,
    );
    expect(await choose(page, Buffer.alloc(33, 7))).toBe(
      'This is not a copy of the key file: it has 33 bytes, and a key file has 32 for each of 1 to 8 keys.',
    );
    expect(await choose(page, '')).toContain('it has 0 bytes');
    expect(await choose(page, Buffer.alloc(288, 7))).toContain('it has 288 bytes');
    const command = page.locator('#verify-command').getByText(on.commands.verify);
    expect(await command.isVisible()).toBe(false);
    expect(await choose(page, `age-encryption.org/v1\n-> scrypt ${'x'.repeat(200)}`)).toContain(
      'protected by a passphrase',
    );
    expect(await command.isVisible()).toBe(true);
    await page.getByRole('button', { name: 'Verify my backup' }).click();
    expect(await page.locator('[data-verdict]').textContent()).toContain('protected by a passphrase');
    expect(server.sent).toEqual([]);
  });
});

describe('a page that refreshes automatically', () => {
  const address = '/admin/server/encryption';
  const asRefresh = `${address}?refresh=1`;

  test('shows the progress and the end of an operation, and refreshes less often then', async () => {
    let done = 120;
    server.answers.set(address, () =>
      encryptionPage(frame, done < 200 ? { ...working, progress: { done, total: 200 } } : onVerified, null),
    );
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(`${server.origin}${address}`);
    await page.getByText('120 of 200 passwords sealed').waitFor();
    expect(await page.getByText('Show how far it is').isVisible()).toBe(false);
    done = 180;
    await page.getByText('180 of 200 passwords sealed').waitFor();
    expect(await page.locator('#live').textContent()).toBe('Encryption is being enabled: 90 per cent done.');
    expect(server.asked.slice(0, 2)).toEqual([address, asRefresh]);
    done = 200;
    await page.locator('#rotation').waitFor();
    expect(await page.title()).toBe('Encryption: on · ticketmaild');
    expect(await page.locator('#live').textContent()).toBe('Encryption: On.');
    expect(await page.locator('main').getAttribute('data-refresh')).toBe('10');
    expect(opened.troubles).toEqual([]);
  });

  test('keeps the flash until the state changes', async () => {
    const flash = { tone: 'bad', text: 'It is being enabled.' } as const;
    let [told, view]: [Frame, EncryptionView] = [{ ...frame, flash }, working];
    server.answers.set(address, () => encryptionPage(told, view, null));
    await using opened = await browser.open();
    const { page } = opened;
    await page.goto(`${server.origin}${address}`);
    told = frame;
    await expect.poll(() => server.asked.length, { timeout: 10_000 }).toBe(3);
    expect(await page.getByText(flash.text).isVisible()).toBe(true);
    view = onVerified;
    await page.locator('#rotation').waitFor();
    expect(await page.getByText(flash.text).count()).toBe(0);
  });

  test('a good flash disappears after a while', async () => {
    const flash = { tone: 'good', text: 'It is being enabled.' } as const;
    let told: Frame = { ...frame, flash };
    server.answers.set(address, () => encryptionPage(told, onVerified, null));
    await using opened = await browser.open();
    const { page } = opened;
    await page.clock.install();
    await page.goto(`${server.origin}${address}`);
    told = frame;
    await page.clock.runFor(11_000);
    await page.getByText(flash.text).waitFor({ state: 'detached' });
  });

  test('says that the session is over, shows nothing else, and stops', async () => {
    let isSignedIn = true;
    server.answers.set(address, () => (isSignedIn ? encryptionPage(frame, working, null) : { to: '/admin/sign-in' }));
    await using opened = await browser.open();
    await opened.page.goto(`${server.origin}${address}`);
    isSignedIn = false;
    await opened.page.getByText('You were signed out').waitFor();
    expect(await opened.page.getByRole('link', { name: 'Sign in again' }).getAttribute('href')).toBe('/admin/sign-in');
    expect(await opened.page.locator('main').textContent()).toBe(
      'Signed outYou were signed out: the session was idle for too long, or the password was changed. Sign in again',
    );
    expect(await opened.page.locator('body').textContent()).not.toContain('marta');
    expect(await opened.page.title()).toBe('Signed out · ticketmaild');
    expect(await axeFindings(opened.page)).toEqual([]);
  });

  test('says that the daemon does not answer, and continues when it does', async () => {
    await using opened = await browser.open();
    server.answers.set(address, () => encryptionPage(frame, working, null));
    await opened.page.goto(`${server.origin}${address}`);
    await opened.context.route('**/*refresh=1', (route) => route.abort());
    await opened.page.getByText('The daemon does not answer at the moment').waitFor();
    await opened.context.unroute('**/*refresh=1');
    await opened.page.getByText('The daemon does not answer at the moment').waitFor({ state: 'hidden' });
  });

  test('waits while a person is in the middle of something, and keeps open what was unfolded', async () => {
    await using opened = await browser.open();
    const { page } = opened;
    // The test controls the clock of the page, and with it every refresh.
    await page.clock.install();
    await page.goto(view('mailboxes'));
    await page.locator('#search').fill('berl');
    await page.clock.runFor(11_000);
    await page.getByText('not refreshed while in use').waitFor();
    expect(server.asked).toEqual(['/view/mailboxes']);
    server.asked.length = 0;
    await page.goto(view('overview'));
    await page.getByText('Figures by hour').click();
    await page.clock.runFor(11_000);
    await expect.poll(() => server.asked).toEqual(['/view/overview', '/view/overview?refresh=1']);
    await expect.poll(() => page.locator('#by-hour').getAttribute('open')).toBe('');
    await page.getByText('refreshes automatically', { exact: false }).waitFor();
    expect(await focused(page)).toBe('Figures by hour');
  });
});

test('what is asked about opens below its button, and closes by Cancel beside the answer; no button moves', async () => {
  await using opened = await browser.open();
  const { page } = opened;
  await page.goto(view('quarantine'));
  const places = () =>
    page.evaluate(`[...document.querySelectorAll('.acts')].slice(0, 1).flatMap((one) =>
      [...one.querySelectorAll('form > button:not(.danger), summary')].map((button) => {
        const { x, y, width } = button.getBoundingClientRect();
        return [x, y + scrollY, width];
      }))`);
  const before = await places();
  await page.locator('summary').first().click();
  expect(await page.getByRole('button', { name: 'Discard it' }).first().isVisible()).toBe(true);
  expect(await places()).toEqual(before);
  const tops = await page
    .locator('.asked')
    .first()
    .locator('.buttons button')
    .evaluateAll((all) =>
      all.map((one) => (one as unknown as { getBoundingClientRect(): { y: number } }).getBoundingClientRect().y),
    );
  expect(tops).toEqual([tops[0], tops[0]]);
  await page.getByRole('button', { name: 'Cancel' }).first().click();
  expect(await page.getByRole('button', { name: 'Discard it' }).first().isVisible()).toBe(false);
});

test('times are those of the browser, and UTC is their tooltip', async () => {
  await using opened = await browser.open();
  const { page } = opened;
  await page.goto(view('mailboxes'));
  const [time] = await page
    .locator('.asof time')
    .evaluateAll((all) => all.map((one) => [one.textContent, one.getAttribute('title')]));
  expect(time).toEqual(['2026-03-17 23:32:08', '2026-03-17 14:32:08 UTC']);
  expect(await page.locator('.asof [data-zone]').textContent()).toBe('GMT+9');
  await using unscripted = await browser.open({ hasScript: false });
  await unscripted.page.goto(view('mailboxes'));
  expect(await unscripted.page.locator('.asof').textContent()).toContain('2026-03-17 14:32:08 UTC');
});

test.each(['on', 'on-verified'])('the encryption page fits a window of 1280 by 800 once it is on: %s', async (name) => {
  await using opened = await browser.open({ width: 1280 });
  await opened.page.setViewportSize({ width: 1280, height: 800 });
  await opened.page.goto(view(name));
  expect(await opened.page.evaluate('document.documentElement.scrollHeight')).toBeLessThanOrEqual(800);
});

test('on a telephone the messages in trouble are above the chart', async () => {
  await using opened = await browser.open({ width: 390 });
  await opened.page.goto(view('overview'));
  const top = async (heading: string) =>
    (await opened.page.getByRole('heading', { name: heading }).boundingBox())?.y ?? 0;
  expect(await top('Quarantine')).toBeLessThan(await top('The last 24 hours'));
});

test('a long word of a list is not broken in a narrow window: its box scrolls', async () => {
  await using opened = await browser.open({ width: 360 });
  await opened.page.goto(view('on'));
  await opened.page.evaluate(openAll);
  const lines = 'document.querySelector("pre.lines")';
  await opened.page.evaluate(`${lines}.textContent = 'SET GLOBAL ${'innodb_'.repeat(8)}x = 0;'`);
  expect(await opened.page.evaluate(`${lines}.scrollWidth > ${lines}.clientWidth`)).toBe(true);
  expect(await sidewaysPixels(opened.page)).toBe(0);
  expect(await axeFindings(opened.page)).toEqual([]);
});

test('a command is copied verbatim', async () => {
  await using opened = await browser.open();
  await opened.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await opened.page.goto(view('missing'));
  await opened.page.getByRole('button', { name: 'Copy' }).click();
  await opened.page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await opened.page.evaluate('navigator.clipboard.readText()');
  expect(copied).toBe(
    'install -o ticketmaild -g ticketmaild -m 600 /media/safe/encryption-key.bin /var/lib/ticketmaild/encryption-key.bin',
  );
  // Also by hand: no line ends where it is only shown as one.
  const marked = 'getSelection().selectAllChildren(document.querySelector(".command code")); getSelection().toString()';
  expect(await opened.page.evaluate(marked)).toBe(copied);
});
