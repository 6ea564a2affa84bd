/**
 * Schema migration runner: applies the missing migrations in order, also when many processes start at once.
 *
 * MySQL: one connection holds a named lock (GET_LOCK, with its answer checked). The lock is per server (on Galera per
 * node), so each step is idempotent as well: "exists already" counts as applied. SQLite: each step is one transaction
 * that takes the write lock first. Tables of a newer program, or of one before the baseline, are refused:
 * `database_outdated`.
 * Kysely's Migrator lost: its MySQL lock ignores the answer of GET_LOCK, and it cannot resume within a migration.
 */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { Failure, isFailure } from '../../../errors.ts';
import { boundedTexts, nameCharacters, textOf, wordCharacters } from '../sql/bounded-columns.ts';
import { fromDatabaseTime, type SqlExecutor, withDialect } from '../sql/tables.ts';
import { copyMarkerNumber, type Migration, migrations } from './migrations.ts';

export type MigrationStatus = { readonly number: number; readonly name: string; readonly appliedAtMs: number | null };

export type Migrations = {
  /** The steps of this program, and those of a newer one that the database has; null: not applied. */
  status(): Promise<readonly MigrationStatus[]>;
  /** Applies the missing steps; returns their number. Throws `database_outdated` on newer tables, `copy_unfinished`. */
  apply(onEach?: (migration: { readonly number: number; readonly name: string }) => void): Promise<number>;
  /** Throws `database_outdated` when steps are missing, or the tables are newer than this program. */
  check(): Promise<void>;
  /** Throws `copy_unfinished` when the tables hold half a copy of another database. */
  refuseUnfinishedCopy(): Promise<void>;
};

type OnEach = (migration: { readonly number: number; readonly name: string }) => void;

const tableExists = 1050;
/** Table, column and key that exist already. */
const existsAlready: ReadonlySet<unknown> = new Set([tableExists, 1060, 1061]);
/** Far more than there will be steps; rows beyond are of another program. */
const appliedMax = 1000;
const lockWaitS = 1;
const lockTriesMax = 900;

export function createMigrations(db: SqlExecutor): Migrations {
  return {
    status: () => status(db),
    apply: (onEach = () => undefined) =>
      db.dialect.kind === 'mysql' ? applyMysql(db, onEach) : applySqlite(db, onEach),
    check: async () => {
      const rows = await status(db);
      refuseOther(rows);
      const missing = rows.filter((row) => row.appliedAtMs === null).length;
      if (missing > 0) throw new Failure('database_outdated', `${missing} migrations are not applied.`);
    },
    refuseUnfinishedCopy: async () => refuseUnfinishedCopy(await readApplied(db)),
  };
}

async function status(db: SqlExecutor): Promise<readonly MigrationStatus[]> {
  const applied = await readApplied(db);
  const own = migrations.map(({ number, name }) => ({ number, name, appliedAtMs: null }));
  const byNumber = new Map<number, MigrationStatus>(own.map((row) => [row.number, row]));
  // A row below is the marker of a complete copy.
  for (const row of applied) if (row.number > 0) byNumber.set(row.number, row);
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

/** The applied steps; none in a new database, where the table `schema_migration` is missing. */
async function readApplied(db: SqlExecutor): Promise<readonly MigrationStatus[]> {
  try {
    const rows = await db
      .selectFrom('schema_migration')
      .select(['number', ...boundedTexts('schema_migration', { name: nameCharacters, applied_at: wordCharacters })])
      .orderBy('number')
      .limit(appliedMax)
      .execute();
    return rows.map(({ number, name, applied_at: at }) => ({
      ...{ number, name: textOf(name), appliedAtMs: fromDatabaseTime(textOf(at)) },
    }));
  } catch (error) {
    if (isFailure(error, 'database_outdated')) return [];
    throw error;
  }
}

function refuseUnfinishedCopy(rows: readonly MigrationStatus[]): void {
  if (rows.some(({ number }) => number === copyMarkerNumber))
    throw new Failure('copy_unfinished', 'This database holds an unfinished copy of another one.');
}

function refuseOther(rows: readonly MigrationStatus[]): void {
  refuseUnfinishedCopy(rows);
  const names = new Map(migrations.map(({ number, name }) => [number, name]));
  if (rows.some(({ number, name }) => names.has(number) && names.get(number) !== name))
    throw new Failure(
      'database_outdated',
      'The tables are of an earlier version, which is not upgraded: an empty database is needed.',
      {
        hint: 'Use an empty database: another [database] url, or move ticketmaild.db away with the files ticketmaild.db-*.',
      },
    );
  const newest = migrations.at(-1)?.number ?? 0;
  const newer = rows.filter((row) => row.number > newest);
  if (newer.length === 0) return;
  const message = `The tables are newer than this program: migration ${newer.at(-1)?.number}, it knows ${newest}.`;
  throw new Failure('database_outdated', message);
}

async function missingSteps(db: SqlExecutor): Promise<readonly Migration[]> {
  const applied = await readApplied(db);
  refuseOther(applied);
  const numbers = new Set(applied.map((row) => row.number));
  return migrations.filter((migration) => !numbers.has(migration.number));
}

function applyMysql(db: SqlExecutor, onEach: OnEach): Promise<number> {
  return db.connection().execute(async (single) => {
    const connection = withDialect(single, db.dialect);
    const steps = await missingSteps(connection);
    if (steps.length === 0) return 0;
    const lock = await takeLock(connection);
    try {
      return await applyMissing(connection, onEach);
    } finally {
      await releaseLock(connection, lock);
    }
  });
}

/** The server releases the lock of a broken connection. */
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
  for (let tries = 0; tries < lockTriesMax; tries += 1) {
    const result = await sql<{ got: number | null }>`select get_lock(${lock}, ${lockWaitS}) as got`.execute(connection);
    if (Number(result.rows[0]?.got) === 1) return lock;
  }
  throw new Failure('database_conflict', 'Another process has been migrating the database for too long.');
}

async function applyMissing(connection: SqlExecutor, onEach: OnEach): Promise<number> {
  await ensureMigrationTable(connection);
  for (let count = 0; ; count += 1) {
    // Read before each step: on Galera the lock does not exclude a program that migrates through another node.
    const [step] = await missingSteps(connection);
    if (step === undefined) return count;
    await applyIdempotently(connection, step);
    await record(connection, step);
    onEach(step);
  }
}

/** A step that a crash left applied but not recorded reports that its table, column or key exists. */
async function applyIdempotently(connection: SqlExecutor, { mysql, mysqlCheck }: Migration): Promise<void> {
  if (mysql === null) return;
  try {
    await sql.raw(mysql).execute(connection);
  } catch (error) {
    if (!isFailure(error, 'database_failed') || !existsAlready.has(error.fields.errno)) throw error;
    if (error.fields.errno === tableExists && mysqlCheck !== undefined)
      await assertOwnTable(connection, mysqlCheck, error);
  }
}

/** A table with other columns belongs to another program: its failure is thrown, and nothing is recorded. */
async function assertOwnTable(connection: SqlExecutor, check: string, exists: Failure): Promise<void> {
  try {
    await sql.raw(check).execute(connection);
  } catch (error) {
    throw isFailure(error, 'database_outdated') ? exists : error;
  }
}

async function applySqlite(db: SqlExecutor, onEach: OnEach): Promise<number> {
  let count = 0;
  if ((await missingSteps(db)).length === 0) return 0;
  await ensureMigrationTable(db);
  for (;;) {
    const step = await db.transaction().execute((transaction) => applyNext(withDialect(transaction, db.dialect)));
    if (step === null) return count;
    count += 1;
    onEach(step);
  }
}

async function applyNext(transaction: SqlExecutor): Promise<Migration | null> {
  const [step] = await missingSteps(transaction);
  if (step === undefined) return null;
  if (step.sqlite !== null) await sql.raw(step.sqlite).execute(transaction);
  await record(transaction, step);
  return step;
}

async function ensureMigrationTable(db: SqlExecutor): Promise<void> {
  const statement =
    db.dialect.kind === 'mysql'
      ? `create table if not exists schema_migration (number int unsigned not null primary key,
         name varchar(100) not null, applied_at datetime(3) not null)
         engine=InnoDB default character set=utf8mb4 collate=utf8mb4_unicode_ci`
      : `create table if not exists schema_migration (number integer not null primary key,
         name text not null, applied_at text not null) strict`;
  await sql.raw(statement).execute(db);
}

/** On Galera two nodes may have applied the step; the second record is the same. */
async function record(db: SqlExecutor, step: Migration): Promise<void> {
  const row = { number: step.number, name: step.name, applied_at: db.dialect.now };
  const insert = db.insertInto('schema_migration').values(row);
  await (db.dialect.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
}
