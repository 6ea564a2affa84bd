/** Database copy between SQLite and MariaDB: every table and column, interruptions, and what is refused. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CopyOptions } from '../../../../src/adapters/database/copy/copy.ts';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import { baselineTables } from '../../../../src/adapters/database/schema/baseline.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { Failure } from '../../../../src/errors.ts';
import { type Mariadb, startMariadb, type TestDatabase } from '../../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { fillTables, rowsOf } from './filled-tables.ts';

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;
let folder: string;
let files = 0;

beforeAll(async () => {
  mariadb = stack.use(await startMariadb());
  folder = stack.use(await temporaryFolder('copy')).path;
});
afterAll(() => stack.disposeAsync());

/** A path of a file that does not exist yet. */
function newFile(): { readonly kind: 'sqlite'; readonly path: string } {
  files += 1;
  return { kind: 'sqlite', path: join(folder, `${files}.db`) };
}

async function opened(config: DatabaseConfig): Promise<Database> {
  const db = stack.use(await openDatabase(config));
  await db.migrations.apply();
  return db;
}

/** Columns of processes, and the version of a row, which has another form in each dialect. */
const changed: ReadonlySet<string> = new Set([
  ...['mailbox_state.lease_owner', 'mailbox_state.lease_until', 'mailbox_state.login_failed_version'],
  'mailbox_state.retry_requested_at',
  ...['oauth_access.claim_owner', 'oauth_access.claim_until'],
  ...['encryption_switch.operation_owner', 'encryption_switch.operation_until', 'mailboxes.changed_at'],
]);

/** One text a row. */
function comparable(rows: ReturnType<typeof rowsOf>): readonly string[] {
  return [...rows].flatMap(([table, all]) =>
    all.map((row) => {
      const same = Object.entries(row).filter(([column]) => !changed.has(`${table}.${column}`));
      return `${table} ${JSON.stringify(same)}`;
    }),
  );
}

/** A filled source, and the name of an empty database of the server. */
async function scene(
  rows = 40,
): Promise<{ readonly source: Database; readonly file: string; readonly to: TestDatabase }> {
  const from = newFile();
  const source = await opened(from);
  fillTables(from.path, rows);
  return { source, file: from.path, to: await mariadb.createDatabase() };
}

/** No lease in the filled rows is alive. */
const options: CopyOptions = { liveness: { liveMs: 10_000, isDead: () => true }, onProgress: () => undefined };

class Died extends Error {}

/** The copy dies once this many rows are copied. */
async function dieAfter(source: Database, to: DatabaseConfig, rows: number): Promise<void> {
  const onProgress: CopyOptions['onProgress'] = (step, done) => {
    if (step === 'comparing' || done >= rows) throw new Died();
  };
  await expect(source.copyTo(to, { ...options, onProgress })).rejects.toThrow(Died);
}

async function failureOf(copying: Promise<unknown>): Promise<Failure> {
  const error: unknown = await copying.catch((thrown: unknown) => thrown);
  if (error instanceof Failure) return error;
  throw new Error(`not a failure: ${error}`);
}

async function rowsBack(to: DatabaseConfig) {
  const back = newFile();
  await stack.use(await openDatabase(to)).copyTo(back, options);
  return comparable(rowsOf(back.path));
}

test('every row and column comes back the same from SQLite through MariaDB', async () => {
  const { source, file, to } = await scene(60);
  const before = rowsOf(file);
  const report = await source.copyTo(to.config, options);
  expect(report.before).toBe('new');
  expect(report.tables.map(({ table }) => table).toSorted()).toEqual(
    Object.keys(baselineTables)
      .filter((table) => table !== 'workers')
      .toSorted(),
  );
  expect(await rowsBack(to.config)).toEqual(comparable(before));
  expect(rowsOf(file)).toEqual(before);
});

test('a copy that died at any number of rows continues, and no row is there twice', async () => {
  const { source, file, to } = await scene();
  for (const rows of [1, 40, 41, 100, 250, 480]) await dieAfter(source, to.config, rows);
  const report = await source.copyTo(to.config, options);
  expect(report.before).toBe('unfinished');
  expect(await rowsBack(to.config)).toEqual(comparable(rowsOf(file)));
});

test('a complete copy is left as it is when the command is run again', async () => {
  const { source, to } = await scene();
  await source.copyTo(to.config, options);
  const target = await opened(to.config);
  expect((await target.migrations.status()).every(({ number }) => number > 0)).toBe(true);
  await mariadb.query(`update ${to.name}.ticket set subject = 'used since'`);
  expect(await source.copyTo(to.config, options)).toEqual({ before: 'complete', tables: [] });
  expect(await mariadb.query(`select distinct subject from ${to.name}.ticket`)).toBe('used since\n');
});

test('an unfinished copy has no password and no mailbox, and no program uses it', async () => {
  const { source, to } = await scene();
  await dieAfter(source, to.config, 480);
  const counts = 'mailboxes, oauth_grant, oauth_access, reply_key'
    .split(', ')
    .map((table) => `(select count(*) from ${to.name}.${table})`);
  expect((await mariadb.query(`select ${counts.join(', ')}`)).trim()).toBe('0\t0\t0\t0');
  const target = stack.use(await openDatabase(to.config));
  for (const use of [target.migrations.apply, target.migrations.check, target.migrations.refuseUnfinishedCopy])
    expect(await failureOf(use())).toMatchObject({ code: 'copy_unfinished' });
});

test('rows that changed while a copy was interrupted are copied again', async () => {
  const { source, file, to } = await scene();
  await dieAfter(source, to.config, 480);
  using database = new DatabaseSync(file);
  database.exec(`update ticket set subject = 'later' where id = (select min(id) from ticket)`);
  database.exec('delete from message where id = (select min(id) from message)');
  fillTables(file, 3, ['ticket_link', 'attachment']);
  await source.copyTo(to.config, options);
  expect(await rowsBack(to.config)).toEqual(comparable(rowsOf(file)));
});

describe('a target is refused, and stays as it is', () => {
  test('with rows', async () => {
    const { source, to } = await scene();
    await opened(to.config);
    await mariadb.query(`insert into ${to.name}.audit (at, actor, host, action) values (now(), 'a', 'h', 'x')`);
    const failure = await failureOf(source.copyTo(to.config, options));
    expect(failure.message).toBe('The target of the copy is not empty: its table audit has rows.');
    expect(await mariadb.query(`select count(*) from ${to.name}.ticket`)).toBe('0\n');
  });

  test('with an unfinished copy of another database', async () => {
    const { source, to } = await scene();
    await dieAfter(source, to.config, 100);
    const other = await scene();
    const failure = await failureOf(other.source.copyTo(to.config, options));
    expect(failure.message).toBe('The target holds an unfinished copy of another database.');
    await source.copyTo(to.config, options);
  });

  test('with tables of another character set', async () => {
    const { source, to } = await scene();
    await opened(to.config);
    await mariadb.query(`alter table ${to.name}.ticket convert to character set latin1`);
    const failure = await failureOf(source.copyTo(to.config, options));
    expect(failure.message).toBe('The table ticket of the target has the character set latin1, not utf8mb4.');
  });

  test('without the privilege to create tables', async () => {
    const { source, to } = await scene();
    await mariadb.query(
      `create user poor@'127.0.0.1' identified by 'app'; grant select on ${to.name}.* to poor@'127.0.0.1'`,
    );
    const failure = await failureOf(source.copyTo({ ...to.config, user: 'poor' }, options));
    expect(failure.code).toBe('database_denied');
    expect(failure.message).toMatch(/CREATE command denied to user 'poor'@/);
  });

  test('of a server that takes no writes', async () => {
    const { source, to } = await scene();
    await mariadb.query('set global read_only = 1');
    const failure = await failureOf(source.copyTo(to.config, options));
    await mariadb.query('set global read_only = 0');
    expect(failure.message).toMatch(/running with the --read-only option/);
  });
});

test('a row that the target refuses is named, and the copy continues once it is corrected', async () => {
  const { source, file, to } = await scene();
  using database = new DatabaseSync(file);
  const [row] = database.prepare('select max(id) as id from ticket').all();
  database.prepare('update ticket set status = ? where id = ?').run('x'.repeat(33), row?.['id'] ?? null);
  const failure = await failureOf(source.copyTo(to.config, options));
  expect(failure.code).toBe('row_refused');
  expect(failure.message).toContain(`ticket ${row?.['id']}: `);
  database.exec(`update ticket set status = 'open'`);
  await source.copyTo(to.config, options);
});

test('a text above max_allowed_packet is named with its size', async () => {
  const { source, file, to } = await scene();
  const bytes = Number(await mariadb.query('select @@max_allowed_packet'));
  using database = new DatabaseSync(file);
  database.prepare('update ticket set subject_full = ? where id = (select max(id) from ticket)').run('x'.repeat(bytes));
  const failure = await failureOf(source.copyTo(to.config, options));
  expect(failure.message).toMatch(/^ticket \S+: A statement of \d+ bytes is larger than the server takes/);
});

test('a time that is none is named, and forms of other programs are taken', async () => {
  const { source, file, to } = await scene();
  using database = new DatabaseSync(file);
  database.exec(`update mailboxes set created_at = '2026-01-31T10:00:00Z', changed_at = ''`);
  database.exec(`update oauth_grant set retry_at = 'soon' where id = (select max(id) from oauth_grant)`);
  const failure = await failureOf(source.copyTo(to.config, options));
  expect(failure.message).toMatch(/^oauth_grant \S+: retry_at is not a time\.$/);
  database.exec('update oauth_grant set retry_at = null');
  await source.copyTo(to.config, options);
  const times = await mariadb.query(`select distinct created_at, changed_at from ${to.name}.mailboxes`);
  expect(times.trim()).toBe('2026-01-31 10:00:00.000\t1970-01-02 00:00:00.000000');
});

describe('a source in use is refused', () => {
  const alive: CopyOptions = { ...options, liveness: { liveMs: 10_000, isDead: () => false } };

  test('by a daemon on the file, and locks out a daemon and every writer meanwhile', async () => {
    const { source, file, to } = await scene();
    {
      using _lock = await source.lockForDaemon();
      expect((await failureOf(source.copyTo(to.config, options))).code).toBe('worker_running');
    }
    let tried = false;
    const onProgress = () => {
      if (tried) return;
      tried = true;
      expect(() => writeTo(file)).toThrow(/locked/);
      expect(() => new DatabaseSync(`${file}-daemon`, { timeout: 0 }).exec('begin exclusive')).toThrow(/locked/);
    };
    await source.copyTo(to.config, { ...options, onProgress });
    expect(tried).toBe(true);
  });

  test('by the heartbeat of a worker, a lease, or an operation', async () => {
    const { source, to } = await scene(0);
    const server = await opened(to.config);
    await server.reportWorker({ worker: 'w1', host: 'h', pid: 1, keyIds: [], vault: 'open', revision: 0 });
    const target = newFile();
    expect((await failureOf(server.copyTo(target, alive))).message).toBe('A worker uses the source of the copy: w1.');
    expect((await failureOf(source.copyTo(to.config, alive))).message).toBe(
      'A worker uses the target of the copy: w1.',
    );
    await server.removeWorker('w1');
    await server.claimOperation('o1', 30_000, () => false);
    expect((await failureOf(server.copyTo(target, alive))).code).toBe('operation_running');
  });
});

function writeTo(file: string): void {
  using database = new DatabaseSync(file, { timeout: 0 });
  database.exec('update ticket set status = status');
}

test('tables of an older or newer program are refused', async () => {
  const { file, to, source } = await scene();
  using database = new DatabaseSync(file);
  database.exec(`insert into schema_migration values (9999, 'later', '2026-01-01 00:00:00.000')`);
  expect((await failureOf(source.copyTo(to.config, options))).message).toMatch(/newer than this program/);
  database.exec('delete from schema_migration where number > 1');
  expect((await failureOf(source.copyTo(to.config, options))).message).toMatch(/migrations are not applied/);
});

test('a lost connection is opened again', async () => {
  const { source, file, to } = await scene();
  let restarting: Promise<void> | null = null;
  const onProgress = (_: string, done: number) => {
    if (done >= 100) restarting ??= mariadb.kill().then(() => mariadb.restart());
  };
  await source.copyTo(to.config, { ...options, onProgress });
  await restarting;
  expect(await rowsBack(to.config)).toEqual(comparable(rowsOf(file)));
});
