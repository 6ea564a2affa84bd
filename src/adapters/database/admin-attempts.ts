/**
 * Sign-ins that were tried: a count for each bucket (an address, a name) that begins anew when its window has ended.
 *
 * The database's clock decides, and one statement counts, so that none of many at once is missed. A window that ends
 * later than any that begins now was written under another clock and is over. Old buckets go, a portion at a time,
 * whenever a window begins.
 */
import { sql } from 'kysely';
import type { AdminStore } from '../../admin/ports.ts';
import type { AuditEntry } from '../../encryption/ports.ts';
import { isFailure } from '../../errors.ts';
import { addAudit } from './audit-rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { isTransient } from './failures.ts';
import type { Connected } from './tables.ts';
import { fromForeignTime } from './times.ts';
import { inTransaction, tryAgain } from './transactions.ts';

type Attempts = Pick<AdminStore, 'countAttempt' | 'returnAttempt' | 'forgetAttempts' | 'forgetAllAttempts'>;
type Attempt = Awaited<ReturnType<AdminStore['countAttempt']>>;

/** So far the clocks of two nodes of one database may be apart. */
const aheadMsMax = 60_000;
/** More than one begins at a time, so that the table shrinks. */
const forgottenAtOnce = 100;

export function adminAttempts(db: Connected, words: DialectWords): Attempts {
  return {
    countAttempt: (bucket, windowMs) => countAttempt(db, words, bucket, windowMs),
    returnAttempt: (bucket) => returnAttempt(db, bucket),
    forgetAttempts: async (bucket) => {
      await db.deleteFrom('admin_attempt').where('bucket', '=', bucket).execute();
    },
    forgetAllAttempts: (audit) => forgetAll(db, words, audit),
  };
}

async function countAttempt(db: Connected, words: DialectWords, bucket: string, windowMs: number): Promise<Attempt> {
  const attempt = await inTransaction(db, async (transaction) => {
    await addAttempt(transaction, words, bucket, windowMs);
    return readAttempt(transaction, words, bucket, windowMs);
  });
  if (attempt.count === 1) await forgetOld(db, words);
  return attempt;
}

/** The count comes first: MySQL sets the columns one after the other, and it asks for the end that was there before. */
async function addAttempt(db: Connected, words: DialectWords, bucket: string, windowMs: number): Promise<void> {
  const until = sql.ref<string>('admin_attempt.window_until');
  const isOver = sql`${until} <= ${words.now} or ${until} > ${words.nowPlus(windowMs + aheadMsMax)}`;
  const next = {
    count: sql<number>`case when ${isOver} then 1 else ${sql.ref('admin_attempt.count')} + 1 end`,
    window_until: sql<string>`case when ${isOver} then ${words.nowPlus(windowMs)} else ${until} end`,
  };
  const insert = db.insertInto('admin_attempt').values({ bucket, count: 1, window_until: words.nowPlus(windowMs) });
  const upsert =
    words.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(next)
      : insert.onConflict((conflict) => conflict.column('bucket').doUpdateSet(next));
  await upsert.execute();
}

/** The row is ours until the commit. */
async function readAttempt(db: Connected, words: DialectWords, bucket: string, windowMs: number): Promise<Attempt> {
  const row = await db
    .selectFrom('admin_attempt')
    .select(['count', 'window_until', words.now.as('now')])
    .where('bucket', '=', bucket)
    .executeTakeFirst();
  const [untilMs, nowMs] = [fromForeignTime(row?.window_until ?? null), fromForeignTime(row?.now ?? null)];
  const endsInMs = untilMs === null || nowMs === null ? windowMs : Math.max(0, untilMs - nowMs);
  return { count: row?.count ?? 1, endsInMs };
}

/** Of a window that is over by now it makes no difference. */
async function returnAttempt(db: Connected, bucket: string): Promise<void> {
  await tryAgain(async () => {
    await db
      .updateTable('admin_attempt')
      .set((row) => ({ count: row('count', '-', 1) }))
      .where('bucket', '=', bucket)
      .where('count', '>', 0)
      .execute();
  }, isTransient);
}

async function forgetAll(db: Connected, words: DialectWords, audit: AuditEntry): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await transaction.deleteFrom('admin_attempt').execute();
    await addAudit(transaction, words, [audit]);
  });
}

async function forgetOld(db: Connected, words: DialectWords): Promise<void> {
  const rows = await db
    .selectFrom('admin_attempt')
    .select('bucket')
    .where('window_until', '<=', words.now)
    .orderBy('window_until')
    .limit(forgottenAtOnce)
    .execute();
  if (rows.length === 0) return;
  const buckets = rows.map((row) => row.bucket);
  try {
    await db
      .deleteFrom('admin_attempt')
      .where('bucket', 'in', buckets)
      .where('window_until', '<=', words.now)
      .execute();
  } catch (error) {
    // They are as good a moment later, when the next window begins.
    if (!isFailure(error, 'database_conflict')) throw error;
  }
}
