/**
 * Migrations on both dialects: twenty starters at once, resumed after a crash, and refused when they are
 * newer or too old.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import type { SettingColumn } from '../../../../src/adapters/database/rows/mailbox-columns.ts';
import { migrations } from '../../../../src/adapters/database/schema/migrations.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { initialSwitchRow } from '../../../../src/secret/switch.ts';
import { type Mariadb, startMariadb } from '../../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../../support/temporary.ts';

const databaseModule = new URL('../../../../src/adapters/database/database.ts', import.meta.url).href;

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;

beforeAll(async () => {
  mariadb = stack.use(await startMariadb());
});
afterAll(() => stack.disposeAsync());

type Fresh = { readonly config: DatabaseConfig; run(sql: string): Promise<unknown> };

async function fresh(kind: 'sqlite' | 'mariadb'): Promise<Fresh> {
  if (kind === 'mariadb') {
    const { config, name } = await mariadb.createDatabase({ characterSet: 'latin1' });
    return { config, run: (sql) => mariadb.query(`use ${name}; ${sql}`) };
  }
  const path = join(stack.use(await temporaryFolder('migrate')).path, 'tickets.db');
  const run = async (sql: string) => {
    using database = new DatabaseSync(path);
    database.exec(sql);
  };
  return { config: { kind, path }, run };
}

test('migrations are numbered one after the other, and each is one statement', () => {
  expect(migrations.map((migration) => migration.number)).toEqual(migrations.map((_, index) => index + 1));
  // The body of a trigger is part of its statement.
  const body = /^create trigger .*?\bbegin\b[^;]*;\s*end$/s;
  for (const { mysql, sqlite } of migrations)
    for (const sql of [mysql, sqlite]) expect(sql?.replace(body, '') ?? '').not.toContain(';');
});

describe.each(['sqlite', 'mariadb'] as const)('migrations on %s', (kind) => {
  test('twenty starters at once apply each of them exactly once', async () => {
    const { config } = await fresh(kind);
    const databases = await Promise.all(Array.from({ length: 20 }, () => openDatabase(config)));
    const seen: number[] = [];
    const counts = await Promise.all(databases.map((db) => db.migrations.apply(({ number }) => seen.push(number))));
    expect(seen.sort((a, b) => a - b)).toEqual(migrations.map((migration) => migration.number));
    expect(counts.reduce((sum, count) => sum + count)).toBe(migrations.length);
    for (const db of databases) {
      await db.migrations.check();
      await db.ping();
      await db[Symbol.asyncDispose]();
    }
  });

  test('the status lists the applied migrations, also in a database without any table', async () => {
    const { config } = await fresh(kind);
    await using db = await openDatabase(config);
    const before = await db.migrations.status();
    expect(before.map(({ name }) => name)).toEqual(migrations.map(({ name }) => name));
    expect(before.every(({ appliedAtMs }) => appliedAtMs === null)).toBe(true);
    await expect(db.migrations.check()).rejects.toMatchObject({ code: 'database_outdated' });
    await expect(db.ping()).rejects.toMatchObject({ code: 'database_outdated' });
    expect(await db.migrations.apply()).toBe(migrations.length);
    expect(await db.migrations.apply()).toBe(0);
    const after = await db.migrations.status();
    expect(after.every(({ appliedAtMs }) => Math.abs((appliedAtMs ?? 0) - Date.now()) < 10_000)).toBe(true);
  });

  test('tables of a newer program are refused, by name', async () => {
    const { config, run } = await fresh(kind);
    await using db = await openDatabase(config);
    await db.migrations.apply();
    await run("insert into schema_migration values (9999, 'from_the_future', '2030-01-01 00:00:00.000')");
    await expect(db.migrations.apply()).rejects.toMatchObject({ code: 'database_outdated' });
    await expect(db.migrations.check()).rejects.toMatchObject({ code: 'database_outdated' });
    expect((await db.migrations.status()).at(-1)).toMatchObject({ number: 9999, name: 'from_the_future' });
  });

  test('tables of a version before the baseline are refused, and nothing is changed', async () => {
    const { config, run } = await fresh(kind);
    await using db = await openDatabase(config);
    await db.migrations.apply();
    await run("update schema_migration set name = 'mailbox_state' where number = 3");
    await run('delete from schema_migration where number > 36');
    const refused = { code: 'database_outdated', message: expect.stringContaining('earlier version') };
    await expect(db.migrations.apply()).rejects.toMatchObject(refused);
    await expect(db.migrations.check()).rejects.toMatchObject(refused);
    expect((await db.migrations.status()).filter(({ appliedAtMs }) => appliedAtMs !== null)).toHaveLength(36);
  });
});

test('each step that a crash left applied but not recorded is applied again without harm', async () => {
  const { config, run } = await fresh('mariadb');
  await using db = await openDatabase(config);
  await db.migrations.apply();
  await run(`${mailbox} ('support', 'h', 'u', x'00ff7034')`);
  await db.writeSwitch({ ...initialSwitchRow, revision: 1, seal: 'x' }, 0, []);
  for (const { number } of migrations) {
    await run(`delete from schema_migration where number = ${number}`);
    expect(await db.migrations.apply()).toBe(1);
  }
  await run('delete from schema_migration where number > 2');
  expect(await db.migrations.apply()).toBe(migrations.length - 2);
  const [{ id } = { id: '' }] = await db.listMailboxes();
  expect([...((await db.readPassword(id))?.bytes ?? [])]).toEqual([0, 255, 0x70, 0x34]);
  expect((await db.readSwitch()).row?.revision).toBe(1);
});

/** A fresh database in which the first `count` steps are applied and recorded. */
async function partlyMigrated(kind: 'sqlite' | 'mariadb', count: number): Promise<Fresh> {
  const { config, run } = await fresh(kind);
  await run(
    'create table schema_migration (number int not null primary key, name varchar(100), applied_at varchar(30))',
  );
  for (const { number, name, mysql, sqlite } of migrations.slice(0, count)) {
    await run((kind === 'sqlite' ? sqlite : mysql) ?? '');
    await run(`insert into schema_migration values (${number}, '${name}', '2024-01-01 00:00:00.000')`);
  }
  return { config, run };
}

const mailbox = `insert into mailboxes (name, host, username, password) values`;
const firstIndexOf = (name: string) => migrations.findIndex((migration) => migration.name === name);

describe.each(['sqlite', 'mariadb'] as const)('a database on %s with only the first migrations', (kind) => {
  test('is migrated with everything that is in it, by several starters at once', async () => {
    const count = firstIndexOf('mailbox_state') + 1;
    const { config, run } = await partlyMigrated(kind, count);
    await run(`${mailbox} ('support', 'h', 'u', 'p')`);
    await using starters = new AsyncDisposableStack();
    const databases = await Promise.all(Array.from({ length: 5 }, () => openDatabase(config)));
    for (const database of databases) starters.use(database);
    const counts = await Promise.all(databases.map((database) => database.migrations.apply()));
    expect(counts.reduce((sum, applied) => sum + applied)).toBe(migrations.length - count);
    const [db] = databases;
    expect(await db?.listMailboxes()).toMatchObject([{ name: 'support', connection: { host: 'h', user: 'u' } }]);
    expect((await db?.readSwitch())?.row).toEqual(initialSwitchRow);
    await expect(run(`${mailbox} ('support', 'h', 'u', 'p')`)).rejects.toThrow();
    await run(`${mailbox} ('new', 'h', 'u', 'p')`);
    expect(await db?.scheduleNewMailboxes()).toBe(2);
  });

  test('the table of another program under a name of this one is refused, and nothing is recorded for it', async () => {
    const { config, run } = await partlyMigrated(kind, 1);
    await run('create table ticket (a int)');
    await using db = await openDatabase(config);
    await expect(db.migrations.apply()).rejects.toMatchObject({ code: 'database_failed' });
    const applied = (await db.migrations.status()).filter(({ appliedAtMs }) => appliedAtMs !== null);
    expect(applied).toHaveLength(firstIndexOf('ticket'));
    await run('drop table ticket');
    expect(await db.migrations.apply()).toBe(migrations.length - applied.length);
    await db.migrations.check();
  });

  test('a change of any setting by another program moves changed_at', async () => {
    const { config, run } = await partlyMigrated(kind, 0);
    await using db = await openDatabase(config);
    await db.migrations.apply();
    await run(`${mailbox} ('support', 'h', 'u', 'p')`);
    const version = async (name = 'support') => (await db.versionedMailbox(name)).version;
    const unchanged = await version();
    await run(`update mailboxes set plaintext_since = '2024-01-01 00:00:00.000'`);
    if (kind === 'sqlite') expect(await version()).toBe(unchanged);
    for (const column of Object.keys(validSettings) as readonly SettingColumn[]) {
      const before = await version();
      await run(`update mailboxes set ${column} = ${validSettings[column]}`);
      const after = await version(column === 'name' ? 'other' : 'support');
      expect({ column, hasMoved: after !== before }).toEqual({ column, hasMoved: true });
    }
  });
});

/** Another valid value than the default of each column, in the order of the changes. */
const validSettings: Readonly<Record<SettingColumn, string>> = {
  host: `'other.example'`,
  port: '143',
  tls_mode: `'starttls'`,
  ca_pem: `'PEM'`,
  fingerprint: `'${'f'.repeat(64)}'`,
  allow_plaintext: '1',
  username: `'ada'`,
  folder: `'Tickets'`,
  since_kind: `'all'`,
  since_at: `'2024-05-17 09:30:15.250'`,
  on_success: `'leave'`,
  on_success_folder: `'Done'`,
  poll_interval_ms: '90000',
  addresses: `'ada@example.org'`,
  // Without the name of a grant the row would be invalid.
  grant_name: `'m365'`,
  auth: `'oauth'`,
  state: `'paused'`,
  name: `'other'`,
};

test('a starter without the lock waits for it and applies nothing meanwhile', async () => {
  const { config } = await fresh('mariadb');
  await using db = await openDatabase(config);
  const name = config.kind === 'mysql' ? config.database : '';
  const lock = `ticketmaild.migrate.${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
  const applied: string[] = [];
  // The session counts the tables last, and its end releases the lock.
  const tables = `select count(*) from information_schema.tables where table_schema = '${name}'`;
  const other = mariadb.query(`select get_lock('${lock}', 0); select sleep(1.6); ${tables}`);
  await expect.poll(() => mariadb.query(`select is_free_lock('${lock}')`)).toBe('0\n');
  await db.migrations.apply((migration) => applied.push(migration.name));
  expect(await other).toBe('1\n0\n0\n');
  expect(applied).toEqual(migrations.map((migration) => migration.name));
});

test('processes that start at once on one new file apply each step once', async () => {
  const { config } = await fresh('sqlite');
  const program = `
    const { openDatabase } = await import(${JSON.stringify(databaseModule)});
    const db = await openDatabase(${JSON.stringify(config)});
    console.log(await db.migrations.apply());
    await db[Symbol.asyncDispose]();`;
  const args = ['--input-type=module', '--eval', program];
  const outputs = await Promise.all(Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, args)));
  expect(outputs.reduce((sum, output) => sum + Number(output.stdout), 0)).toBe(migrations.length);
});

test('text is utf8mb4 even in a database whose default is not', async () => {
  const { config, run } = await fresh('mariadb');
  await using db = await openDatabase(config);
  await db.migrations.apply();
  const charsets = await run(
    `select distinct character_set_name from information_schema.columns
     where table_schema = database() and character_set_name is not null order by 1`,
  );
  expect(charsets).toBe('ascii\nutf8mb4\n');
});
