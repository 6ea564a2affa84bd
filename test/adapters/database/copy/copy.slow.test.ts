/** Database copy between SQLite and MariaDB: every table and column, interruptions, and what is refused. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { type Mariadb, startMariadb } from '../../../support/servers/mariadb.ts';
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

const options = {
  liveness: { liveMs: 10_000, isDead: () => false },
  onProgress: () => undefined,
};

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

test('every row and column comes back the same from SQLite through MariaDB', async () => {
  const [from, back] = [newFile(), newFile()];
  const source = await opened(from);
  fillTables(from.path, 300);
  const before = rowsOf(from.path);
  const server = (await mariadb.createDatabase()).config;
  const there = await source.copyTo(server, { ...options, liveness: { ...options.liveness, isDead: () => true } });
  const second = stack.use(await openDatabase(server));
  const here = await second.copyTo(back, options);
  expect(here.tables).toEqual(there.tables);
  expect(there.wasResumed).toBe(false);
  expect(comparable(rowsOf(back.path))).toEqual(comparable(before));
  expect(rowsOf(from.path)).toEqual(before);
}, 60_000);
