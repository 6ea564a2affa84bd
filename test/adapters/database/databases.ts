/**
 * Test databases: one migrated database per dialect, and a second connection that writes as a helpdesk or script does.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Database, openDatabase } from '../../../src/adapters/database/database.ts';
import type { DatabaseConfig } from '../../../src/config/config.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';

export const kinds = ['sqlite', 'mariadb'] as const;
export type Kind = (typeof kinds)[number];

export type Opened = {
  readonly config: DatabaseConfig;
  readonly db: Database;
  /** The file of SQLite, or that of the table of mailboxes. */
  readonly file: string;
  /** Runs one statement on a connection of its own; its rows as lines, the columns separated by tabs. */
  run(sql: string): Promise<string>;
  /** Takes all rows out of these tables. */
  empty(...tables: readonly string[]): Promise<void>;
};

/** Everything is undone with `stack`. */
export async function openKind(kind: Kind, stack: AsyncDisposableStack): Promise<Opened> {
  const place = kind === 'mariadb' ? await onServer(stack) : await inFile(stack);
  const db = stack.use(await openDatabase(place.config));
  await db.migrations.apply();
  return { ...place, db };
}

async function onServer(stack: AsyncDisposableStack): Promise<Omit<Opened, 'db'>> {
  const mariadb = stack.use(await startMariadb());
  const { config, name } = await mariadb.createDatabase();
  const run = async (sql: string) => (await mariadb.query(`set names utf8mb4; use ${name}; ${sql}`)).trimEnd();
  const empty = async (...tables: readonly string[]) => void (await run(deletes(tables)));
  return { config, file: join(mariadb.dataFolder, name, 'mailboxes.ibd'), run, empty };
}

async function inFile(stack: AsyncDisposableStack): Promise<Omit<Opened, 'db'>> {
  const file = join(stack.use(await temporaryFolder('sqlite')).path, 'tickets.db');
  const run = async (sql: string) => {
    using database = new DatabaseSync(file);
    const rows = database.prepare(sql).all();
    return rows.map((row) => Object.values(row).map(shown).join('\t')).join('\n');
  };
  const empty = async (...tables: readonly string[]) => {
    using database = new DatabaseSync(file);
    database.exec(deletes(tables));
  };
  return { config: { kind: 'sqlite', path: file }, file, run, empty };
}

function deletes(tables: readonly string[]): string {
  return tables.map((table) => `delete from ${table}`).join('; ');
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  return value === null ? 'NULL' : `${value}`;
}
