/**
 * A SQLite file through node:sqlite, as Kysely's driver: one connection, one transaction at a time.
 *
 * Made with mode 0600, in WAL with synchronous=FULL: a committed row survives a power cut. What is deleted or written over
 * is filled with zeros in the file (secure_delete). A transaction takes the write
 * lock at its start. Where another process holds it we wait beside the event loop, not in it, up to ten seconds; then
 * `database_conflict`. The file is opened with the first statement, and tried again with the next one if that fails.
 */

import { open } from 'node:fs/promises';
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
import { detachBytes, readsPasswords } from './sql/driver-buffers.ts';
import { sqliteFailure } from './sql/errors.ts';

const busyWaitMs = 10_000;
const busyStepMs = 15;
const statementsMax = 200;

type Prepared = { readonly statement: StatementSync; readonly hasRows: boolean };

class SqliteLink implements DatabaseConnection {
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

  /** Nothing here streams: what is long is read in pages. */
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
      const rows = statement.all(...bound);
      if (readsPasswords(sql)) detachBytes(rows);
      return { rows: rows as R[] };
    }
    const { changes } = statement.run(...bound);
    return { rows: [], numAffectedRows: BigInt(changes) };
  }

  /** The statements used last stay compiled. */
  #prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    if (known !== undefined) {
      this.#prepared.delete(sql);
      this.#prepared.set(sql, known);
      return known;
    }
    const statement = this.#database.prepare(sql);
    const prepared = { statement, hasRows: statement.columns().length > 0 };
    this.#prepared.set(sql, prepared);
    if (this.#prepared.size > statementsMax) this.#prepared.delete(this.#prepared.keys().next().value ?? sql);
    return prepared;
  }
}

class SqliteFile implements Driver {
  readonly #path: string;
  #link: SqliteLink | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async init(): Promise<void> {
    this.#link = await openFile(this.#path);
  }

  async acquireConnection(): Promise<SqliteLink> {
    if (this.#link === null) throw new Failure('unexpected', 'The database file is closed.');
    return this.#link;
  }

  async releaseConnection(): Promise<void> {
    // There is one connection, and Kysely hands it on.
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  /** A full disk, for one, makes SQLite roll back by itself. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#link?.isInTransaction === true) await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async destroy(): Promise<void> {
    this.#link?.close();
    this.#link = null;
  }
}

async function openFile(path: string): Promise<SqliteLink> {
  return whenNotBusy(path, async () => {
    await makeFile(path);
    // Waiting is done by `whenNotBusy`.
    const database = new DatabaseSync(path, { timeout: 0, enableForeignKeyConstraints: false });
    try {
      database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma fullfsync = 1');
      database.exec('pragma secure_delete = on');
    } catch (error) {
      database.close();
      throw error;
    }
    return new SqliteLink(database, path);
  });
}

/**
 * SQLite would make it readable for others; its companions (-wal, -shm) take over the mode of the file. A file that
 * exists is not even opened: closing it would drop the locks that another connection of this process has on it.
 */
async function makeFile(path: string): Promise<void> {
  try {
    await using file = await open(path, 'wx', 0o600);
    await file.sync();
  } catch (error) {
    if (causeCode(error) === 'EEXIST') return;
    throw error;
  }
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
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
    createDriver: () => new SqliteFile(path),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/**
 * One daemon for one SQLite file: a lock that the kernel takes away from a process that dies, however it dies.
 *
 * It is the lock of a second, empty database beside the first, which nothing else opens: commands work on the first one as
 * before. With MySQL or MariaDB any number of daemons work together, and there is nothing to lock.
 */

const busy = 5;

/** Held until it is disposed. Throws `worker_running`. Where the lock cannot be made at all, nothing is held. */
export async function lockForDaemon(databasePath: string): Promise<Disposable> {
  const path = `${databasePath}-daemon`;
  try {
    await (await open(path, 'a', 0o600)).close();
    const lock = new DatabaseSync(path, { timeout: 0 });
    lock.exec('begin exclusive');
    return { [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (typeof error === 'object' && error !== null && Reflect.get(error, 'errcode') === busy)
      throw new Failure('worker_running', `another daemon works on ${databasePath}`, { cause: error });
    // A disk on which nothing can be written says so in its own check, and is tried again.
    return { [Symbol.dispose]: () => undefined };
  }
}
