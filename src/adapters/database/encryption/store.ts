/**
 * Encryption store: counts of sealed and plain passwords, table rebuild, and truncation of SQLite's write-ahead log.
 *
 * Implements EncryptionStore of the ports together with switch-row.ts and password-batch.ts. A mailbox in removal
 * counts nowhere: it has no password any more. Errors are Failures.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import type {
  AuditReader,
  EncryptionStore,
  PasswordBatchResult,
  PlaintextPeriod,
  SealCounts,
} from '../../../encryption/ports.ts';
import type { DatabaseServer } from '../../../encryption/remnants.ts';
import { Failure } from '../../../errors.ts';
import type { ReadableSecrets, ReadableSecretsReader } from '../../../ingest/ports.ts';
import { addAudit, lastAudit, lastSwitchAudit, readAudit } from '../rows/audit.ts';
import { isSealableToken } from '../rows/grants.ts';
import { holdsPassword, isSealable, lacksOpenKey, mailboxColumn } from '../rows/mailbox-columns.ts';
import { listWorkers, removeWorker, reportWorker } from '../rows/workers.ts';
import { bindDatabase } from '../sql/statements.ts';
import { fromForeignTime, type SqlExecutor } from '../sql/tables.ts';
import { rewritePasswords } from './password-batch.ts';
import { readReplyKeys, writeReplyKeys } from './reply-keys.ts';
import { readSettings, rewriteSettingsSeals } from './settings-seals.ts';
import { claimOperation, endOperation, operationOwner, readSwitch, renewOperation, writeSwitch } from './switch-row.ts';
import { dropAccessTokens, replaceSwitchKey, rewriteTokens, tokenCounts } from './token-batch.ts';

const truncateTriesMax = 100;
const truncateRetryMs = 50;

export function encryptionStore(db: SqlExecutor): EncryptionStore & AuditReader & ReadableSecretsReader {
  const rewrite = db.dialect.kind === 'mysql' ? onServer(db) : inFile(db);
  return {
    rewritePasswords: rewrite(rewritePasswords),
    rewriteTokens: rewrite(rewriteTokens),
    rebuildMailboxTable: () => (db.dialect.kind === 'mysql' ? rebuildTables(db) : rebuildFile(db)),
    ...bindDatabase(db, {
      readSwitch,
      writeSwitch,
      readSettings,
      rewriteSettingsSeals,
      readReplyKeys,
      writeReplyKeys,
      claimOperation,
      operationOwner,
      renewOperation,
      endOperation,
      databaseServer,
      passwordCounts,
      readableSecrets,
      lastAudit,
      lastSwitchAudit,
      tokenCounts,
      dropAccessTokens,
      replaceSwitchKey,
      plaintextPeriods,
      countMailboxesWithoutKey,
      audit: addAudit,
      readAudit,
      reportWorker,
      removeWorker,
      listWorkers,
    }),
  };
}

const serverVariables = [
  'version',
  'innodb_immediate_scrub_data_uncompressed',
  'log_bin',
  'innodb_redo_log_capacity',
  'innodb_log_file_size',
  'innodb_max_dirty_pages_pct',
  'innodb_max_dirty_pages_pct_lwm',
] as const;

async function databaseServer(db: SqlExecutor): Promise<DatabaseServer | null> {
  if (db.dialect.kind !== 'mysql') return null;
  const names = sql.join(serverVariables.map((name) => sql.lit(name)));
  const { rows } = await sql<{ Variable_name: string; Value: string }>`
    show global variables where variable_name in (${names})`.execute(db);
  const values = new Map(rows.map((row) => [row.Variable_name, row.Value]));
  const value = (name: (typeof serverVariables)[number]): string => values.get(name) ?? '0';
  const isMariadb = /mariadb/i.test(value('version'));
  return {
    product: isMariadb ? 'mariadb' : 'mysql',
    isUndoScrubbed: value('innodb_immediate_scrub_data_uncompressed') === 'ON',
    hasBinaryLog: value('log_bin') === 'ON',
    redoLogBytes: Number(value(isMariadb ? 'innodb_log_file_size' : 'innodb_redo_log_capacity')),
    dirtyPagesPct: value('innodb_max_dirty_pages_pct'),
    dirtyPagesPctLwm: value('innodb_max_dirty_pages_pct_lwm'),
  };
}

type Rewrite<B, C> = (db: SqlExecutor, batch: B, change: C) => Promise<PasswordBatchResult>;
type BoundRewrite = <B, C>(rewrite: Rewrite<B, C>) => (batch: B, change: C) => Promise<PasswordBatchResult>;

function onServer(db: SqlExecutor): BoundRewrite {
  return (rewrite) => (batch, change) => rewrite(db, batch, change);
}

/**
 * Plain text must not remain in the write-ahead log, so each batch truncates it; while a reader uses the log, the next
 * batch tries again. What another program without secure_delete left in free pages is removed by `rebuildMailboxTable`.
 */
function inFile(db: SqlExecutor): BoundRewrite {
  let isTruncated = true;
  return (rewrite) => async (batch, change) => {
    const result = await rewrite(db, batch, change);
    if (result.changed > 0) isTruncated = false;
    if (!isTruncated) isTruncated = await truncateWal(db);
    return result;
  };
}

async function passwordCounts(db: SqlExecutor): Promise<SealCounts> {
  const rows = await db
    .selectFrom('mailboxes')
    .select((mailbox) => ['password_form', 'password_key_id', mailbox.fn.countAll<number>().as('count')])
    .where('state', '<>', 'removing')
    .where(holdsPassword(db.dialect))
    .groupBy(['password_form', 'password_key_id'])
    .orderBy('password_key_id')
    .execute();
  const of = (form: string) => rows.filter((row) => row.password_form === form);
  const total = (form: string) => of(form).reduce((sum, row) => sum + Number(row.count), 0);
  const byKey = of('sealed').map((row) => ({ keyId: row.password_key_id, count: Number(row.count) }));
  return { sealed: total('sealed'), plaintext: total('plain'), byKey };
}

async function readableSecrets(db: SqlExecutor): Promise<ReadableSecrets> {
  const found = await sql<Record<keyof ReadableSecrets, number>>`
    select (
      select count(*) from mailboxes where password_form = 'plain' and state <> 'removing' and ${isSealable(db.dialect)}
    ) as passwords, (
      select count(*) from oauth_grant where ${isSealableToken('refresh')}
    ) as ${sql.ref('refreshTokens')}`.execute(db);
  const [row] = found.rows;
  return { passwords: Number(row?.passwords ?? 0), refreshTokens: Number(row?.refreshTokens ?? 0) };
}

/** A row of another program counts as plain text since its creation. */
async function plaintextPeriods(db: SqlExecutor): Promise<readonly PlaintextPeriod[]> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([mailboxColumn('name'), mailboxColumn('password_form'), mailboxColumn('created_at')])
    .select([mailboxColumn('plaintext_since'), mailboxColumn('plaintext_until')])
    .where('state', '<>', 'removing')
    .where((where) => where.or([where('plaintext_since', 'is not', null), where('password_form', '=', 'plain')]))
    .where(holdsPassword(db.dialect))
    .orderBy('mailboxes.name')
    .execute();
  return rows.map((row) => {
    const sinceMs = fromForeignTime(row.plaintext_since ?? row.created_at) ?? 0;
    const untilMs = row.password_form === 'plain' ? null : (fromForeignTime(row.plaintext_until) ?? sinceMs);
    return { mailbox: row.name, sinceMs, untilMs };
  });
}

async function countMailboxesWithoutKey(db: SqlExecutor, keyIds: readonly string[]): Promise<number> {
  const row = await db
    .selectFrom('mailboxes')
    .select((mailbox) => mailbox.fn.countAll<number>().as('count'))
    .where('state', '=', 'active')
    .where((where) => lacksOpenKey(where, keyIds))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

async function rebuildTables(db: SqlExecutor): Promise<void> {
  for (const table of ['mailboxes', 'oauth_grant', 'oauth_access'])
    await sql`alter table ${sql.table(table)} engine=InnoDB`.execute(db);
}

/** VACUUM, then the write-ahead log is truncated as soon as no reader uses it. */
async function rebuildFile(db: SqlExecutor): Promise<void> {
  await sql`vacuum`.execute(db);
  for (let attempt = 1; attempt <= truncateTriesMax; attempt += 1) {
    if (await truncateWal(db)) return;
    await sleep(truncateRetryMs);
  }
  const message = 'The write-ahead log could not be truncated: another process keeps reading the database file.';
  throw new Failure('database_conflict', message);
}

/** Checkpoints and truncates the write-ahead log; false while a reader uses it. */
async function truncateWal(db: SqlExecutor): Promise<boolean> {
  const checkpoint = await sql<{ busy: number }>`pragma wal_checkpoint(truncate)`.execute(db);
  return checkpoint.rows[0]?.busy === 0;
}
