/**
 * Canary password, known to the test alone, searched in everything that leaves the daemon: log at level trace,
 * HTTP answers, output of every command that shows something, all tables, all files of the data folder.
 *
 * Logins succeed, are refused and break off, and sealed passwords cannot be opened meanwhile. That the search finds
 * what is there is shown by the table before encryption is on.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSetting } from '../support/encryption-setting.ts';

import { startFaultProxy } from '../support/faults/proxy.ts';
import { newCanary } from '../support/leaks/canary.ts';
import { countFormsIn } from '../support/leaks/form-search.ts';
import { named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { startDovecot } from '../support/servers/dovecot.ts';
import { startMariadb } from '../support/servers/mariadb.ts';

const shown: readonly (readonly string[])[] = [
  ['mailbox', 'list'],
  ['mailbox', 'list', '--json'],
  ['encryption', 'status'],
  ['encryption', 'status', '--json'],
  ['encryption', 'log', '--json'],
  ['encryption', 'reseal', '--json'],
  ['key', 'show', '--json'],
  ['check', '--json'],
  ['poll', '--json'],
  ['reconcile', '--json'],
  ['migrate', '--status'],
];

test('a password is seen nowhere once encryption is on', async () => {
  const canary = newCanary();
  await using dovecot = await startDovecot({ password: canary });
  await using mariadb = await startMariadb();
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.port });
  await using setting = await openSetting(mariadb, dovecot, canary);
  const { user, database } = setting;
  const tables = async (): Promise<string> => {
    const names = (await mariadb.query(`show tables from ${database}`)).trim().split('\n');
    const rows = await Promise.all(names.map((name) => mariadb.query(`select * from ${database}.${name}`)));
    return rows.join('\n');
  };
  const hits = (text: string) => countFormsIn(canary, Buffer.from(text));
  expect(hits(await tables())).not.toEqual([]);
  // One whose server breaks the connection off, one whose password the server does not know, one that is pointed
  // elsewhere.
  const copy = (name: string, port: number, password: string) =>
    `insert into ${database}.mailboxes (name, host, port, tls_mode, username, password)
     select '${name}', '127.0.0.1', ${port}, 'none', '${name}', ${password} from ${database}.mailboxes where name = '${user}'`;
  await mariadb.query(copy('cut', proxy.port, 'password'));
  await mariadb.query(copy('refused', dovecot.port, `concat(password, 'x')`));
  await mariadb.query(copy('moved', dovecot.port, 'password'));
  const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared', '--json'];
  const seen: string[] = [];
  const run = async (args: readonly string[]): Promise<void> => {
    const { stdout, stderr } = await runCommand(args, { env: setting.env });
    seen.push(stdout, stderr);
  };
  await run(enable);
  seen.push(await tables());
  await mariadb.query(`update ${database}.mailboxes set port = port + 1 where name = 'moved'`);
  proxy.fault = { kind: 'cut_after', bytes: 300 };
  const env = { ...setting.env, TICKETMAILD_LOG_LEVEL: 'trace', TICKETMAILD_POLL_BACKOFF_MAX_S: '1' };
  await using daemon = startDaemon(['run'], { env });
  const { address } = await daemon.waitFor(named('http.listening'));
  const failed = new Set<unknown>();
  await daemon.waitFor((line) => named('poll.failed')(line) && failed.add(line['mailbox']).size === 3);
  const moved = daemon.lines.find((line) => named('poll.failed')(line) && line['mailbox'] === 'moved');
  expect(moved?.['error']).toMatchObject({ code: 'password_binding_mismatch' });
  await daemon.waitFor(named('poll.empty'));
  for (const path of ['livez', 'readyz', 'nothing']) seen.push(await (await fetch(`${address}/${path}`)).text());
  for (const args of shown) await run(args);
  seen.push(daemon.stdout(), daemon.stderr(), await tables());
  for (const file of await readdir(setting.dataDir, { recursive: true, withFileTypes: true })) {
    if (file.isFile()) seen.push((await readFile(join(file.parentPath, file.name))).toString('latin1'));
  }
  expect(seen.join('').length).toBeGreaterThan(10_000);
  expect(hits(seen.join('\n'))).toEqual([]);
}, 120_000);
