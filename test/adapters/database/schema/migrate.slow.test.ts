/**
 * Migrations on both dialects: raced by twenty starters, met half way, and refused when they are newer.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { migrations } from '../../../../src/adapters/database/schema/migrations.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { firstRow } from '../../../../src/secret/switch.ts';
import { type Mariadb, startMariadb } from '../../../support/mariadb.ts';
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

  test('the status tells what is applied, also in a database without any table', async () => {
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
});

test('each step that a crash left applied but not recorded is met again without harm', async () => {
  const { config, run } = await fresh('mariadb');
  await using db = await openDatabase(config);
  await db.migrations.apply();
  await run('delete from schema_migration where number > 2');
  expect(await db.migrations.apply()).toBe(migrations.length - 2);
});

describe.each(['sqlite', 'mariadb'] as const)('the tables of the first version on %s', (kind) => {
  const firstVersion = migrations.slice(0, 14);

  /** With a mailbox that has every setting, and one with a sealed password and only what must be. */
  async function oldTables(): Promise<Fresh> {
    const { config, run } = await fresh(kind);
    await run(
      'create table schema_migration (number int not null primary key, name varchar(100), applied_at varchar(30))',
    );
    for (const { number, name, mysql, sqlite } of firstVersion) {
      await run((kind === 'sqlite' ? sqlite : mysql) ?? '');
      await run(`insert into schema_migration values (${number}, '${name}', '2024-01-01 00:00:00.000')`);
    }
    const time = `'2024-05-17 09:30:15.250'`;
    await run(`insert into mailbox values ('0190f5a4-0000-7000-8000-000000000001', 'full', 'imap.example.org', 143,
      'starttls', 'PEM', '${'f'.repeat(64)}', 1, 'ada', 'Tickets', 'time', ${time}, 'move', 'Done', 90000, 'paused',
      x'00ff7034', 'plain', ${time})`);
    await run(`insert into mailbox values ('0190f5a4-0000-7000-8000-000000000002', 'bare', 'h', 993,
      'implicit', null, null, 0, 'u', 'INBOX', 'all', null, 'seen', null, null, 'active', x'7365616c6564', 'sealed', ${time})`);
    await run(`insert into mailbox_state (mailbox_id, lease_epoch, next_poll_at, failures, cursor_uid_validity, cursor_uid)
      select id, 7, ${time}, 3, 11, 12 from mailbox`);
    return { config, run };
  }

  async function seen(config: DatabaseConfig) {
    await using db = await openDatabase(config);
    const mailboxes = await db.listMailboxes();
    const passwords = await Promise.all(mailboxes.map(({ id }) => db.readPassword(id)));
    return { mailboxes, passwords: passwords.map((stored) => [stored?.form, [...(stored?.bytes ?? [])]]) };
  }

  test('are brought up to date with everything that is in them', async () => {
    const { config, run } = await oldTables();
    await using db = await openDatabase(config);
    expect(await db.migrations.apply()).toBe(migrations.length - firstVersion.length);
    const { mailboxes, passwords } = await seen(config);
    const health = { failures: 3, cursor: { uidValidity: 11, uid: 12 } };
    expect(mailboxes).toMatchObject([
      {
        name: 'bare',
        connection: { host: 'h', port: 993, tls: 'implicit', caPem: null, user: 'u', folder: 'INBOX' },
        start: { from: 'all' },
        after: { kind: 'seen' },
        state: 'active',
        health: { ...health, password: { form: 'sealed', keyId: null } },
      },
      {
        name: 'full',
        connection: {
          host: 'imap.example.org',
          port: 143,
          tls: 'starttls',
          caPem: 'PEM',
          fingerprint: 'f'.repeat(64),
          allowPlaintext: true,
          user: 'ada',
          folder: 'Tickets',
        },
        start: { from: 'time', atMs: Date.UTC(2024, 4, 17, 9, 30, 15, 250) },
        after: { kind: 'move', folder: 'Done' },
        pollIntervalMs: 90_000,
        state: 'paused',
        health: { ...health, password: { form: 'plain', keyId: null } },
      },
    ]);
    expect(passwords).toEqual([
      ['sealed', [...Buffer.from('sealed')]],
      ['plain', [0, 255, 0x70, 0x34]],
    ]);
    expect((await db.readSwitch()).row).toEqual(firstRow);
    expect(await db.readablePasswords()).toEqual([
      { mailbox: 'full', sinceMs: Date.UTC(2024, 4, 17, 9, 30, 15, 250), untilMs: null },
    ]);
    await expect(run('select * from mailbox')).rejects.toThrow();
    await expect(
      run(`insert into mailboxes (name, host, username, password) values ('full', 'h', 'u', 'p')`),
    ).rejects.toThrow();
    await run(`insert into mailboxes (name, host, username, password) values ('new', 'h', 'u', 'p')`);
    expect(await db.scheduleNewMailboxes()).toBe(1);
  });

  if (kind === 'mariadb')
    test('keep what is in them when every step is met twice', async () => {
      const { config, run } = await oldTables();
      await using db = await openDatabase(config);
      await db.migrations.apply();
      const before = await seen(config);
      await db.writeSwitch({ ...firstRow, revision: 1, seal: 'x' }, 0, []);
      for (const { number } of migrations.slice(firstVersion.length)) {
        await run(`delete from schema_migration where number = ${number}`);
        expect(await db.migrations.apply()).toBe(1);
      }
      expect(await seen(config)).toMatchObject({ mailboxes: before.mailboxes, passwords: before.passwords });
      expect((await db.readSwitch()).row?.revision).toBe(1);
    });

  test('are left alone when the database has a table of that name which is not ours', async () => {
    const { config, run } = await oldTables();
    await run('create table mailboxes (a int)');
    await using db = await openDatabase(config);
    await expect(db.migrations.apply()).rejects.toMatchObject({ code: 'database_failed' });
    await run('drop table mailboxes');
    expect(await db.migrations.apply()).toBeGreaterThan(0);
    expect((await seen(config)).mailboxes).toHaveLength(2);
  });
});

test('who does not get the lock goes on waiting for it, and applies nothing meanwhile', async () => {
  const { config } = await fresh('mariadb');
  await using db = await openDatabase(config);
  const digest = createHash('sha256')
    .update(config.kind === 'mysql' ? config.database : '')
    .digest('hex');
  const lock = `ticketmaild.migrate.${digest.slice(0, 32)}`;
  const order: string[] = [];
  const other = mariadb.query(`select get_lock('${lock}', 0); select sleep(1.6)`).then(() => order.push('let go'));
  await expect.poll(() => mariadb.query(`select is_free_lock('${lock}')`)).toBe('0\n');
  await db.migrations.apply(({ name }) => order.push(name));
  await other;
  expect(order).toEqual(['let go', ...migrations.map(({ name }) => name)]);
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
