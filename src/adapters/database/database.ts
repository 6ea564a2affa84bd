/**
 * The database of tickets and mailboxes: MySQL or MariaDB, or a SQLite file, behind the ports of `ingest/` and `encryption/`.
 *
 * Opening connects to nothing: the first statement does, and after a failure the next one tries again, so a program
 * starts while the database is down and recovers by itself. Every method rejects with a Failure (see failures.ts).
 */
import { type Dialect, Kysely, sql } from 'kysely';
import type { DatabaseConfig } from '../../config.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import type { DatabaseHealth, IngestStore, MailboxStore, TicketReader } from '../../ingest/ports.ts';
import type { RawPlace } from '../../ingest/rows.ts';
import { ingestStore } from './batch-store.ts';
import { type DialectWords, mysqlWords, sqliteWords } from './dialect-words.ts';
import { encryptionStore } from './encryption-store.ts';
import { mailboxStore } from './mailbox-store.ts';
import { type Migrations, migrationsOf } from './migrate.ts';
import { MysqlPool, mysqlDialect } from './mysql-pool.ts';
import { sqliteDialect } from './sqlite-driver.ts';
import type { Tables } from './tables.ts';
import { rawPlaces, ticketReader } from './ticket-reader.ts';

export type Database = MailboxStore &
  IngestStore &
  TicketReader &
  DatabaseHealth &
  EncryptionStore &
  AsyncDisposable & {
    readonly migrations: Migrations;
    /** Where the raw sources of these UIDs lie, in their order, in the newest UIDVALIDITY; what has none is left out. */
    rawPlaces(mailboxId: string, uids: readonly number[]): Promise<readonly RawPlace[]>;
  };

export type DatabaseLimits = {
  /** How long a connection, its login included, may take. */
  readonly connectMs: number;
  /** How long a statement may take before the connection is cut. */
  readonly statementMs: number;
  /** The same for a statement that changes a table. */
  readonly changeMs: number;
};

const usualLimits: DatabaseLimits = { connectMs: 5_000, statementMs: 30_000, changeMs: 600_000 };

/** `limits` are for MySQL; a SQLite file answers or fails. The password of `config` is borrowed until it is closed. */
export async function openDatabase(config: DatabaseConfig, limits: Partial<DatabaseLimits> = {}): Promise<Database> {
  const { dialect, words } = engineOf(config, { ...usualLimits, ...limits });
  const db = new Kysely<Tables>({ dialect });
  return {
    ...mailboxStore(db, words),
    ...ingestStore(db, words),
    ...ticketReader(db),
    ...encryptionStore(db, words),
    // Reads a table: a cluster node without quorum answers `select 1` but nothing else.
    ping: async () => {
      await sql`select 1 from mailboxes limit 1`.execute(db);
    },
    rawPlaces: (mailboxId, uids) => rawPlaces(db, mailboxId, uids),
    migrations: migrationsOf(db, words),
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

function engineOf(config: DatabaseConfig, limits: DatabaseLimits): { dialect: Dialect; words: DialectWords } {
  if (config.kind === 'sqlite') return { dialect: sqliteDialect(config.path), words: sqliteWords() };
  const pool = new MysqlPool(config, limits);
  return { dialect: mysqlDialect(pool), words: mysqlWords(() => pool.packetBytesMax()) };
}
