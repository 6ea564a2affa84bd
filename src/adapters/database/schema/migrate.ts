/**
 * Brings the tables up to date, also when many processes start at once.
 *
 * MySQL: one connection holds a named lock, and what it answered is read. The lock is per server (on Galera per node),
 * so each step is also safe to meet twice: "exists already" counts as done. SQLite: each step is one transaction that
 * takes the write lock first. Tables of a newer program are refused: `database_outdated`.
 */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { Failure, isFailure } from '../../../errors.ts';
import type { Migration, SqlDialect } from '../sql/dialect.ts';
import { fromDatabaseTime } from '../sql/dialect.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { migrations } from './migrations.ts';

export type MigrationStatus = { readonly number: number; readonly name: string; readonly appliedAtMs: number | null };

export type Migrations = {
  /** Every step of this program, and steps of a newer one that the database has; null: not applied. */
  status(): Promise<readonly MigrationStatus[]>;
  /** Applies what is missing and tells how many steps that were. Throws `database_outdated` on newer tables. */
  apply(onEach?: (migration: { readonly number: number; readonly name: string }) => void): Promise<number>;
  /** Throws `database_outdated` when steps are missing, or when the tables are newer than this program. */
  check(): Promise<void>;
};

type OnEach = (migration: { readonly number: number; readonly name: string }) => void;

/** Table, column and key that exist already. */
const doneAlready = [1050, 1060, 1061];
const lockTurnS = 1;
const lockTurnsMax = 900;

export function createMigrations(db: SqlExecutor, dialect: SqlDialect): Migrations {
  return {
    status: () => status(db),
    apply: (onEach = () => undefined) =>
      dialect.kind === 'mysql' ? applyMysql(db, dialect, onEach) : applySqlite(db, dialect, onEach),
    check: async () => {
      const rows = await status(db);
      refuseNewer(rows);
      const missing = rows.filter((row) => row.appliedAtMs === null).length;
      if (missing > 0) throw new Failure('database_outdated', `${missing} migrations are not applied.`);
    },
  };
}

async function status(db: SqlExecutor): Promise<readonly MigrationStatus[]> {
  const applied = await readApplied(db);
  const own = migrations.map(({ number, name }) => ({ number, name, appliedAtMs: null }));
  const byNumber = new Map<number, MigrationStatus>(own.map((row) => [row.number, row]));
  for (const row of applied) byNumber.set(row.number, row);
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

/** What is recorded as applied; nothing in a new database, which has not even the table for it. */
async function readApplied(db: SqlExecutor): Promise<readonly MigrationStatus[]> {
  try {
    const rows = await db.selectFrom('schema_migration').selectAll().orderBy('number').execute();
    return rows.map((row) => ({ number: row.number, name: row.name, appliedAtMs: fromDatabaseTime(row.applied_at) }));
  } catch (error) {
    if (isFailure(error, 'database_outdated')) return [];
    throw error;
  }
}

function refuseNewer(rows: readonly MigrationStatus[]): void {
  const newest = migrations.at(-1)?.number ?? 0;
  const newer = rows.filter((row) => row.number > newest);
  if (newer.length === 0) return;
  const message = `The tables are newer than this program: migration ${newer.at(-1)?.number}, it knows ${newest}.`;
  throw new Failure('database_outdated', message);
}

async function missingSteps(db: SqlExecutor): Promise<readonly Migration[]> {
  const applied = await readApplied(db);
  refuseNewer(applied);
  const numbers = new Set(applied.map((row) => row.number));
  return migrations.filter((migration) => !numbers.has(migration.number));
}

function applyMysql(db: SqlExecutor, dialect: SqlDialect, onEach: OnEach): Promise<number> {
  return db.connection().execute(async (connection) => {
    const steps = await missingSteps(connection);
    if (steps.length === 0) return 0;
    const lock = await takeLock(connection);
    try {
      return await applyMissing(connection, dialect, onEach);
    } finally {
      await releaseLock(connection, lock);
    }
  });
}

/** The connection that holds the lock gives it back as it ends, so a broken one has nothing to give back. */
async function releaseLock(connection: SqlExecutor, lock: string): Promise<void> {
  try {
    await sql`select release_lock(${lock})`.execute(connection);
  } catch (error) {
    if (!isFailure(error, 'database_unavailable')) throw error;
  }
}

async function takeLock(connection: SqlExecutor): Promise<string> {
  const named = await sql<{ name: string }>`select database() as name`.execute(connection);
  const digest = createHash('sha256')
    .update(named.rows[0]?.name ?? '')
    .digest('hex');
  const lock = `ticketmaild.migrate.${digest.slice(0, 32)}`;
  for (let turn = 0; turn < lockTurnsMax; turn += 1) {
    const answer = await sql<{ got: number | null }>`select get_lock(${lock}, ${lockTurnS}) as got`.execute(connection);
    if (Number(answer.rows[0]?.got) === 1) return lock;
  }
  throw new Failure('database_conflict', 'Another process has been migrating the database for too long.');
}

async function applyMissing(connection: SqlExecutor, dialect: SqlDialect, onEach: OnEach): Promise<number> {
  await ensureRecord(connection, dialect);
  for (let count = 0; ; count += 1) {
    // Asked before each step: on Galera the lock keeps nobody out who migrates through another node.
    const [step] = await missingSteps(connection);
    if (step === undefined) return count;
    if (step.mysql !== null) await tolerant(step, () => sql.raw(step.mysql ?? '').execute(connection));
    await record(connection, dialect, step);
    onEach(step);
  }
}

/** A step that was applied but not recorded says so, each in its own way. */
async function tolerant(step: Migration, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isFailure(error, 'database_failed', 'database_outdated')) throw error;
    const number = error.fields['errno'];
    if (!(step.mysqlDone ?? doneAlready).some((done) => done === number)) throw error;
  }
}

async function applySqlite(db: SqlExecutor, dialect: SqlDialect, onEach: OnEach): Promise<number> {
  let count = 0;
  if ((await missingSteps(db)).length === 0) return 0;
  await ensureRecord(db, dialect);
  for (;;) {
    const step = await db.transaction().execute((transaction) => applyNext(transaction, dialect));
    if (step === null) return count;
    count += 1;
    onEach(step);
  }
}

async function applyNext(transaction: SqlExecutor, dialect: SqlDialect): Promise<Migration | null> {
  const [step] = await missingSteps(transaction);
  if (step === undefined) return null;
  if (step.sqlite !== null) await sql.raw(step.sqlite).execute(transaction);
  await record(transaction, dialect, step);
  return step;
}

async function ensureRecord(db: SqlExecutor, dialect: SqlDialect): Promise<void> {
  const statement =
    dialect.kind === 'mysql'
      ? `create table if not exists schema_migration (number int unsigned not null primary key,
         name varchar(100) not null, applied_at datetime(3) not null)
         engine=InnoDB default character set=utf8mb4 collate=utf8mb4_unicode_ci`
      : `create table if not exists schema_migration (number integer not null primary key,
         name text not null, applied_at text not null) strict`;
  await sql.raw(statement).execute(db);
}

/** On Galera two nodes may have made the step; the second record is the same. */
async function record(db: SqlExecutor, dialect: SqlDialect, step: Migration): Promise<void> {
  const row = { number: step.number, name: step.name, applied_at: dialect.now };
  const insert = db.insertInto('schema_migration').values(row);
  await (dialect.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
}
