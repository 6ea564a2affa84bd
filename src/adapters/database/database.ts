/**
 * Database adapter: MySQL, MariaDB or a SQLite file behind the store ports of the workflows.
 *
 * Opening connects to nothing: the first statement does, and after a failure the next one tries again. A program
 * therefore starts while the database is down and recovers automatically. Every method rejects with a Failure.
 */
import { type Dialect, Kysely, sql } from 'kysely';
import type { AdminStore } from '../../admin/ports.ts';
import type { DatabaseConfig, DatabaseLogin } from '../../config/config.ts';
import type { AuditReader, EncryptionStore } from '../../encryption/ports.ts';
import type { StoredSource } from '../../ingest/model.ts';
import type { DatabaseHealth, QuarantineReader, ReadableSecretsReader } from '../../ingest/ports.ts';
import type { PoolCheck } from '../../ingest/readiness.ts';
import type { RetryStore } from '../../ingest/retry-store.ts';
import type {
  FolderStore,
  IngestStore,
  MailboxStore,
  QuarantineStore,
  ReconcileStore,
  ReprocessStore,
  TicketReader,
  TicketStore,
} from '../../ingest/stores.ts';
import type { GrantStore } from '../../oauth/ports.ts';
import { adminStore } from './admin/store.ts';
import { type CopyOptions, type CopyReport, copyDatabase } from './copy/copy.ts';
import { requirePrivateFile } from './copy/private-file.ts';
import { encryptionStore } from './encryption/store.ts';
import { folderEpochStore } from './mailboxes/folders.ts';
import { leaseStore } from './mailboxes/leases.ts';
import { retryStore } from './mailboxes/retries.ts';
import { scheduleStore } from './mailboxes/schedule.ts';
import { mailboxStore } from './mailboxes/store.ts';
import { batchStore } from './messages/batch.ts';
import { lookupStore } from './messages/lookup.ts';
import { quarantineStore } from './messages/quarantine.ts';
import { storedSources, ticketReader } from './messages/reader.ts';
import { reconcileStore } from './messages/reconcile.ts';
import { reprocessStore } from './messages/reprocess.ts';
import { ticketStore } from './messages/tickets.ts';
import type { MysqlLimits } from './mysql/options.ts';
import { grantStore } from './oauth/store.ts';
import { createMigrations, type Migrations } from './schema/migrate.ts';
import { mysqlDialect, type SqlDialect, sqliteDialect } from './sql/dialect.ts';
import { fromDatabaseTime, type SqlExecutor, type Tables, withDialect } from './sql/tables.ts';
import { lockForDaemon } from './sqlite.ts';

export type Database = MailboxStore &
  IngestStore &
  FolderStore &
  TicketReader &
  TicketStore &
  DatabaseHealth &
  QuarantineReader &
  QuarantineStore &
  ReconcileStore &
  ReprocessStore &
  RetryStore &
  EncryptionStore &
  AuditReader &
  ReadableSecretsReader &
  GrantStore &
  AdminStore &
  AsyncDisposable & {
    readonly migrations: Migrations;
    /** Statistics of the connection pool; null for a SQLite file. */
    pool(): PoolCheck | null;
    /** The reason why nothing proves that a server is the database; null: something does, or it is a file. */
    openChannel(): string | null;
    /** For new connections; the password is borrowed until the database is closed. */
    useLogin(login: DatabaseLogin): void;
    /** Copies everything into an empty database, or continues a copy into it. The source stays as it is. */
    copyTo(target: DatabaseConfig, options: CopyOptions): Promise<CopyReport>;
    /** Locks a SQLite file against a second daemon until disposed. Throws `worker_running`. */
    lockForDaemon(): Promise<Disposable>;
    /**
     * Where the raw sources of these UIDs lie, in their order, in the newest UIDVALIDITY; what has none is left out.
     */
    storedSources(mailboxId: string, uids: readonly number[]): Promise<readonly StoredSource[]>;
  };

const defaultLimits: MysqlLimits = {
  ...{ connectTimeoutMs: 5_000, statementTimeoutMs: 30_000, schemaChangeTimeoutMs: 600_000 },
  ...{ probeAfterMs: 2_000, pingAfterIdleMs: 10_000, pingTimeoutMs: 2_000, pingIntervalMs: 60_000 },
};

/** `limits` apply to MySQL alone. The password of `config` is borrowed until the database is closed. */
export async function openDatabase(config: DatabaseConfig, limits: Partial<MysqlLimits> = {}): Promise<Database> {
  const { kyselyDialect, dialect, pool, useLogin, openChannel } = await loadDriver(config, {
    ...defaultLimits,
    ...limits,
  });
  const db = withDialect(new Kysely<Tables>({ dialect: kyselyDialect }), dialect);
  return {
    ...mailboxStore(db),
    ...scheduleStore(db),
    ...retryStore(db),
    ...leaseStore(db),
    ...folderEpochStore(db),
    ...lookupStore(db),
    ...batchStore(db),
    ...quarantineStore(db),
    ...reconcileStore(db),
    ...reprocessStore(db),
    ...ticketReader(db),
    ...ticketStore(db),
    ...encryptionStore(db),
    ...grantStore(db),
    ...adminStore(db),
    // Reads a table: a Galera node without quorum answers `select 1` and refuses every table.
    ping: async () => {
      await sql`select 1 from mailboxes limit 1`.execute(db);
    },
    copyTo: async (target, options) => await copyTo(db, config, target, options),
    lockForDaemon: () => lockFile(config),
    databaseNowMs: () => databaseNowMs(db),
    storedSources: (mailboxId, uids) => storedSources(db, mailboxId, uids),
    pool,
    useLogin,
    openChannel,
    migrations: createMigrations(db),
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

async function databaseNowMs(db: SqlExecutor): Promise<number> {
  const { rows } = await sql<{ now: string }>`select ${db.dialect.now} as now`.execute(db);
  return fromDatabaseTime(rows[0]?.now ?? '');
}

/** Both files are locked against a daemon meanwhile. Throws `refused` for a file that another user may have planted. */
async function copyTo(
  db: SqlExecutor,
  config: DatabaseConfig,
  to: DatabaseConfig,
  options: CopyOptions,
): Promise<CopyReport> {
  if (to.kind === 'sqlite') await requirePrivateFile(to.path);
  using _sourceLock = await lockFile(config);
  using _targetLock = await lockFile(to);
  const { kyselyDialect, dialect } = await loadDriver(to, defaultLimits);
  const target = withDialect(new Kysely<Tables>({ dialect: kyselyDialect }), dialect);
  try {
    return await copyDatabase(db, target, options);
  } finally {
    await target.destroy();
  }
}

async function lockFile(config: DatabaseConfig): Promise<Disposable> {
  return config.kind === 'sqlite' ? await lockForDaemon(config.path) : { [Symbol.dispose]: () => undefined };
}

type LoadedDriver = Pick<Database, 'useLogin' | 'openChannel'> & {
  readonly kyselyDialect: Dialect;
  readonly dialect: SqlDialect;
  readonly pool: () => PoolCheck | null;
};

/** Imports the driver of the configured database alone. */
async function loadDriver(config: DatabaseConfig, limits: MysqlLimits): Promise<LoadedDriver> {
  if (config.kind === 'sqlite') {
    const { kyselySqliteDialect } = await import('./sqlite.ts');
    return {
      kyselyDialect: kyselySqliteDialect(config.path),
      dialect: sqliteDialect(),
      pool: () => null,
      useLogin: () => undefined,
      openChannel: () => null,
    };
  }
  const { MysqlPool, kyselyMysqlDialect } = await import('./mysql/pool.ts');
  const pool = new MysqlPool(config, limits);
  const dialect = mysqlDialect(() => pool.packetBytesMax());
  return {
    kyselyDialect: kyselyMysqlDialect(pool),
    dialect,
    pool: () => pool.stats(),
    useLogin: (login) => pool.useLogin(login),
    openChannel: () => pool.openChannel(),
  };
}
