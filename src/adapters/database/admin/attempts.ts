/**
 * Rate-limit counters of sign-in attempts: fixed windows per bucket (an address or a name).
 *
 * The clock of the database decides, and one upsert counts, so no parallel attempt is missed. A window that ends later
 * than a new one would was written under another clock, and counts as ended. Expired buckets are deleted in chunks when
 * a window starts.
 */
import { sql } from 'kysely';
import type { AdminStore } from '../../../admin/ports.ts';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { isFailure } from '../../../errors.ts';
import { addAudit } from '../rows/audit.ts';
import { clockSkewMsMax } from '../rows/workers.ts';
import { isTransient } from '../sql/errors.ts';
import { bindDatabase, inTransaction, withRetries } from '../sql/statements.ts';
import { fromForeignTime, type SqlExecutor } from '../sql/tables.ts';

type Attempts = Pick<AdminStore, 'countAttempt' | 'uncountAttempt' | 'clearAttempts' | 'clearAllAttempts'>;
type Attempt = Awaited<ReturnType<AdminStore['countAttempt']>>;

/** More than one per new window, so that the table shrinks. */
const purgedAtOnce = 100;

export function adminAttempts(db: SqlExecutor): Attempts {
  return bindDatabase(db, { countAttempt, uncountAttempt, clearAttempts, clearAllAttempts });
}

async function countAttempt(db: SqlExecutor, bucket: string, windowMs: number): Promise<Attempt> {
  const attempt = await inTransaction(db, async (transaction) => {
    await addAttempt(transaction, bucket, windowMs);
    return readAttempt(transaction, bucket, windowMs);
  });
  if (attempt.count === 1) await purgeExpired(db);
  return attempt;
}

/** `count` first: MySQL assigns columns in order, and it depends on the previous end of the window. */
async function addAttempt(db: SqlExecutor, bucket: string, windowMs: number): Promise<void> {
  const until = sql.ref<string>('admin_attempt.window_until');
  const isOver = sql`${until} <= ${db.dialect.now} or ${until} > ${db.dialect.nowPlus(windowMs + clockSkewMsMax)}`;
  const next = {
    count: sql<number>`case when ${isOver} then 1 else ${sql.ref('admin_attempt.count')} + 1 end`,
    window_until: sql<string>`case when ${isOver} then ${db.dialect.nowPlus(windowMs)} else ${until} end`,
  };
  const insert = db
    .insertInto('admin_attempt')
    .values({ bucket, count: 1, window_until: db.dialect.nowPlus(windowMs) });
  const upsert =
    db.dialect.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(next)
      : insert.onConflict((conflict) => conflict.column('bucket').doUpdateSet(next));
  await upsert.execute();
}

/** The transaction locks the row until it commits. */
async function readAttempt(db: SqlExecutor, bucket: string, windowMs: number): Promise<Attempt> {
  const row = await db
    .selectFrom('admin_attempt')
    .select(['count', 'window_until', db.dialect.now.as('now')])
    .where('bucket', '=', bucket)
    .executeTakeFirst();
  const [untilMs, nowMs] = [fromForeignTime(row?.window_until ?? null), fromForeignTime(row?.now ?? null)];
  const endsInMs = untilMs === null || nowMs === null ? windowMs : Math.max(0, untilMs - nowMs);
  return { count: row?.count ?? 1, endsInMs };
}

/** Without effect on a window that has ended. */
async function uncountAttempt(db: SqlExecutor, bucket: string): Promise<void> {
  await withRetries(async () => {
    await db
      .updateTable('admin_attempt')
      .set((row) => ({ count: row('count', '-', 1) }))
      .where('bucket', '=', bucket)
      .where('count', '>', 0)
      .execute();
  }, isTransient);
}

async function clearAttempts(db: SqlExecutor, bucket: string): Promise<void> {
  await db.deleteFrom('admin_attempt').where('bucket', '=', bucket).execute();
}

async function clearAllAttempts(db: SqlExecutor, audit: AuditEntry): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await transaction.deleteFrom('admin_attempt').execute();
    await addAudit(transaction, [audit]);
  });
}

async function purgeExpired(db: SqlExecutor): Promise<void> {
  const rows = await db
    .selectFrom('admin_attempt')
    .select('bucket')
    .where('window_until', '<=', db.dialect.now)
    .orderBy('window_until')
    .limit(purgedAtOnce)
    .execute();
  if (rows.length === 0) return;
  const buckets = rows.map((row) => row.bucket);
  try {
    await db
      .deleteFrom('admin_attempt')
      .where('bucket', 'in', buckets)
      .where('window_until', '<=', db.dialect.now)
      .execute();
  } catch (error) {
    // They are as good a moment later, when the next window begins.
    if (!isFailure(error, 'database_conflict')) throw error;
  }
}
