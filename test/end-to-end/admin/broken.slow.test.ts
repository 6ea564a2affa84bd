/**
 * The admin page when something is wrong: with the key file, the switch, the message, or with what strangers and other
 * writes the database put there. In a real browser, pictured in light and dark, wide and narrow; nothing of it runs as
 * a script.
 */
import { chmod, rename } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { pictured } from '../../admin/admin-pictures.ts';
import {
  type AdminScene,
  bothBoxes,
  encryptionPath,
  openAdminScene,
  type SignedIn,
  signIn,
  untilSwitch,
} from '../../admin/admin-scene.ts';
import { type OpenedPage, startBrowser, type TestBrowser } from '../../support/browser.ts';
import { count, mail } from '../../support/instance.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';

let scene: AdminScene;
let browser: TestBrowser;
let daemon: Daemon;
let ada: SignedIn;
let opened: OpenedPage;
let page: Page;
const wrong: string[] = [];
let dialogs = 0;

const hostile = [
  '<script>document.documentElement.dataset.ran=1;alert(1)</script>',
  '"><img src=x onerror="alert(2)">',
  "'><svg/onload=alert(3)>",
  '</title></textarea></main><iframe srcdoc="<script>alert(4)</script>">',
  'javascript:alert(5)',
  '{{constructor.constructor("alert(6)")()}}',
  '\u202egnp.exe \u0007\u001b[31m &lt;b&gt; &#x3c;script&#x3e;',
] as const;

beforeAll(async () => {
  [scene, browser] = await Promise.all([
    openAdminScene({ mailboxes: 2, env: { TICKETMAILD_POLL_BACKOFF_MAX_S: '1' } }),
    startBrowser(),
  ]);
  daemon = await scene.start();
  ada = await signIn(scene);
  opened = await browser.open();
  page = opened.page;
  page.on('dialog', async (dialog) => {
    dialogs += 1;
    await dialog.dismiss();
  });
  const cookies = [...ada.cookies].map(([name, value]) => ({ name, value, domain: '127.0.0.1', path: '/admin' }));
  await opened.context.addCookies(cookies);
}, 120_000);

afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await scene?.[Symbol.asyncDispose]();
});

async function show(path: string, name: string): Promise<string> {
  await page.goto(`${scene.address}${path}`);
  wrong.push(...(await pictured(page, name)));
  return (await page.locator('main').textContent()) ?? '';
}

/** Waits until the page over HTTP says so. */
async function untilSays(text: string): Promise<void> {
  await until(`the page says ${text}`, async () => (await ada.get(encryptionPath)).text.includes(text));
}

async function restart(): Promise<void> {
  daemon.signal('SIGTERM');
  await daemon.exit;
  daemon = await scene.start();
}

test('what hostile message, servers and rows say is shown and never runs', async () => {
  await using server = await startScriptedServer({
    script: (command, _rest, tag, { say }) => {
      if (command !== 'SELECT' && command !== 'EXAMINE') return false;
      say(`${tag} NO [NONEXISTENT] ${hostile[0]} ${hostile[1]}`);
      return true;
    },
  });
  const [user = '', second = ''] = scene.users;
  // Mail from an address of the helpdesk itself waits in quarantine, under its subject.
  const messages = hostile.map((text, index) => {
    const line = text.replaceAll(/[\u0001-\u001f]/g, '');
    return Buffer.from(
      `From: "${line.replaceAll('"', '\\"')}" <${user}>\r\nTo: ${second}\r\nSubject: ${line}\r\nMessage-ID: <hostile-${index}@example.test>\r\n\r\nHello\r\n`,
    );
  });
  await scene.dovecot.append(user, 'INBOX', messages);
  const word = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const columns = 'tls_mode, allow_plaintext, since_kind, on_success, password';
  for (const [index, text] of hostile.entries()) {
    await scene.rows(
      `insert into mailboxes (name, host, port, username, folder, ${columns}) select ${word(`${index} ${text}`)}, ${index === 0 ? word(text) : 'host'}, ${index === 1 ? server.port : 'port'}, username, ${word(index === 1 ? 'INBOX' : text)}, ${columns} from mailboxes where name = ${word(user)};` +
        `insert into workers (worker, host, pid, key_ids, vault, revision, started_at, heartbeat_at) values (${word(`w${index}`)}, ${word(text)}, ${index + 1}, '', ${word(text.replaceAll(/[^ -~]/g, '').slice(0, 20))}, 0, now(3), now(3) + interval 1 minute);`,
    );
  }
  await scene.rows(
    `insert into admin_operation values (1, 1, 'enable', ${word(hostile[1])}, now(3), now(3), ${word(hostile[0])}, 'failed', ${word(JSON.stringify({ steps: [...hostile, ...hostile.map((text) => ({ step: text, keyId: text, count: text })), { step: 'resealing_started', keyId: hostile[0] }], unopened: [{ mailbox: hostile[0], code: hostile[1], message: hostile[2] }], setAside: hostile[3], waiting: [], error: { code: hostile[0], message: hostile[1], hint: hostile[2] } }))})`,
  );
  await until(
    'the messages wait',
    async () => (await ada.get('/admin/quarantine')).text.match(/<li><div class="mail">/g)?.length === hostile.length,
  );
  await until(
    'the mailboxes fail',
    async () =>
      /failing=?[^0]*/.test((await ada.get('/admin/mailboxes?show=failing')).text) &&
      (await ada.get('/admin/overview')).text.includes('onerror'),
  );
  const seen = [
    await show('/admin/overview', 'hostile-overview'),
    await show('/admin/mailboxes?show=failing', 'hostile-failing'),
    await show('/admin/quarantine', 'hostile-quarantine'),
    await show(encryptionPath, 'hostile-encryption'),
    await show(`/admin/mailboxes?search=${encodeURIComponent(hostile[0])}`, 'hostile-search'),
  ].join('\n');
  for (const part of [
    '<script>document.documentElement.dataset.ran=1;alert(1)</script>',
    '<img src=x onerror="alert(2)">',
    '<svg/onload=alert(3)>',
  ])
    expect(seen).toContain(part);
  expect(seen).toContain('unknown step');
  expect(await page.evaluate('document.documentElement.dataset.ran ?? null')).toBeNull();
  expect(await page.locator('main script, main iframe, main svg[onload], main img[onerror]').count()).toBe(0);
  expect(dialogs).toBe(0);
  expect(opened.troubles).toEqual([]);
}, 180_000);

test('a message is taken out of quarantine with a click', async () => {
  await page.goto(`${scene.address}/admin/quarantine`);
  const messages = page.locator('.held > li');
  const before = await messages.count();
  await messages
    .first()
    .getByRole('button', { name: /^Release/ })
    .click();
  await page.locator('.flash').waitFor();
  wrong.push(...(await pictured(page, 'quarantine-released')));
  expect(await page.locator('.flash.good').count()).toBe(1);
  expect(await messages.count()).toBe(before - 1);
  expect(dialogs).toBe(0);
});

test('a post-action that was set in the table waits, is shown, and acts once it is confirmed here', async () => {
  const [user = ''] = scene.users;
  await scene.rows(`delete from workers where worker like 'w_'; delete from mailboxes where name regexp '^[0-9] '`);
  await ada.form('server/encryption/enable', bothBoxes);
  await untilSwitch(scene, 'on');
  await scene.dovecot.append(user, 'Sent', [mail('sent-one'), mail('sent-two')]);
  const left = async () => (await scene.dovecot.listFlags(user, 'Sent')).size;
  await scene.rows(
    `update mailboxes set folder = 'Sent', on_success = 'delete', since_kind = 'all' where name = '${user}'`,
  );
  await until(
    'they are fetched',
    async () => (await scene.rows(`select count(*) from outcome where action_pending = 1`))[0] === '2',
  );
  await until('the page says so', async () => (await ada.get('/admin/overview')).text.includes('Unconfirmed'));
  expect(await show('/admin/overview', 'unconfirmed-overview')).toContain('Delete waits');
  expect(await left()).toBe(2);
  await page.getByRole('link', { name: /^Check and confirm/ }).click();
  await page.getByRole('heading', { name: `Mailbox ${user}` }).waitFor();
  wrong.push(...(await pictured(page, 'unconfirmed-mailbox')));
  // Changed after it was shown: nothing is confirmed.
  await scene.rows(`update mailboxes set folder = 'INBOX' where name = '${user}'`);
  await page.getByRole('button', { name: 'Confirm these settings' }).click();
  await page.locator('.flash.bad').waitFor();
  wrong.push(...(await pictured(page, 'unconfirmed-changed')));
  await scene.rows(`update mailboxes set folder = 'Sent' where name = '${user}'`);
  await page.goto(`${scene.address}/admin/mailbox?name=${user}`);
  await page.getByRole('button', { name: 'Confirm these settings' }).click();
  await page.locator('.flash.good').waitFor();
  await until('what waited is done', async () => (await left()) === 0);
  await show(`/admin/mailbox?name=${user}`, 'confirmed-mailbox');
  expect(count(daemon, 'mailbox.unconfirmed')).toBeLessThanOrEqual(1);
  expect(await scene.rows(`select actor from audit where action = 'mailbox.confirmed'`)).toEqual(['ada (admin page)']);
  await scene.rows(`update mailboxes set folder = 'INBOX', on_success = 'seen' where name = '${user}'`);
  expect(dialogs).toBe(0);
}, 120_000);

test('a key file that vanishes leaves the page working, and says what to do', async () => {
  await scene.rows('delete from admin_operation');
  await ada.form('server/encryption/enable', bothBoxes);
  await untilSwitch(scene, 'on');
  await until('it is over', async () => (await scene.rows('select state from admin_operation'))[0] === 'done');
  await rename(scene.keyFile, `${scene.keyFile}.away`);
  await untilSays('The key exists only in memory');
  const orphaned = await show(encryptionPath, 'orphaned');
  for (const part of ['What happened', 'What still works', 'What to do', 'ticketmaild key recover'])
    expect(orphaned).toContain(part);
  await restart();
  await untilSays('The key file is missing');
  const missing = await show(encryptionPath, 'missing');
  expect(missing).toContain(`install -o root -m 600 /PATH/encryption-key.bin ${scene.keyFile}`);
  await show('/admin/overview', 'missing-overview');
}, 120_000);

test('a key file that others can read, and a forged switch, are reported with a hint', async () => {
  await rename(`${scene.keyFile}.away`, scene.keyFile);
  await chmod(scene.keyFile, 0o644);
  await untilSays('The key file cannot be used');
  expect(await show(encryptionPath, 'refused')).toContain(`chmod 600 ${scene.keyFile}`);
  await chmod(scene.keyFile, 0o600);
  await untilSays('Request to disable');
  await scene.rows(`update encryption_switch set state = 'off', changed_by = '<script>alert(8)</script>'`);
  await untilSays('The encryption switch is forged');
  expect(await show(encryptionPath, 'forged')).toContain('ticketmaild encryption trust-restored');
  await show('/admin/overview', 'forged-overview');
  await scene.rows(`update encryption_switch set state = 'on', changed_by = 'ada (admin page)'`);
  await untilSays('Request to disable');
  expect(dialogs).toBe(0);
}, 120_000);

test('nothing is wrong with any of these pages, and no answer failed', async () => {
  expect(wrong).toEqual([]);
  expect(opened.troubles).toEqual([]);
  expect(count(daemon, 'admin.request_failed')).toBe(0);
});
