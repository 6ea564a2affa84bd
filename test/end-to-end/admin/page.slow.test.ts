/**
 * The admin page as an admin uses it, in a real browser: from signing in over switching encryption on with 200 polled
 * mailboxes while mail arrives, through a reload and the death of the daemon half way, to switching it off again.
 *
 * Every state is pictured in light and dark, wide and narrow, and axe looks at each. The tests are one story, in this
 * order.
 */

import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pictured } from '../../admin/admin-pictures.ts';
import {
  type AdminScene,
  adminName,
  adminPassword,
  encryptionPath,
  type MailStream,
  oneTicketEach,
  openAdminScene,
  streamMail,
  untilSwitch,
} from '../../admin/admin-scene.ts';
import { lockMailbox } from '../../admin/locked-row.ts';
import { shellRun } from '../../admin/shell.ts';
import { type OpenedPage, startBrowser, type TestBrowser } from '../../support/browser.ts';
import { count } from '../../support/instance.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';

const polled = 200;
const resting = 250;
/** The last one in the order of sealing. */
const lastOne = `zz-${`${resting}`.padStart(4, '0')}`;

let scene: AdminScene;
let browser: TestBrowser;
let daemon: Daemon;
let opened: OpenedPage;
let page: Page;
let stream: MailStream;
const wrong: string[] = [];
/** Bodies of forms that the browser sent, by path. */
const sent: { readonly path: string; readonly body: string }[] = [];

beforeAll(async () => {
  [scene, browser] = await Promise.all([
    openAdminScene({ mailboxes: polled, resting, pollIntervalS: 5 }),
    startBrowser(),
  ]);
  daemon = await scene.start();
  opened = await browser.open();
  page = opened.page;
  page.on('request', (request) => {
    const body = request.postDataBuffer();
    if (body !== null) sent.push({ path: new URL(request.url()).pathname, body: body.toString('latin1') });
  });
  stream = streamMail(scene, 50);
}, 120_000);

afterAll(async () => {
  await stream?.stop();
  await opened?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await scene?.[Symbol.asyncDispose]();
});

async function picture(name: string): Promise<void> {
  wrong.push(...(await pictured(page, name)));
}

const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
const mainText = async () => (await page.locator('main').textContent()) ?? '';
const flashText = async () => (await page.locator('.flash').textContent()) ?? '';

/** A part of the encryption page that is opened on demand, and stays open across a refresh. */
async function openRow(title: string): Promise<void> {
  const row = page.locator('.rows > details', { has: page.getByText(title, { exact: true }) });
  if (!(await row.evaluate((details) => (details as unknown as { open: boolean }).open)))
    await row.locator('summary').first().click();
}

/** Waits until the page, by refreshing itself alone, shows the text. */
async function untilShown(text: string | RegExp, timeoutMs = 30_000): Promise<void> {
  await page.locator('main').getByText(text).first().waitFor({ timeout: timeoutMs });
}

/** Of the bar on the page. */
async function progress(): Promise<{ readonly done: number; readonly total: number }> {
  const bar = page.locator('progress[value]');
  await bar.waitFor({ timeout: 15_000 });
  return { done: Number(await bar.getAttribute('value')), total: Number(await bar.getAttribute('max')) };
}

async function keyIds(): Promise<readonly string[]> {
  const [shown = {}] = await scene.json(['key', 'show', '--json']);
  return shown['key_ids'] as readonly string[];
}

async function passwordForms(): Promise<string> {
  return (await scene.rows('select password_form, count(*) from mailboxes group by 1 order by 1')).join(' ');
}

test('a stranger comes to the sign-in page, and an admin to the overview', async () => {
  await page.goto(`${scene.address}/`);
  expect(new URL(page.url()).pathname).toBe('/admin/sign-in');
  await picture('sign-in');
  await page.getByLabel('Name').fill(adminName);
  await page.getByLabel('Password').fill('not this one at all');
  await press('Sign in');
  expect(await mainText()).toContain('Name or password is wrong.');
  await picture('sign-in-refused');
  await page.getByLabel('Name').fill(adminName);
  await page.getByLabel('Password').fill(adminPassword);
  await press('Sign in');
  await page.waitForURL('**/admin/overview');
  await page.getByText('Mailboxes OK').waitFor();
  await until('tickets', () => stream.sent.length > 20);
  await page.reload();
  expect(await mainText()).toContain(`All ${polled + resting} mailboxes`);
  await picture('overview');
  await page.getByRole('link', { name: 'Quarantine' }).first().click();
  await picture('quarantine-empty');
}, 120_000);

test('a mailbox is added with a pinned certificate, tested and removed', async () => {
  const { dovecot } = scene;
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
  await page.getByRole('link', { name: 'Mailboxes' }).first().click();
  await page.getByRole('link', { name: 'Add a mailbox' }).click();
  await page.getByLabel('Name', { exact: true }).fill('desk');
  await page.getByLabel('Server', { exact: true }).fill('localhost');
  await page.getByLabel('Port', { exact: true }).fill(`${dovecot.tlsPort}`);
  await page.getByLabel('User', { exact: true }).fill(user);
  await page.getByLabel('Password of the mailbox', { exact: true }).fill('pw');
  await press('Test and add');
  await page.getByText('The certificate of the server is not trusted').waitFor();
  await picture('mailbox-untrusted');
  await page.getByText('Trust it alone (pin)').click();
  await page.getByLabel('Password of the mailbox', { exact: true }).fill('pw');
  await press('Test and add');
  await page.waitForURL('**/admin/mailbox?name=desk');
  expect(await flashText()).toBe('desk is added.');
  await press('Test');
  await page.getByText('The test passed').waitFor();
  await page.getByText('Remove this mailbox').click();
  await page.getByLabel('Type its name').fill('desk');
  await page.getByLabel('Your own password', { exact: true }).fill(adminPassword);
  await press('Remove it');
  await page.waitForURL('**/admin/mailboxes');
  expect(await flashText()).toContain('desk is removed');
  sent.length = 0;
});

test('the button answers when both boxes are ticked, and not before', async () => {
  await page.getByRole('link', { name: 'Server › Encryption' }).click();
  expect(await mainText()).toMatch(/losing the key file loses the passwords/i);
  const button = page.getByRole('button', { name: 'Generate key file & enable encryption' });
  const [keyLoss, backup] = [page.locator('[name=accept_key_loss]'), page.locator('[name=backup_prepared]')];
  await picture('off');
  expect(await button.isDisabled()).toBe(true);
  await keyLoss.check();
  expect(await button.isDisabled()).toBe(true);
  await backup.check();
  expect(await button.isDisabled()).toBe(false);
  await keyLoss.uncheck();
  expect(await button.isDisabled()).toBe(true);
  await keyLoss.check();
  await picture('off-both-ticked');
  expect(sent.filter(({ path }) => path !== '/admin/sign-in')).toEqual([]);
});

test('enabling continues through a reload and the death of the daemon, and ends without an operator', async () => {
  const held = await lockMailbox(scene, lastOne);
  await press('Generate key file & enable encryption');
  await page.waitForURL(`**${encryptionPath}`);
  await until('some are sealed', async () => (await progress()).done >= polled);
  expect((await progress()).total).toBe(polled + resting);
  await page.reload();
  const before = await progress();
  expect(before.done).toBeGreaterThanOrEqual(polled);
  expect(before.done).toBeLessThan(before.total);
  expect(await mainText()).toContain('Encryption is being enabled');
  await picture('enabling');
  // A request in flight would end as ERR_CONNECTION_RESET.
  await opened.betweenRequests(async () => {
    daemon.signal('SIGKILL');
    await daemon.exit;
  });
  expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
  await page.getByText('The daemon does not answer at the moment').waitFor();
  await picture('enabling-daemon-away');
  daemon = await scene.start();
  await until('it is there again', async () => await page.getByText('The daemon does not answer').isHidden());
  const after = await progress();
  expect(after.done).toBeGreaterThanOrEqual(before.done);
  expect(after.done).toBeLessThan(after.total);
  await picture('enabling-again');
  await held[Symbol.asyncDispose]();
  await untilShown('Back up the key file now', 60_000);
  expect(await passwordForms()).toBe(`sealed\t${polled + resting}`);
  const status = await untilSwitch(scene, 'on');
  expect(status['changed_by']).toBe(`${adminName} (admin page)`);
  await picture('on');
}, 180_000);

test('the fingerprint is that of the key file, and the backup command makes a copy unchanged', async () => {
  const [id = ''] = await keyIds();
  expect(await mainText()).toContain(id);
  const safe = join(scene.folder, 'safe');
  await mkdir(safe);
  const command = (await page.locator('.command code', { hasText: 'key backup' }).textContent()) ?? '';
  expect(command).toBe(`ticketmaild key backup ~/ticketmaild-key-${id}.bin`);
  await shellRun(scene, command, safe);
  const copy = await readFile(join(safe, `ticketmaild-key-${id}.bin`));
  expect(copy.equals(await readFile(scene.keyFile))).toBe(true);
});

test('a backup is verified without a byte of it leaving the browser', async () => {
  const [id = ''] = await keyIds();
  const safe = join(scene.folder, 'safe');
  await writeFile(join(safe, 'other.bin'), randomBytes(32));
  await writeFile(join(safe, 'truncated.bin'), (await readFile(scene.keyFile)).subarray(0, 31));
  const choose = (name: string) => page.getByLabel('The copy of the key file').setInputFiles(join(safe, name));
  const verdict = page.locator('[data-verdict]');
  sent.length = 0;

  await choose('truncated.bin');
  await verdict.getByText('31 bytes').waitFor();
  await press('Verify my backup');
  await picture('verify-truncated');
  expect(sent).toEqual([]);

  await choose('other.bin');
  await verdict.getByText(`It lacks ${id}`).waitFor();
  await picture('verify-other');
  await press('Verify my backup');
  await page.locator('.flash.bad').waitFor();
  expect(await flashText()).toContain(id);

  await choose(`ticketmaild-key-${id}.bin`);
  await verdict.getByText(id).waitFor();
  await picture('verify-right');
  await press('Verify my backup');
  await page.locator('.flash.good').waitFor();
  expect(await mainText()).toContain('Keys match');
  await picture('on-verified');
  const bodies = sent.map(({ path, body }) => `${path} ${body.replace(/csrf=[\w-]{43}/, 'csrf=')}`);
  const path = `${encryptionPath}/verify-backup`;
  expect(bodies).toEqual([
    expect.stringMatching(new RegExp(`^${path} csrf=&key_ids=[0-9a-f]{16}$`)),
    `${path} csrf=&key_ids=${id}`,
  ]);
});

test('a rotation shows its progress and takes another key into use', async () => {
  const [before = ''] = await keyIds();
  const held = await lockMailbox(scene, lastOne);
  await openRow('Rotate the key');
  await page.getByText('Rotate the key…').click();
  await picture('rotate-asked');
  await press('Generate new key & rotate');
  await page.waitForURL(`**${encryptionPath}`);
  await until('some are resealed', async () => (await progress()).done >= polled);
  await page.reload();
  expect(await mainText()).toContain('The key is being rotated');
  await picture('rotating');
  await held[Symbol.asyncDispose]();
  await untilShown('Back up the key file now', 60_000);
  const [after = '', ...more] = await keyIds();
  expect([after === before, more]).toEqual([false, []]);
  expect(await mainText()).toContain(after);
  expect(await scene.rows('select distinct password_key_id from mailboxes')).toEqual([after]);
  await picture('rotated');
}, 120_000);

test('switching off needs the file: it says which check fails', async () => {
  const proof = join(scene.dataDir, 'can-disable-encryption.txt');
  const confirm = async (): Promise<void> => {
    await press('I have created the file');
    await page.locator('.flash.bad').waitFor();
  };
  const checks = () => page.locator('.checks li').evaluateAll((all) => all.map(({ className }) => className));
  // Made before the request.
  await writeFile(proof, '');
  await openRow('Disable encryption');
  await page.getByText('Disable encryption…').click();
  await picture('disable-asked');
  await press('Request to disable');
  await press('I have created the file');
  await page.locator('.flash.bad').waitFor();
  expect(await checks()).toEqual(['ok', 'ok', 'failed']);
  await picture('proof-stale');
  await rm(proof);
  await confirm();
  expect(await checks()).toEqual(['failed', 'open', 'open']);
  await picture('proof-absent');
  await writeFile(proof, '');
  await chown(proof, 65_534, 65_534);
  await confirm();
  expect(await checks()).toEqual(['ok', 'failed', 'ok']);
  expect(await mainText()).toContain('65534');
  await picture('proof-foreign');
  expect(await passwordForms()).toBe(`sealed\t${polled + resting}`);
  await press('Cancel, keep encryption on');
  await page.locator('#disabling').waitFor();
  await rm(proof);
}, 120_000);

test('with the right file it switches off, with progress, and sets the key file aside', async () => {
  const held = await lockMailbox(scene, lastOne);
  await openRow('Disable encryption');
  await page.getByText('Disable encryption…').click();
  await press('Request to disable');
  const command = (await page.locator('.command code').first().textContent()) ?? '';
  await picture('proof-asked');
  await shellRun(scene, command);
  await press('I have created the file');
  await until('some are readable', async () => (await progress()).done >= polled);
  expect(await mainText()).toContain('Encryption is being disabled');
  await picture('disabling');
  await held[Symbol.asyncDispose]();
  await untilShown('Enable encryption', 60_000);
  expect(await passwordForms()).toBe(`plain\t${polled + resting}`);
  const files = await readdir(scene.dataDir);
  expect(files.filter((name) => name === 'can-disable-encryption.txt' || name === 'encryption-key.bin')).toEqual([]);
  const aside = files.filter((name) => name.startsWith('encryption-key') && name !== 'encryption-key.bin');
  expect(aside).toHaveLength(1);
  expect(await mainText()).toContain(aside[0]);
  expect((await stat(join(scene.dataDir, aside[0] ?? ''))).mode & 0o777).toBe(0o600);
  await picture('off-again');
}, 120_000);

test('every message became one ticket, no poll failed, and everything is in the audit', async () => {
  await stream.stop();
  await oneTicketEach(scene, stream.sent);
  expect(stream.sent.length).toBeGreaterThan(500);
  expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
  expect(count(daemon, 'admin.request_failed')).toBe(0);
  const rows = await scene.json(['encryption', 'log', '--json']);
  const actions = rows
    .filter(({ who }) => who === `${adminName} (admin page)`)
    .map(({ action }) => String(action))
    .filter((action) => !action.startsWith('password.'));
  expect(actions.toReversed()).toMatchInlineSnapshot(`
    [
      "mailbox.removed",
      "key.created",
      "switch.enabling",
      "switch.on",
      "key.backup_differs",
      "key.backup_verified",
      "switch.rotation_announced",
      "switch.rotating",
      "switch.on",
      "key.dropped",
      "switch.disable_requested",
      "switch.disable_cancelled",
      "switch.disable_requested",
      "switch.disabling",
      "switch.off",
      "key.set_aside",
    ]
  `);
  const admin = await scene.json(['admin', 'log', '--json']);
  const done = admin.map(({ action }) => String(action));
  expect(done.filter((action) => action === 'admin.operation_started')).toHaveLength(3);
  const kinds = ['added', 'operation_started', 'refused', 'sign_in_refused', 'signed_in'];
  expect([...new Set(done)].sort()).toEqual(kinds.map((kind) => `admin.${kind}`));
}, 120_000);

test('nothing is wrong with any state in any look', () => {
  expect(wrong).toEqual([]);
  // The refused sign-in, the refused mailbox, and the time without a daemon.
  const expected =
    /^console: Failed to load resource: (the server responded with a status of (403|422)|net::ERR_CONNECTION_REFUSED)/;
  expect(opened.troubles.filter((line) => !expected.test(line))).toEqual([]);
  expect(opened.troubles.filter((line) => line.includes('403'))).toHaveLength(1);
});
