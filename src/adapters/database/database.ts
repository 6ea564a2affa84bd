/**
 * The database of tickets and mailboxes: MySQL or MariaDB, or a SQLite file, behind the ports of `ingest/`, `encryption/` and
 * `admin/`.
 *
 * Opening connects to nothing: the first statement does, and after a failure the next one tries again, so a program
 * starts while the database is down and recovers by itself. Every method rejects with a Failure (see failures.ts).
 */
import { type Dialect, Kysely, sql } from 'kysely';
import type { AdminStore } from '../../admin/ports.ts';
import type { DatabaseConfig } from '../../config/config.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import type { RawPlace } from '../../ingest/model.ts';
import type { DatabaseHealth, QuarantineReader } from '../../ingest/ports.ts';
import type { PoolCheck } from '../../ingest/readiness.ts';
import type {
  IngestStore,
  MailboxStore,
  NumberingStore,
  QuarantineStore,
  ReconcileStore,
  ReplayStore,
  TicketDesk,
  TicketReader,
} from '../../ingest/stores.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { adminStore } from './admin/store.ts';
import { encryptionStore } from './encryption/store.ts';
import { numberingStore } from './mailboxes/folders.ts';
import { mailboxStore } from './mailboxes/store.ts';
import { ingestStore } from './messages/batch.ts';
import { quarantineStore } from './messages/quarantine.ts';
import { rawPlaces, ticketReader } from './messages/reader.ts';
import { reconcileStore } from './messages/reconcile.ts';
import { replayStore } from './messages/reprocess.ts';
import { ticketDesk } from './messages/tickets.ts';
import { type Migrations, migrationsOf } from './schema/migrate.ts';
import { type DialectWords, fromDatabaseTime, mysqlWords, sqliteWords } from './sql/dialect.ts';
import type { Connected, Tables } from './sql/tables.ts';
import { lockForDaemon } from './sqlite.ts';

export type Database = MailboxStore &
  IngestStore &
  NumberingStore &
  TicketReader &
  TicketDesk &
  DatabaseHealth &
  QuarantineReader &
  QuarantineStore &
  ReconcileStore &
  ReplayStore &
  EncryptionStore &
  AdminStore &
  AsyncDisposable & {
    readonly migrations: Migrations;
    /** The connections to the server; null for a SQLite file. */
    pool(): PoolCheck | null;
    /** Another password from the next connection on; it is borrowed until the database is closed. */
    usePassword(password: SecretBytes): void;
    /** Keeps a second daemon away from a SQLite file until it is disposed. Throws `worker_running`. */
    lockForDaemon(): Promise<Disposable>;
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
  /** After each so long without an answer to a statement its server is asked, on another connection, whether it lives. */
  readonly slowMs: number;
  /** A connection that nobody used for `idleMs` is asked whether it still works, and has `answerMs` to answer. */
  readonly idleMs: number;
  readonly answerMs: number;
  /** The longest time between two such questions. */
  readonly askMs: number;
};

const usualLimits: DatabaseLimits = {
  ...{ connectMs: 5_000, statementMs: 30_000, changeMs: 600_000 },
  ...{ slowMs: 2_000, idleMs: 10_000, answerMs: 2_000, askMs: 60_000 },
};

/** `limits` are for MySQL; a SQLite file answers or fails. The password of `config` is borrowed until it is closed. */
export async function openDatabase(config: DatabaseConfig, limits: Partial<DatabaseLimits> = {}): Promise<Database> {
  const { dialect, words, pool, usePassword } = await engineOf(config, { ...usualLimits, ...limits });
  const db = new Kysely<Tables>({ dialect });
  return {
    ...mailboxStore(db, words),
    ...ingestStore(db, words),
    ...numberingStore(db, words),
    ...quarantineStore(db, words),
    ...reconcileStore(db, words),
    ...replayStore(db, words),
    ...ticketReader(db),
    ...ticketDesk(db, words),
    ...encryptionStore(db, words),
    ...adminStore(db, words),
    // Reads a table: a cluster node without quorum answers `select 1` but nothing else.
    ping: async () => {
      await sql`select 1 from mailboxes limit 1`.execute(db);
    },
    lockForDaemon: async () =>
      config.kind === 'sqlite' ? await lockForDaemon(config.path) : { [Symbol.dispose]: () => undefined },
    databaseNowMs: () => databaseNowMs(db, words),
    rawPlaces: (mailboxId, uids) => rawPlaces(db, mailboxId, uids),
    pool,
    usePassword,
    migrations: migrationsOf(db, words),
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

async function databaseNowMs(db: Connected, words: DialectWords): Promise<number> {
  const { rows } = await sql<{ now: string }>`select ${words.now} as now`.execute(db);
  return fromDatabaseTime(rows[0]?.now ?? '');
}

type Engine = Pick<Database, 'usePassword'> & {
  readonly dialect: Dialect;
  readonly words: DialectWords;
  readonly pool: () => PoolCheck | null;
};

/** Either loads its own driver alone. */
async function engineOf(config: DatabaseConfig, limits: DatabaseLimits): Promise<Engine> {
  if (config.kind === 'sqlite') {
    const { sqliteDialect } = await import('./sqlite.ts');
    return {
      dialect: sqliteDialect(config.path),
      words: sqliteWords(),
      pool: () => null,
      usePassword: () => undefined,
    };
  }
  const { MysqlPool, mysqlDialect } = await import('./mysql/pool.ts');
  const pool = new MysqlPool(config, limits);
  const words = mysqlWords(() => pool.packetBytesMax());
  const usePassword = (password: SecretBytes) => pool.usePassword(password);
  return { dialect: mysqlDialect(pool), words, pool: () => pool.stats(), usePassword };
}
