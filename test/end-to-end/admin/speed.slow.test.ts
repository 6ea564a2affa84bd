/**
 * Size and latency budgets of the admin page with 200 mailboxes that are polled meanwhile, with figures when
 * exceeded.
 */
import { expect, test } from 'vitest';
import { browser as pageClient } from '../../adapters/web/page-client.ts';
import {
  adminName,
  adminPassword,
  bothBoxes,
  encryptionPath,
  openAdminScene,
  signIn,
  untilSwitch,
} from '../../admin/admin-scene.ts';
import { startBrowser } from '../../support/browser.ts';
import { until } from '../../support/promises.ts';

const firstLoadBytesMax = 30_000;
/** The overview with its longest list, with nothing in the cache. */
const overviewLoadBytesMax = 60_000;
const answers = 200;
const medianMsMax = 50;
const worstMsMax = 250;

test('the first page is small, and every page is there at once', async () => {
  await using scene = await openAdminScene({ mailboxes: 200, pollIntervalS: 10 });
  await using _daemon = await scene.start();
  await using browser = await startBrowser();
  await using opened = await browser.open();
  const { page } = opened;
  const wire = await opened.context.newCDPSession(page);
  await wire.send('Network.enable');
  let bytes = 0;
  wire.on('Network.loadingFinished', ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await page.goto(`${scene.address}/admin`, { waitUntil: 'networkidle' });
  const signInBytes = bytes;
  await page.getByLabel('Name').fill(adminName);
  await page.getByLabel('Password').fill(adminPassword);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL('**/admin/overview');
  await page.waitForLoadState('networkidle');
  const ada = await signIn(scene);
  await ada.form('server/encryption/enable', bothBoxes);
  await untilSwitch(scene, 'on');
  await until(
    'all were polled',
    async () => (await scene.rows('select count(*) from mailbox_state where last_success_at is not null'))[0] === '200',
    60_000,
  );
  // The browser of tests keeps no files: each page comes with its style and script. Later the overview is refreshed.
  const overviewBytes = bytes - signInBytes;
  const figures: Record<string, unknown> = { signInBytes, overviewBytes };
  const stranger = pageClient(scene);
  for (const path of ['/admin/sign-in', '/admin/overview', '/admin/quarantine', encryptionPath]) {
    const times: number[] = [];
    let size = 0;
    for (let index = 0; index < answers; index += 1) {
      const started = performance.now();
      size = (await (path === '/admin/sign-in' ? stranger : ada).get(path)).text.length;
      times.push(performance.now() - started);
    }
    times.sort((one, another) => one - another);
    const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10;
    figures[path] = { medianMs: at(0.5), p99Ms: at(0.99), bytes: size };
    expect(at(0.5), JSON.stringify(figures)).toBeLessThan(medianMsMax);
    expect(at(0.99), JSON.stringify(figures)).toBeLessThan(worstMsMax);
  }
  expect(signInBytes, JSON.stringify(figures)).toBeLessThan(firstLoadBytesMax);
  expect(overviewBytes, JSON.stringify(figures)).toBeLessThan(overviewLoadBytesMax);
}, 180_000);
