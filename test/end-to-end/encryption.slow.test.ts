/**
 * Encryption under a running daemon, with real servers: every mishap of key file and switch has its state, one alert
 * and a reason on /readyz, and ends without a restart when it is put right. No login fails meanwhile.
 */

import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, rm, stat, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Readiness } from '../../src/ingest/readiness.ts';
import { enabled, openSetting, type Setting } from '../support/encryption-setting.ts';
import { serversOfFile } from '../support/file-servers.ts';
import type { Daemon } from '../support/processes/daemon.ts';
import { named } from '../support/processes/daemon.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const mail = (id: string) =>
  Buffer.from(
    `From: ada@example.test\r\nTo: desk@example.test\r\nSubject: ${id}\r\nMessage-ID: <${id}@x>\r\n\r\nHello\r\n`,
  );
async function readiness(daemon: Daemon): Promise<{ status: number; body: Readiness }> {
  const { address } = await daemon.waitFor(named('http.listening'));
  const response = await fetch(`${address}/readyz`);
  return { status: response.status, body: (await response.json()) as Readiness };
}

/** Mail still becomes a ticket. */
async function worksFor({ user }: Setting, daemon: Daemon, id: string): Promise<void> {
  const before = daemon.lines.filter(named('message.ticket_opened')).length;
  await dovecot.append(user, 'INBOX', [mail(id)]);
  let count = 0;
  await daemon.waitFor((line) => named('message.ticket_opened')(line) && ++count > before);
}

const passwordForm = ({ database }: Setting): Promise<string> =>
  mariadb.query(`select password_form from ${database}.mailboxes`).then((text) => text.trim());

describe('a key file that goes bad under a running daemon', () => {
  type Mishap = { readonly name: string; readonly code: string; break(path: string): Promise<void> };
  const replaced = async (path: string, content: Uint8Array): Promise<void> => {
    await writeFile(`${path}.new`, content, { mode: 0o600 });
    await rename(`${path}.new`, path);
  };
  const mishaps: readonly Mishap[] = [
    { name: 'is deleted', code: 'key_file_missing', break: (path) => unlink(path) },
    { name: 'is readable by a group', code: 'key_file_refused', break: (path) => chmod(path, 0o640) },
    { name: 'is truncated', code: 'key_file_refused', break: (path) => truncate(path, 31) },
    { name: 'is empty', code: 'key_file_refused', break: (path) => truncate(path, 0) },
    { name: 'is replaced by another key', code: 'key_file_refused', break: (path) => replaced(path, randomBytes(32)) },
    { name: 'grows to 10 MB', code: 'key_file_refused', break: (path) => replaced(path, Buffer.alloc(10_000_000, 7)) },
    {
      name: 'becomes a symbolic link',
      code: 'key_file_refused',
      break: async (path) => {
        await rename(path, `${path}.real`);
        await symlink(`${path}.real`, path);
      },
    },
    {
      name: 'becomes a folder',
      code: 'key_file_refused',
      break: async (path) => {
        await unlink(path);
        await mkdir(path);
      },
    },
  ];

  describe.each([
    { some: mishaps.slice(0, 1), tags: [] },
    { some: mishaps.slice(1), tags: ['long'] },
  ])('mishaps', ({ some, tags }) => {
    test.each(some)(
      'that $name is logged once and shown, work continues, and the alert ends when it is put right',
      { tags },
      async (mishap) => {
        await using setting = await openSetting(mariadb, dovecot);
        await enabled(setting);
        const key = await readFile(setting.keyFile);
        await using daemon = setting.start();
        await daemon.waitFor(named('vault.opened'));
        const brokenAtMs = Date.now();
        await mishap.break(setting.keyFile);
        await daemon.waitFor(named('vault.orphaned'));
        expect(Date.now() - brokenAtMs).toBeLessThan(1000);
        // A daemon that has just started is not ready before its first checks.
        await expect.poll(async () => (await readiness(daemon)).status, { timeout: 5000 }).toBe(200);
        const { body } = await readiness(daemon);
        expect(body.checks.vault).toMatchObject({ status: 'failing', state: 'orphaned', hint: expect.any(String) });
        expect(body.checks.vault.reason).toContain(mishap.code);
        await worksFor(setting, daemon, 'meanwhile');
        await sleep(1200);
        expect(daemon.lines.filter(named('vault.orphaned'))).toHaveLength(1);
        await rm(setting.keyFile, { recursive: true, force: true });
        await replaced(setting.keyFile, key);
        let opened = 0;
        await daemon.waitFor((line) => named('vault.opened')(line) && ++opened === 2);
        expect((await readiness(daemon)).body.checks.vault).toMatchObject({ status: 'ok', state: 'open' });
        expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
      },
    );
  });

  test('that is written in two parts is refused until it is whole', { tags: ['long'] }, async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await enabled(setting);
    const key = await readFile(setting.keyFile);
    await unlink(setting.keyFile);
    await using daemon = setting.start();
    await daemon.waitFor(named('vault.missing'));
    await writeFile(setting.keyFile, key.subarray(0, 20), { mode: 0o600 });
    await daemon.waitFor(named('vault.refused'));
    // A daemon that has just started has not run its first checks yet.
    await expect
      .poll(() => readiness(daemon), { timeout: 5000 })
      .toMatchObject({
        status: 503,
        body: { checks: { vault: { state: 'refused' }, mailboxes: { waiting: 1, failing: 0 } } },
      });
    await writeFile(setting.keyFile, key.subarray(20), { flag: 'a' });
    await daemon.waitFor(named('vault.opened'));
    await worksFor(setting, daemon, 'whole');
    expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
  });

  test('whose folder is moved away and back is found again', { tags: ['long'] }, async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await enabled(setting);
    await using daemon = setting.start();
    await daemon.waitFor(named('vault.opened'));
    await rename(setting.dataDir, `${setting.dataDir}.away`);
    await daemon.waitFor(named('vault.orphaned'));
    await rename(`${setting.dataDir}.away`, setting.dataDir);
    let opened = 0;
    await daemon.waitFor((line) => named('vault.opened')(line) && ++opened === 2);
    await unlink(setting.keyFile);
    let orphaned = 0;
    await daemon.waitFor((line) => named('vault.orphaned')(line) && ++orphaned === 2);
  });
});

async function loginsOf(user: string): Promise<number> {
  return (await dovecot.log()).split('\n').filter((line) => line.includes(user) && line.includes('login')).length;
}

describe('a daemon without the key', () => {
  test('waits with its mailboxes, tries no login, and works as soon as the key file is back', async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await enabled(setting);
    await rename(setting.keyFile, `${setting.keyFile}.away`);
    const logins = await loginsOf(setting.user);
    await using daemon = setting.start();
    await daemon.waitFor(named('vault.missing'));
    await sleep(2500);
    expect(await readiness(daemon)).toMatchObject({
      status: 503,
      body: { ready: false, checks: { vault: { state: 'missing' }, mailboxes: { waiting: 1, failing: 0 } } },
    });
    expect(daemon.lines.filter(named('vault.missing'))).toHaveLength(1);
    expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
    expect(await loginsOf(setting.user)).toBe(logins);
    await rename(`${setting.keyFile}.away`, setting.keyFile);
    await daemon.waitFor(named('vault.opened'));
    await worksFor(setting, daemon, 'back');
  });

  test('gets the key file back by a recovery while the keys are in its memory', async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await enabled(setting);
    const key = await readFile(setting.keyFile);
    await using daemon = setting.start();
    await daemon.waitFor(named('vault.opened'));
    await writeFile(setting.keyFile, 'no key at all');
    await daemon.waitFor(named('vault.orphaned'));
    const recovered = await setting.command(['key', 'recover']);
    expect([recovered.code, recovered.stderr]).toEqual([0, '']);
    expect(key.equals(await readFile(setting.keyFile))).toBe(true);
    expect((await stat(setting.keyFile)).mode & 0o777).toBe(0o600);
    let opened = 0;
    await daemon.waitFor((line) => named('vault.opened')(line) && ++opened === 2);
  });
});

describe('a switch that another program writes', () => {
  const forgeries = [
    ['off without a seal', `state='off', key_id=null, seal=null, revision=revision+1`, 'switch.forged'],
    ['off with the old seal', `state='off', key_id=null, revision=revision+1`, 'switch.forged'],
    ['back at the beginning', `state='off', key_id=null, seal=null, revision=0`, 'switch.rolled_back'],
    ['a word that is not known', `state='maybe'`, 'switch.forged'],
  ] as const;

  describe.each([
    { some: forgeries.slice(0, 1), tags: [] },
    { some: forgeries.slice(1), tags: ['long'] },
  ])('forgeries', ({ some, tags }) => {
    test.each(some)(
      'to %s changes nothing, is logged once, and the alert ends when it is put right',
      { tags },
      async (_, set, event) => {
        await using setting = await openSetting(mariadb, dovecot);
        await enabled(setting);
        await using daemon = setting.start();
        await daemon.waitFor(named('vault.opened'));
        const table = `${setting.database}.encryption_switch`;
        await mariadb.query(
          `create table ${setting.database}.kept as select * from ${table}; update ${table} set ${set}`,
        );
        await daemon.waitFor(named(event));
        await mariadb.query(`update ${setting.database}.mailboxes set password='pw', password_form='plain'`);
        // The last good switch is on, so what is readable is sealed all the same.
        await expect.poll(() => passwordForm(setting), { timeout: 3000 }).toBe('sealed');
        expect((await readiness(daemon)).body.checks.switch).toMatchObject({ status: 'failing', state: 'on' });
        await worksFor(setting, daemon, 'forged');
        await mariadb.query(`delete from ${table}; insert into ${table} select * from ${setting.database}.kept`);
        await daemon.waitFor(named('switch.recovered'));
        await expect.poll(() => passwordForm(setting), { timeout: 3000 }).toBe('sealed');
        expect(daemon.lines.filter(named(event))).toHaveLength(1);
        expect(daemon.lines.filter(named('poll.failed'))).toEqual([]);
      },
    );
  });
});

describe('while the switch is on', () => {
  test('a readable password that turns up is sealed within a second, also of a mailbox that is paused', async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await enabled(setting);
    await using daemon = setting.start();
    await daemon.waitFor(named('vault.opened'));
    await setting.command(['mailbox', 'pause', setting.user]);
    const tookMs: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      await mariadb.query(`update ${setting.database}.mailboxes set password='pw', password_form='plain'`);
      const startedAtMs = performance.now();
      await expect.poll(() => passwordForm(setting), { timeout: 3000, interval: 20 }).toBe('sealed');
      tookMs.push(performance.now() - startedAtMs);
    }
    expect(Math.max(...tookMs)).toBeLessThan(1000);
    await setting.command(['mailbox', 'resume', setting.user]);
    await worksFor(setting, daemon, 'sealed');
    const { json } = await setting.command(['encryption', 'status', '--json']);
    expect(json).toMatchObject({
      state: 'on',
      sealed: 1,
      plaintext: 0,
      plaintext_periods: [{ mailbox: setting.user }],
    });
  });

  test('enabling, rotating and disabling reach the running daemon, and no login fails', async () => {
    await using setting = await openSetting(mariadb, dovecot);
    await using daemon = setting.start();
    await daemon.waitFor(named('daemon.ready'));
    await worksFor(setting, daemon, 'off');
    await enabled(setting);
    await daemon.waitFor((line) => named('switch.changed')(line) && line['state'] === 'on');
    expect(await passwordForm(setting)).toBe('sealed');
    await worksFor(setting, daemon, 'on');
    const before = await setting.command(['key', 'show', '--json']);
    expect((await setting.command(['encryption', 'rotate'])).code).toBe(0);
    expect((await setting.command(['key', 'show', '--json'])).json).not.toEqual(before.json);
    await worksFor(setting, daemon, 'rotated');
    expect((await setting.command(['encryption', 'disable', '--yes'])).code).toBe(0);
    await daemon.waitFor(named('vault.closed'));
    expect(await passwordForm(setting)).toBe('plain');
    await worksFor(setting, daemon, 'off again');
    expect(
      daemon.lines.filter(({ event }) => /^(poll\.failed|vault\.(missing|orphaned|refused))$/.test(`${event}`)),
    ).toEqual([]);
  });
});
