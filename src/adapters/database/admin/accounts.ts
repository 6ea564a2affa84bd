/**
 * Who may sign in to the admin page, and who is signed in.
 *
 * A change and its audit row are one transaction. The account's row is written first in each of them, so that of a
 * sign-in and a change of the password at the same moment the later one sees what the earlier one did. A time that is
 * none counts as 1970, and a session of such a time as long over. Errors are Failures.
 */
import { type Selectable, sql } from 'kysely';
import type { AdminAccount, AdminStore, StoredAdminSession } from '../../../admin/ports.ts';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { isFailure } from '../../../errors.ts';
import { addAudit } from '../rows/audit.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { isTransient } from '../sql/errors.ts';
import type { AdminAccountTable, SqlExecutor } from '../sql/tables.ts';
import { inTransaction, withRetries } from '../sql/transactions.ts';
import { fromForeignTime, toDatabaseTime } from '../sql/values.ts';

type Accounts = Pick<
  AdminStore,
  | 'accountByName'
  | 'listAccounts'
  | 'countAccounts'
  | 'addAccount'
  | 'setPasswordHash'
  | 'upgradePasswordHash'
  | 'removeAccount'
  | 'addSession'
  | 'readSession'
  | 'touchSession'
  | 'removeSession'
  | 'removeSessionsBefore'
>;

export function adminAccounts(db: SqlExecutor, dialect: SqlDialect): Accounts {
  return {
    accountByName: (name) => accountByName(db, name),
    listAccounts: async () =>
      (await db.selectFrom('admin_account').selectAll().orderBy('name_key').execute()).map(toAccount),
    countAccounts: () => countAccounts(db),
    addAccount: (account, audit) => addAccount(db, dialect, account, audit),
    setPasswordHash: (id, passwordHash, changedAtMs, audit) =>
      setPasswordHash(db, dialect, { id, passwordHash, changedAtMs }, audit),
    upgradePasswordHash: (id, before, passwordHash) => rehash(db, id, before, passwordHash),
    removeAccount: (id, audit) => removeAccount(db, dialect, id, audit),
    addSession: (tokenHash, account, atMs, audit) => addSession(db, dialect, { tokenHash, account, atMs }, audit),
    readSession: (tokenHash) => readSession(db, tokenHash),
    touchSession: (tokenHash, atMs) => touchSession(db, tokenHash, atMs),
    removeSession: async (tokenHash) => {
      await db.deleteFrom('admin_session').where('token_hash', '=', tokenHash).execute();
    },
    removeSessionsBefore: (seenAtMs, createdAtMs) => removeSessionsBefore(db, seenAtMs, createdAtMs),
  };
}

/** In lower case, composed (Unicode normal form C): what is equal here is the same name, in both dialects. */
function keyOf(name: string): string {
  return name.toWellFormed().normalize('NFC').toLowerCase();
}

function toAccount(row: Selectable<AdminAccountTable>): AdminAccount {
  return {
    id: row.id,
    name: row.name,
    passwordHash: row.password_hash,
    createdAtMs: fromForeignTime(row.created_at) ?? 0,
    passwordChangedAtMs: fromForeignTime(row.password_changed_at) ?? 0,
    lastSignInAtMs: fromForeignTime(row.last_sign_in_at),
  };
}

async function accountByName(db: SqlExecutor, name: string): Promise<AdminAccount | null> {
  const row = await db.selectFrom('admin_account').selectAll().where('name_key', '=', keyOf(name)).executeTakeFirst();
  return row === undefined ? null : toAccount(row);
}

async function countAccounts(db: SqlExecutor): Promise<number> {
  const row = await db
    .selectFrom('admin_account')
    .select((account) => account.fn.countAll<number>().as('count'))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

/** Throws `already_exists`. */
async function addAccount(
  db: SqlExecutor,
  dialect: SqlDialect,
  account: Omit<AdminAccount, 'lastSignInAtMs'>,
  audit: AuditEntry,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await transaction
      .insertInto('admin_account')
      .values({
        id: account.id,
        name: account.name.toWellFormed(),
        name_key: keyOf(account.name),
        password_hash: account.passwordHash,
        created_at: toDatabaseTime(account.createdAtMs),
        password_changed_at: toDatabaseTime(account.passwordChangedAtMs),
        last_sign_in_at: null,
      })
      .execute();
    await addAudit(transaction, dialect, [audit]);
  });
}

async function setPasswordHash(
  db: SqlExecutor,
  dialect: SqlDialect,
  change: { readonly id: string; readonly passwordHash: string; readonly changedAtMs: number },
  audit: AuditEntry,
): Promise<boolean> {
  return inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('admin_account')
      .set({ password_hash: change.passwordHash, password_changed_at: toDatabaseTime(change.changedAtMs) })
      .where('id', '=', change.id)
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) return false;
    await transaction.deleteFrom('admin_session').where('account_id', '=', change.id).execute();
    await addAudit(transaction, dialect, [audit]);
    return true;
  });
}

async function rehash(db: SqlExecutor, id: string, before: string, passwordHash: string): Promise<void> {
  await db
    .updateTable('admin_account')
    .set({ password_hash: passwordHash })
    .where('id', '=', id)
    .where('password_hash', '=', before)
    .execute();
}

async function removeAccount(db: SqlExecutor, dialect: SqlDialect, id: string, audit: AuditEntry): Promise<boolean> {
  return inTransaction(db, async (transaction) => {
    const result = await transaction.deleteFrom('admin_account').where('id', '=', id).executeTakeFirst();
    if (result.numDeletedRows !== 1n) return false;
    await transaction.deleteFrom('admin_session').where('account_id', '=', id).execute();
    await addAudit(transaction, dialect, [audit]);
    return true;
  });
}

type NewSession = {
  readonly tokenHash: string;
  readonly account: Pick<AdminAccount, 'id' | 'passwordChangedAtMs'>;
  readonly atMs: number;
};

async function addSession(
  db: SqlExecutor,
  dialect: SqlDialect,
  { tokenHash, account, atMs }: NewSession,
  audit: AuditEntry,
): Promise<boolean> {
  const at = toDatabaseTime(atMs);
  return inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('admin_account')
      .set({ last_sign_in_at: at })
      .where('id', '=', account.id)
      .where('password_changed_at', '=', toDatabaseTime(account.passwordChangedAtMs))
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) return false;
    await transaction
      .insertInto('admin_session')
      .values({ token_hash: tokenHash, account_id: account.id, created_at: at, seen_at: at })
      .execute();
    await addAudit(transaction, dialect, [audit]);
    return true;
  });
}

/** One without its account is none. */
async function readSession(db: SqlExecutor, tokenHash: string): Promise<StoredAdminSession | null> {
  const row = await db
    .selectFrom('admin_session')
    .innerJoin('admin_account', 'admin_account.id', 'admin_session.account_id')
    .selectAll('admin_account')
    .select(['admin_session.created_at as begun_at', 'admin_session.seen_at'])
    .where('admin_session.token_hash', '=', tokenHash)
    .executeTakeFirst();
  if (row === undefined) return null;
  return {
    account: toAccount(row),
    createdAtMs: fromForeignTime(row.begun_at) ?? 0,
    seenAtMs: fromForeignTime(row.seen_at) ?? 0,
  };
}

/** Never back: of two pages at once the later one counts. */
async function touchSession(db: SqlExecutor, tokenHash: string, atMs: number): Promise<void> {
  const at = toDatabaseTime(atMs);
  await db
    .updateTable('admin_session')
    .set({ seen_at: at })
    .where('token_hash', '=', tokenHash)
    .where('seen_at', '<', at)
    .execute();
}

async function removeSessionsBefore(db: SqlExecutor, seenAtMs: number, createdAtMs: number): Promise<void> {
  await db
    .deleteFrom('admin_session')
    .where((where) =>
      where.or([
        where('seen_at', '<', toDatabaseTime(seenAtMs)),
        where('created_at', '<', toDatabaseTime(createdAtMs)),
      ]),
    )
    .execute();
}

/**
 * Sign-ins that were tried: a count for each bucket (an address, a name) that begins anew when its window has ended.
 *
 * The database's clock decides, and one statement counts, so that none of many at once is missed. A window that ends
 * later than any that begins now was written under another clock and is over. Old buckets go, a chunk at a time,
 * whenever a window begins.
 */

type Attempts = Pick<AdminStore, 'countAttempt' | 'uncountAttempt' | 'clearAttempts' | 'clearAllAttempts'>;
type Attempt = Awaited<ReturnType<AdminStore['countAttempt']>>;

/** So far the clocks of two nodes of one database may be apart. */
const aheadMsMax = 60_000;
/** More than one begins at a time, so that the table shrinks. */
const purgedAtOnce = 100;

export function adminAttempts(db: SqlExecutor, dialect: SqlDialect): Attempts {
  return {
    countAttempt: (bucket, windowMs) => countAttempt(db, dialect, bucket, windowMs),
    uncountAttempt: (bucket) => uncountAttempt(db, bucket),
    clearAttempts: async (bucket) => {
      await db.deleteFrom('admin_attempt').where('bucket', '=', bucket).execute();
    },
    clearAllAttempts: (audit) => clearAll(db, dialect, audit),
  };
}

async function countAttempt(db: SqlExecutor, dialect: SqlDialect, bucket: string, windowMs: number): Promise<Attempt> {
  const attempt = await inTransaction(db, async (transaction) => {
    await addAttempt(transaction, dialect, bucket, windowMs);
    return readAttempt(transaction, dialect, bucket, windowMs);
  });
  if (attempt.count === 1) await purgeExpired(db, dialect);
  return attempt;
}

/** The count comes first: MySQL sets the columns one after the other, and it asks for the end that was there before. */
async function addAttempt(db: SqlExecutor, dialect: SqlDialect, bucket: string, windowMs: number): Promise<void> {
  const until = sql.ref<string>('admin_attempt.window_until');
  const isOver = sql`${until} <= ${dialect.now} or ${until} > ${dialect.nowPlus(windowMs + aheadMsMax)}`;
  const next = {
    count: sql<number>`case when ${isOver} then 1 else ${sql.ref('admin_attempt.count')} + 1 end`,
    window_until: sql<string>`case when ${isOver} then ${dialect.nowPlus(windowMs)} else ${until} end`,
  };
  const insert = db.insertInto('admin_attempt').values({ bucket, count: 1, window_until: dialect.nowPlus(windowMs) });
  const upsert =
    dialect.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(next)
      : insert.onConflict((conflict) => conflict.column('bucket').doUpdateSet(next));
  await upsert.execute();
}

/** The row is ours until the commit. */
async function readAttempt(db: SqlExecutor, dialect: SqlDialect, bucket: string, windowMs: number): Promise<Attempt> {
  const row = await db
    .selectFrom('admin_attempt')
    .select(['count', 'window_until', dialect.now.as('now')])
    .where('bucket', '=', bucket)
    .executeTakeFirst();
  const [untilMs, nowMs] = [fromForeignTime(row?.window_until ?? null), fromForeignTime(row?.now ?? null)];
  const endsInMs = untilMs === null || nowMs === null ? windowMs : Math.max(0, untilMs - nowMs);
  return { count: row?.count ?? 1, endsInMs };
}

/** Of a window that is over by now it makes no difference. */
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

async function clearAll(db: SqlExecutor, dialect: SqlDialect, audit: AuditEntry): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await transaction.deleteFrom('admin_attempt').execute();
    await addAudit(transaction, dialect, [audit]);
  });
}

async function purgeExpired(db: SqlExecutor, dialect: SqlDialect): Promise<void> {
  const rows = await db
    .selectFrom('admin_attempt')
    .select('bucket')
    .where('window_until', '<=', dialect.now)
    .orderBy('window_until')
    .limit(purgedAtOnce)
    .execute();
  if (rows.length === 0) return;
  const buckets = rows.map((row) => row.bucket);
  try {
    await db
      .deleteFrom('admin_attempt')
      .where('bucket', 'in', buckets)
      .where('window_until', '<=', dialect.now)
      .execute();
  } catch (error) {
    // They are as good a moment later, when the next window begins.
    if (!isFailure(error, 'database_conflict')) throw error;
  }
}
