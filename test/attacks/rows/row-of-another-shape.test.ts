/**
 * A writer of the database alters tables that are read many times a second: fat columns cost no memory, and a worker
 * row of another shape hides no other one.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { initialSwitchRow } from '../../../src/secret/switch.ts';
import { type Opened, openKind } from '../../adapters/database/databases.ts';

const stack = new AsyncDisposableStack();
const tables = ['encryption_switch', 'workers', 'reply_key', 'admin_account', 'audit', 'schema_migration'] as const;
const fat = `repeat('a', 8000000)`;
let opened: Opened;

beforeAll(async () => {
  opened = await openKind('mariadb', stack);
  for (const table of tables) await opened.run(`create table original_${table} like ${table}`);
  await opened.run('insert into original_schema_migration select * from schema_migration');
});
afterAll(() => stack.disposeAsync());

beforeEach(async () => {
  for (const table of tables) {
    await opened.run(`drop table ${table}; create table ${table} like original_${table}`);
    await opened.run(`insert into ${table} select * from original_${table}`);
  }
  await opened.db.writeSwitch(initialSwitchRow, -1, []);
});

async function withFatColumns(table: string, text: string, length: number): Promise<void> {
  const added = Array.from({ length }, (_, n) => `c${n}`);
  await opened.run(
    `alter table ${table} ${added.map((one) => `add ${one} longtext null`).join(', ')}, modify ${text} longtext null`,
  );
  await opened.run(`update ${table} set ${[...added, text].map((one) => `${one} = ${fat}`).join(', ')} limit 1`);
}

const by = {
  who: 'ada',
  host: 'desk',
  action: 'switch.on',
  keyId: null,
  nextKeyId: null,
  mailboxId: null,
  detail: null,
};

test('the switch with fat columns is read twenty times', async () => {
  await withFatColumns('encryption_switch', 'changed_by', 16);
  const before = process.resourceUsage().maxRSS;
  for (let time = 0; time < 20; time += 1) {
    const { row } = await opened.db.readSwitch();
    expect(row).toMatchObject({ state: 'off', revision: 0, changedBy: 'a'.repeat(256) });
    await opened.db.operationOwner();
  }
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(100_000);
});

test('a claim, accounts, reply keys, migrations, workers and the audit with fat columns', async () => {
  const { db } = opened;
  const at = { createdAtMs: 1000, passwordChangedAtMs: 1000 };
  await db.addAccount({ id: 'a'.repeat(36), name: 'ada', passwordHash: 'x', ...at }, by);
  await db.writeReplyKeys([{ id: 1, secret: new Uint8Array(32), keyId: null, before: null, isRetired: false }]);
  await db.reportWorker({ worker: 'w', host: 'h', pid: 1, keyIds: [], vault: 'open', revision: 0 });
  await opened.run(`update encryption_switch set operation_until = utc_timestamp(3) + interval 50 second`);
  const fatTexts = {
    ...{ encryption_switch: 'operation_owner', admin_account: 'password_hash', reply_key: 'secret' },
    ...{ schema_migration: 'name', workers: 'key_ids', audit: 'detail' },
  };
  for (const [table, text] of Object.entries(fatTexts)) await withFatColumns(table, text, 2);
  const before = process.resourceUsage().maxRSS;
  expect((await db.operationOwner())?.length).toBe(256);
  expect((await db.listAccounts()).map(({ name, passwordHash }) => [name, passwordHash.length])).toEqual([
    ['ada', 256],
  ]);
  expect((await db.accountByName('ada'))?.passwordHash).toHaveLength(256);
  expect((await db.readReplyKeys()).length).toBeLessThan(2);
  expect((await db.readAudit(10)).map(({ detail }) => detail?.length)).toEqual([1001]);
  expect(await db.listWorkers(10_000)).toEqual([]);
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(150_000);
});

test.each([
  ['key_ids', 'modify key_ids text null', 'key_ids = null'],
  ['heartbeat_at', 'modify heartbeat_at varchar(64) null', `heartbeat_at = 'never'`],
  ['revision', 'modify revision varchar(64) null', `revision = '1e3'`],
  ['pid', 'modify pid double null', 'pid = 1.5'],
  ['host', 'modify host varchar(255) null', 'host = null'],
])('a worker row whose %s has another shape is left out alone (%s)', async (_, alter, spoil) => {
  const { db } = opened;
  for (const worker of ['bad', 'good'])
    await db.reportWorker({ worker, host: 'h', pid: 7, keyIds: ['k'], vault: 'open', revision: 3 });
  await opened.run(`alter table workers ${alter}`);
  await opened.run(`update workers set ${spoil} where worker = 'bad'`);
  const workers = await db.listWorkers(10_000);
  expect(workers.map(({ worker, pid, live, keyIds }) => [worker, pid, live, keyIds])).toEqual([
    ['good', 7, true, ['k']],
  ]);
});

test.each([
  ['changed_at', 'double not null', { changedAtMs: Number.NaN }],
  ['revision', 'varchar(64) not null', { revision: 0 }],
  ['state', 'bit(64) not null', { state: expect.any(String) }],
])('a switch row whose %s has another type (%s) is read, to be judged', async (column, type, expected) => {
  await opened.run(`alter table encryption_switch drop constraint if exists \`CONSTRAINT_1\``);
  await opened.run(`set sql_mode = ''; alter table encryption_switch modify ${column} ${type}`);
  expect((await opened.db.readSwitch()).row).toMatchObject(expected);
});
