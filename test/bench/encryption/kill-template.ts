/**
 * Installations that are ready for an operation on the switch, copied from one that was made once: a copy of the tables
 * (or of the SQLite file) and of the data folder takes a fraction of what making it again takes.
 *
 * Six mailboxes, half of them in clear, all with the password of the test server.
 */
import { copyFile, cp } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { addMailboxes, mailboxOn } from '../many-mailboxes.ts';
import { enable, openSetting, type Setting } from '../setting.ts';

export const killMailboxes = 6;

/** One installation: folder, environment, and where its database is. */
export type Copy = {
  readonly dataDir: string;
  readonly databaseUrl: string;
  readonly env: Readonly<Record<string, string>>;
} & AsyncDisposable;

export type Template = { copy(): Promise<Copy> } & AsyncDisposable;

/** `sealed`: encryption is on in it. */
export async function makeTemplate(dovecot: Dovecot, mariadb: Mariadb | null, sealed: boolean): Promise<Template> {
  const setting = await openSetting(mariadb);
  const rows = Array.from({ length: killMailboxes }, (_, index) =>
    mailboxOn(dovecot, index % 2 === 0 ? 'implicit' : 'none', `box-${index}`, Buffer.from(password)),
  );
  await addMailboxes(setting.databaseUrl, rows);
  // Without a daemon no other else gives them a schedule.
  const schedule = "SELECT id, '2020-01-01 00:00:00.000' FROM mailboxes";
  await runSql(setting.databaseUrl, `INSERT INTO mailbox_state (mailbox_id, next_poll_at) ${schedule}`);
  if (sealed) await setting.succeed(enable);
  return {
    copy: () => copyOf(setting, mariadb),
    [Symbol.asyncDispose]: () => setting[Symbol.asyncDispose](),
  };
}

async function copyOf({ dataDir: from, databaseUrl: source }: Setting, mariadb: Mariadb | null): Promise<Copy> {
  const folder = await temporaryFolder('kill');
  const dataDir = join(folder.path, 'data');
  await cp(from, dataDir, { recursive: true, preserveTimestamps: true });
  const databaseUrl =
    mariadb === null
      ? await copySqlite(source, folder.path)
      : await copyTables(new URL(source).pathname.slice(1), mariadb);
  const env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: databaseUrl,
    TICKETMAILD_HTTP_LISTEN: 'off',
  };
  return { dataDir, databaseUrl, env, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

async function copySqlite(source: string, folder: string): Promise<string> {
  const copy = join(folder, 'bench.db');
  // The last process that closed the file has emptied the log beside it.
  await copyFile(source.slice('sqlite:'.length), copy);
  return `sqlite:${copy}`;
}

async function copyTables(source: string, mariadb: Mariadb): Promise<string> {
  const { name, url } = await mariadb.createDatabase();
  const tables = (await mariadb.query(`SHOW TABLES FROM ${source}`)).trim().split('\n');
  const copies = tables.map(
    (table) =>
      `CREATE TABLE ${name}.${table} LIKE ${source}.${table}; INSERT INTO ${name}.${table} SELECT * FROM ${source}.${table};`,
  );
  await mariadb.query(copies.join('\n'));
  return url;
}

export function commandIn(copy: Copy, args: readonly string[], more: Parameters<typeof runCommand>[1] = {}) {
  return runCommand(args, { ...more, env: { ...copy.env, ...more.env } });
}
