/**
 * The commands of `src/encryption/README.md`, line by line and in their order, as a reader would paste them.
 *
 * A real daemon runs beside, on a real mail server and database; mail must become tickets after every line. Only the
 * paths are replaced by those of this test.
 */

import { spawnSync } from 'node:child_process';
import { appendFile, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openSetting, type Setting } from '../support/encryption-setting.ts';
import { serversOfFile } from '../support/file-servers.ts';

import { type Daemon, named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const readme = await readFile(fileURLToPath(new URL('../../src/encryption/README.md', import.meta.url)), 'utf8');
/** The lines of its shell blocks, in order. */
const lines = [...readme.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block]) => (block ?? '').trimEnd().split('\n'));

/** What the reader is asked at a terminal, as the options that the README or the help names for scripts. */
const acknowledgements: Readonly<Record<string, readonly string[]>> = {
  'encryption enable': ['--accept-key-loss', '--backup-prepared'],
  'encryption disable': ['--yes'],
  'encryption trust-restored': ['--yes'],
  'encryption replace-lost-key': ['--accept-password-loss'],
  'key protect': ['--passphrase-stdin'],
};

type Reader = {
  /** Runs the next line of the README, which must begin so. */
  follow(begins: string, input?: string): Promise<void>;
  /** Mail comes in; no poll has failed but for the first `failuresBefore` (0). */
  works(daemon: Daemon, failuresBefore?: number): Promise<void>;
  linesLeft(): readonly string[];
};

async function openReader(setting: Setting): Promise<Reader> {
  const safe = join(dirname(setting.dataDir), 'safe');
  await mkdir(safe);
  const left = [...lines];
  let messages = 0;
  const here = (line: string): string =>
    line.replaceAll('/media/safe', safe).replace(/(?<= )data\//g, `${setting.dataDir}/`);
  const run = async (line: string, input: string): Promise<void> => {
    const [program = '', ...words] = here(line).split(' ');
    if (program !== 'src/ticketmaild') {
      expect(spawnSync(program, words), line).toMatchObject({ status: 0 });
      return;
    }
    const args = [...words, ...(acknowledgements[words.slice(0, 2).join(' ')] ?? [])];
    const { code, stdout, stderr } = await runCommand(args, { env: setting.env, input });
    expect(`${code} ${code === 0 ? '' : stdout + stderr}`, line).toBe('0 ');
  };
  return {
    linesLeft: () => left,
    follow: async (begins, input = '') => {
      const line = left.shift() ?? '';
      expect(line).toContain(begins);
      await run(line, input);
    },
    works: async (daemon, failuresBefore = 0) => {
      const before = daemon.lines.filter(named('message.ticket_opened')).length;
      messages += 1;
      const mail = `From: ada@example.test\r\nSubject: ${messages}\r\nMessage-ID: <${messages}@x>\r\n\r\nHello\r\n`;
      await dovecot.append(setting.user, 'INBOX', [Buffer.from(mail)]);
      let count = 0;
      await daemon.waitFor((line) => named('message.ticket_opened')(line) && ++count > before);
      expect(daemon.lines.filter(named('poll.failed')).slice(failuresBefore)).toEqual([]);
    },
  };
}

test('the readme works as it stands there, from enabling to the passphrase', async () => {
  await using setting = await openSetting(mariadb, dovecot);
  const { follow, works, linesLeft } = await openReader(setting);
  {
    await using daemon = setting.start();
    await works(daemon);
    for (const line of ['encryption enable', 'key backup', 'key verify', 'encryption status']) await follow(line);
    await works(daemon);
    await follow('encryption rotate');
    await works(daemon);
    await follow('encryption disable');
    await works(daemon);
    const again = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
    expect(await setting.command(again)).toMatchObject({ code: 0 });
    // The key file is gone, and a daemon still runs.
    await unlink(setting.keyFile);
    await daemon.waitFor(named('vault.orphaned'));
    await follow('key recover');
    await works(daemon);
  }
  await lostFile(setting, follow, works);
  await lostForGood(setting, follow, works);
  await restoredBackup(setting, follow, works);
  await follow('key protect', 'a passphrase of the operator\n');
  await withPassphrase(setting, works);
  expect(linesLeft()).toEqual([]);
}, 180_000);

type Follow = Reader['follow'];
type Works = Reader['works'];

/**
 * No daemon runs: the backup is put back. The one that the README has saved is of a key before, so it is saved again.
 */
async function lostFile(setting: Setting, follow: Follow, works: Works): Promise<void> {
  const backup = join(dirname(setting.dataDir), 'safe', 'encryption-key.bin');
  await unlink(backup);
  expect(await setting.command(['key', 'backup', backup])).toMatchObject({ code: 0 });
  await unlink(setting.keyFile);
  await using daemon = setting.start();
  await daemon.waitFor(named('vault.missing'));
  await follow('install -m 600');
  await daemon.waitFor(named('vault.opened'));
  await works(daemon);
}

async function lostForGood(setting: Setting, follow: Follow, works: Works): Promise<void> {
  await unlink(setting.keyFile);
  await using daemon = setting.start();
  await daemon.waitFor(named('vault.missing'));
  await follow('encryption replace-lost-key');
  await daemon.waitFor(named('vault.opened'));
  const set = ['mailbox', 'set-password', '--no-probe', setting.user, '--password-stdin'];
  expect(await setting.command(set, 'pw\n')).toMatchObject({ code: 3 });
  // "In a script, once you have looked".
  expect(readme).toMatch(/set-password NAME`, which asks .+ `--accept-connection`\)\. Nothing else is lost:/s);
  expect(await setting.command([...set, '--accept-connection'], 'pw\n')).toMatchObject({ code: 0 });
  await works(daemon);
}

async function restoredBackup(setting: Setting, follow: Follow, works: Works): Promise<void> {
  const { database } = setting;
  const tables = ['mailboxes', 'encryption_switch'];
  for (const table of tables)
    await mariadb.query(`create table ${database}.old_${table} as select * from ${database}.${table}`);
  const old = await readFile(setting.keyFile);
  expect(await setting.command(['encryption', 'rotate'])).toMatchObject({ code: 0 });
  await using daemon = setting.start();
  await daemon.waitFor(named('vault.opened'));
  for (const table of tables)
    await mariadb.query(
      `delete from ${database}.${table}; insert into ${database}.${table} select * from ${database}.old_${table}`,
    );
  await daemon.waitFor(named('switch.rolled_back'));
  // "Add its keys to the file in use": cat old.bin >> data/encryption-key.bin
  expect(readme).toContain('cat old.bin >> data/encryption-key.bin');
  await appendFile(setting.keyFile, old);
  await follow('encryption trust-restored');
  await daemon.waitFor(named('switch.recovered'));
  await follow('encryption reseal');
  // A poll may have begun with the old row and met the new one.
  await works(daemon, daemon.lines.filter(named('poll.failed')).length);
}

/** The daemon takes the passphrase from systemd's credential of the name that the README gives. */
async function withPassphrase(setting: Setting, works: Works): Promise<void> {
  expect(readme).toContain('`ticketmaild-key-passphrase`');
  const credentials = join(dirname(setting.dataDir), 'credentials');
  await mkdir(credentials, { mode: 0o700 });
  const file = join(credentials, 'ticketmaild-key-passphrase');
  await writeFile(file, 'a passphrase of the operator\n', { mode: 0o400 });
  await using daemon = startDaemon(['run'], { env: { ...setting.env, CREDENTIALS_DIRECTORY: credentials } });
  await daemon.waitFor(named('vault.opened'));
  await works(daemon);
}
