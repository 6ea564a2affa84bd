/**
 * SQLite driver for Kysely over node:sqlite: one connection, one transaction at a time, and a lock for one daemon.
 *
 * The file has mode 0600, in WAL mode with synchronous=FULL: a committed row survives a power cut. Deleted and
 * overwritten data is filled with zeros (secure_delete). A transaction takes the write lock at its start. While another
 * process holds it, statements retry without blocking the event loop, up to ten seconds; then `database_conflict`. The
 * file is opened with the first statement, and again with the next one if that fails.
 */
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import { detachBytes, readsPasswords } from './sql/driver-buffers.ts';
import { sqliteFailure } from './sql/errors.ts';

const busyWaitMs = 10_000;
const busyStepMs = 15;
const statementsMax = 200;

type Prepared = { readonly statement: StatementSync; readonly hasRows: boolean };

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #prepared = new Map<string, Prepared>();

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  async executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    return whenNotBusy(this.#path, () => this.#run<R>(compiled.sql, compiled.parameters));
  }

  /** Unsupported: long results are read in pages. */
  // biome-ignore lint/correctness/useYield: the interface asks for a generator.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Failure('unexpected', 'Streaming from the database is not supported.');
  }

  get isInTransaction(): boolean {
    return this.#database.isTransaction;
  }

  close(): void {
    this.#prepared.clear();
    this.#database.close();
  }

  #run<R>(sql: string, values: readonly unknown[]): QueryResult<R> {
    const { statement, hasRows } = this.#prepare(sql);
    const bound = values as readonly SQLInputValue[];
    if (hasRows) {
      const rows = allRows(statement, sql, bound);
      if (readsPasswords(sql)) detachBytes(rows);
      return { rows: rows as R[] };
    }
    const { changes } = statement.run(...bound);
    return { rows: [], numAffectedRows: BigInt(changes) };
  }

  /** LRU cache of compiled statements. */
  #prepare(sql: string): Prepared {
    const cached = this.#prepared.get(sql);
    if (cached !== undefined) {
      this.#prepared.delete(sql);
      this.#prepared.set(sql, cached);
      return cached;
    }
    const statement = this.#database.prepare(sql);
    const prepared = { statement, hasRows: statement.columns().length > 0 };
    this.#prepared.set(sql, prepared);
    if (this.#prepared.size > statementsMax) this.#prepared.delete(this.#prepared.keys().next().value ?? sql);
    return prepared;
  }
}

/**
 * Rows of a statement. An integer beyond 2^53, which only another program writes, is read as the nearest number:
 * node:sqlite throws for the whole result (ERR_OUT_OF_RANGE), and one such row would hide all beside it. A change is
 * not repeated.
 */
function allRows(statement: StatementSync, sql: string, bound: readonly SQLInputValue[]) {
  try {
    return statement.all(...bound);
  } catch (error) {
    if (causeCode(error) !== 'ERR_OUT_OF_RANGE' || !/^select\b/i.test(sql)) throw error;
  }
  statement.setReadBigInts(true);
  try {
    const rows = statement.all(...bound);
    for (const row of rows)
      for (const [column, value] of Object.entries(row)) if (typeof value === 'bigint') row[column] = Number(value);
    return rows;
  } finally {
    statement.setReadBigInts(false);
  }
}

class SqliteDriver implements Driver {
  readonly #path: string;
  #connection: SqliteConnection | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async init(): Promise<void> {
    this.#connection = await openFile(this.#path);
  }

  async acquireConnection(): Promise<SqliteConnection> {
    if (this.#connection === null) throw new Failure('unexpected', 'The database file is closed.');
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    // There is one connection; Kysely serializes its users.
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  /** SQLite rolls back some errors, such as a full disk, automatically. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#connection?.isInTransaction === true) await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async destroy(): Promise<void> {
    this.#connection?.close();
    this.#connection = null;
  }
}

async function openFile(path: string): Promise<SqliteConnection> {
  return whenNotBusy(path, async () => {
    await createFile(path);
    // `whenNotBusy` waits instead.
    const database = new DatabaseSync(path, { timeout: 0, enableForeignKeyConstraints: false });
    try {
      database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma fullfsync = 1');
      database.exec('pragma secure_delete = on');
    } catch (error) {
      database.close();
      throw error;
    }
    return new SqliteConnection(database, path);
  });
}

/**
 * SQLite would create the file readable for others; -wal and -shm copy its mode. An existing file is not opened:
 * closing it would drop the POSIX locks that another connection of this process holds on it.
 */
async function createFile(path: string): Promise<void> {
  try {
    await using file = await open(path, 'wx', 0o600);
    await file.sync();
  } catch (error) {
    if (causeCode(error) === 'EEXIST') return await requireRegularFile(path);
    throw error;
  }
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
}

/** SQLite would follow a link, and write into a device. Throws `database_unavailable`. */
async function requireRegularFile(path: string): Promise<void> {
  if ((await lstat(path)).isFile()) return;
  const hint = `Check what it is, and move it away: ls -ld ${shellArg(path)}. [database] url names another file.`;
  throw new Failure('database_unavailable', `The database cannot be used: ${path} is no regular file.`, { hint });
}

async function whenNotBusy<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  const untilMs = performance.now() + busyWaitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const failure = sqliteFailure(error, path);
      if (!isFailure(failure, 'database_conflict') || failure.fields.key !== undefined) throw failure;
      if (performance.now() > untilMs) throw failure;
    }
    await sleep(busyStepMs);
  }
}

export function kyselySqliteDialect(path: string): Dialect {
  return {
    createDriver: () => new SqliteDriver(path),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/*
 * Lock for one daemon per SQLite file, released by the kernel when the process dies: the lock of a second, empty
 * database that nothing else opens. Commands use the first one without restriction. MySQL and MariaDB admit any number
 * of daemons.
 */

const busy = 5;

/** As `a`, through no link and without a wait for the other end of a pipe. */
const lockFlags =
  constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Locked until disposed. Throws `worker_running`. Without a lock file (a full disk) it returns without a lock. */
export async function lockForDaemon(databasePath: string): Promise<Disposable> {
  const path = `${databasePath}-daemon`;
  try {
    await (await open(path, lockFlags, 0o600)).close();
    const lock = new DatabaseSync(path, { timeout: 0 });
    lock.exec('begin exclusive');
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (typeof error === 'object' && error !== null && Reflect.get(error, 'errcode') === busy)
      throw new Failure('worker_running', `another daemon uses ${databasePath}`, { cause: error });
    // The disk check reports a disk that cannot be written.
    return { [Symbol.dispose]: () => undefined };
  }
}
