/**
 * Size and latency budgets of the admin page with 200 mailboxes that are polled meanwhile, with figures when
 * exceeded.
 */
import { expect, test } from 'vitest';
import { type Browser, browser as pageClient } from '../../adapters/web/page-client.ts';
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

type Latency = { readonly medianMs: number; readonly p99Ms: number };

/** Of up to three runs the one with the quickest tail, since other processes can only add to it. */
async function quickestOf(client: Browser, path: string): Promise<Latency> {
  let quickest: Latency = { medianMs: Number.POSITIVE_INFINITY, p99Ms: Number.POSITIVE_INFINITY };
  for (let run = 0; run < 3 && (quickest.medianMs >= medianMsMax || quickest.p99Ms >= worstMsMax); run += 1) {
    const { medianMs, p99Ms } = await latencyOf(client, path);
    quickest = p99Ms < quickest.p99Ms ? { medianMs, p99Ms } : quickest;
  }
  return quickest;
}

async function latencyOf(client: Browser, path: string): Promise<Latency> {
  const times: number[] = [];
  for (let index = 0; index < answers; index += 1) {
    const started = performance.now();
    await client.get(path);
    times.push(performance.now() - started);
  }
  times.sort((one, another) => one - another);
  const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10;
  return { medianMs: at(0.5), p99Ms: at(0.99) };
}

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
    const { medianMs, p99Ms } = await quickestOf(path === '/admin/sign-in' ? stranger : ada, path);
    figures[path] = { medianMs, p99Ms };
    expect(medianMs, JSON.stringify(figures)).toBeLessThan(medianMsMax);
    expect(p99Ms, JSON.stringify(figures)).toBeLessThan(worstMsMax);
  }
  expect(signInBytes, JSON.stringify(figures)).toBeLessThan(firstLoadBytesMax);
  expect(overviewBytes, JSON.stringify(figures)).toBeLessThan(overviewLoadBytesMax);
}, 180_000);
