/**
 * A database of before the admin page is brought up to date with everything that is in it, on both dialects.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { migrations } from '../../../../src/adapters/database/schema/migrations.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { startMariadb } from '../../../support/mariadb.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { by, nowMs } from '../samples.ts';

const before = migrations.filter(({ number }) => number <= 49);
const time = `'2024-05-17 09:30:15.250'`;

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

type Fresh = { readonly config: DatabaseConfig; run(sql: string): Promise<unknown> };

async function fresh(kind: 'sqlite' | 'mariadb'): Promise<Fresh> {
  if (kind === 'mariadb') {
    const mariadb = stack.use(await startMariadb());
    const { config, name } = await mariadb.createDatabase();
    return { config, run: (sql) => mariadb.query(`use ${name}; ${sql}`) };
  }
  const path = join(stack.use(await temporaryFolder('admin')).path, 'tickets.db');
  const run = async (sql: string) => {
    using database = new DatabaseSync(path);
    database.exec(sql);
  };
  return { config: { kind, path }, run };
}

/** With a mailbox, a mail in a ticket, and an audit. */
async function oldDatabase(kind: 'sqlite' | 'mariadb'): Promise<Fresh> {
  const { config, run } = await fresh(kind);
  const record = before.map(({ number, name }) => `(${number}, '${name}', ${time})`).join(', ');
  const steps = before.flatMap((step) => step[kind === 'sqlite' ? 'sqlite' : 'mysql'] ?? []);
  await run(
    [
      'create table schema_migration (number int not null primary key, name varchar(100), applied_at varchar(30))',
      ...steps,
      `insert into schema_migration values ${record}`,
      `insert into mailboxes (id, name, host, username, password) values ('m', 'desk', 'h', 'u', 'p')`,
      `insert into ticket (id, ref, mailbox_id, subject, requester_name, requester_address, status, created_at, updated_at)
        values ('t', 'REF', 'm', 's', 'Ada', 'ada@example.org', 'open', ${time}, ${time})`,
      `insert into outcome (mailbox_id, uid_validity, uid, outcome, ticket_id, size_bytes, action_pending, created_at)
        values ('m', 1, 1, 'ticket_opened', 't', 10, 0, ${time})`,
      ...['switch.on', 'quarantine.retried', 'switch.on'].map(
        (action) => `insert into audit (at, who, host, action) values (${time}, 'ada@desk', 'desk', '${action}')`,
      ),
    ].join(';\n'),
  );
  return { config, run };
}

describe.each(['sqlite', 'mariadb'] as const)('a database of before the admin page on %s', (kind) => {
  test('keeps what is in it, and has room for admins, whoever of several starts first', async () => {
    const { config } = await oldDatabase(kind);
    await using starters = new AsyncDisposableStack();
    const databases = await Promise.all(Array.from({ length: 5 }, () => openDatabase(config)));
    for (const database of databases) starters.use(database);
    const [db] = databases;
    if (db === undefined) throw new Error('not opened');
    await expect(db.countAccounts()).rejects.toMatchObject({ code: 'database_outdated' });
    const counts = await Promise.all(databases.map((database) => database.migrations.apply()));
    expect(counts.reduce((sum, count) => sum + count)).toBe(migrations.length - before.length);
    await db.migrations.check();
    expect(await db.listMailboxes()).toMatchObject([{ name: 'desk', connection: { host: 'h', user: 'u' } }]);
    const actions = async (about?: 'quarantine' | 'admin') =>
      (await db.readAudit(9, about)).map(({ action }) => action);
    expect([await actions(), await actions('quarantine'), await actions('admin')]).toEqual([
      ['switch.on', 'switch.on'],
      ['quarantine.retried'],
      [],
    ]);
    expect(await db.lastAudit('switch.on')).toMatchObject({ ...by, atMs: nowMs });
    expect(await db.activitySince(nowMs)).toMatchObject([{ mails: 1, tickets: 1 }]);
    expect([await db.countAccounts(), await db.readOperation()]).toEqual([0, null]);
    const account = {
      id: 'a',
      name: 'ada',
      passwordHash: '$argon2id$',
      createdAtMs: nowMs,
      passwordChangedAtMs: nowMs,
    };
    const audit = { ...by, action: 'admin.added', keyId: null, nextKeyId: null, mailboxId: null, detail: 'ada' };
    await db.addAccount(account, audit);
    expect(await db.accountByName('ADA')).toEqual({ ...account, lastSignInAtMs: null });
  });

  if (kind === 'mariadb')
    test('each step that a crash left applied but not recorded is met again without harm', async () => {
      const { config, run } = await oldDatabase(kind);
      await using db = await openDatabase(config);
      await db.migrations.apply();
      await db.beginOperation(
        {
          ...{ number: 3, kind: 'enable', by: 'ada', worker: 'w', state: 'running' },
          ...{ startedAtMs: 0, endedAtMs: null, detail: '' },
        },
        null,
      );
      await run(`delete from schema_migration where number > ${before.length}`);
      expect(await db.migrations.apply()).toBe(migrations.length - before.length);
      expect(await db.readOperation()).toMatchObject({ number: 3 });
    });
});
