/**
 * Who may sign in to the admin page, and who is signed in.
 *
 * A change and its audit row are one transaction. The account's row is written first in each of them, so that of a
 * sign-in and a change of the password at the same moment the later one sees what the earlier one did. A time that is
 * none counts as 1970, and a session of such a time as long over. Errors are Failures.
 */

import { type Selectable, sql } from 'kysely';
import type { Account, AdminStore, StoredSession } from '../../../admin/ports.ts';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { isFailure } from '../../../errors.ts';
import { addAudit } from '../rows/audit.ts';
import { type DialectWords, fromForeignTime, toDatabaseTime } from '../sql/dialect.ts';
import { isTransient } from '../sql/errors.ts';
import type { AdminAccountTable, Connected } from '../sql/tables.ts';
import { inTransaction, tryAgain } from '../sql/transactions.ts';

type Accounts = Pick<
  AdminStore,
  | 'accountByName'
  | 'listAccounts'
  | 'countAccounts'
  | 'addAccount'
  | 'setPasswordHash'
  | 'rehash'
  | 'removeAccount'
  | 'addSession'
  | 'readSession'
  | 'touchSession'
  | 'removeSession'
  | 'removeSessionsBefore'
>;

export function adminAccounts(db: Connected, words: DialectWords): Accounts {
  return {
    accountByName: (name) => accountByName(db, name),
    listAccounts: async () =>
      (await db.selectFrom('admin_account').selectAll().orderBy('name_key').execute()).map(toAccount),
    countAccounts: () => countAccounts(db),
    addAccount: (account, audit) => addAccount(db, words, account, audit),
    setPasswordHash: (id, passwordHash, changedAtMs, audit) =>
      setPasswordHash(db, words, { id, passwordHash, changedAtMs }, audit),
    rehash: (id, before, passwordHash) => rehash(db, id, before, passwordHash),
    removeAccount: (id, audit) => removeAccount(db, words, id, audit),
    addSession: (tokenHash, account, atMs, audit) => addSession(db, words, { tokenHash, account, atMs }, audit),
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

function toAccount(row: Selectable<AdminAccountTable>): Account {
  return {
    id: row.id,
    name: row.name,
    passwordHash: row.password_hash,
    createdAtMs: fromForeignTime(row.created_at) ?? 0,
    passwordChangedAtMs: fromForeignTime(row.password_changed_at) ?? 0,
    lastSignInAtMs: fromForeignTime(row.last_sign_in_at),
  };
}

async function accountByName(db: Connected, name: string): Promise<Account | null> {
  const row = await db.selectFrom('admin_account').selectAll().where('name_key', '=', keyOf(name)).executeTakeFirst();
  return row === undefined ? null : toAccount(row);
}

async function countAccounts(db: Connected): Promise<number> {
  const row = await db
    .selectFrom('admin_account')
    .select((account) => account.fn.countAll<number>().as('count'))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

/** Throws `exists_already`. */
async function addAccount(
  db: Connected,
  words: DialectWords,
  account: Omit<Account, 'lastSignInAtMs'>,
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
    await addAudit(transaction, words, [audit]);
  });
}

async function setPasswordHash(
  db: Connected,
  words: DialectWords,
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
    await addAudit(transaction, words, [audit]);
    return true;
  });
}

async function rehash(db: Connected, id: string, before: string, passwordHash: string): Promise<void> {
  await db
    .updateTable('admin_account')
    .set({ password_hash: passwordHash })
    .where('id', '=', id)
    .where('password_hash', '=', before)
    .execute();
}

async function removeAccount(db: Connected, words: DialectWords, id: string, audit: AuditEntry): Promise<boolean> {
  return inTransaction(db, async (transaction) => {
    const result = await transaction.deleteFrom('admin_account').where('id', '=', id).executeTakeFirst();
    if (result.numDeletedRows !== 1n) return false;
    await transaction.deleteFrom('admin_session').where('account_id', '=', id).execute();
    await addAudit(transaction, words, [audit]);
    return true;
  });
}

type NewSession = {
  readonly tokenHash: string;
  readonly account: Pick<Account, 'id' | 'passwordChangedAtMs'>;
  readonly atMs: number;
};

async function addSession(
  db: Connected,
  words: DialectWords,
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
    await addAudit(transaction, words, [audit]);
    return true;
  });
}

/** One without its account is none. */
async function readSession(db: Connected, tokenHash: string): Promise<StoredSession | null> {
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
async function touchSession(db: Connected, tokenHash: string, atMs: number): Promise<void> {
  const at = toDatabaseTime(atMs);
  await db
    .updateTable('admin_session')
    .set({ seen_at: at })
    .where('token_hash', '=', tokenHash)
    .where('seen_at', '<', at)
    .execute();
}

async function removeSessionsBefore(db: Connected, seenAtMs: number, createdAtMs: number): Promise<void> {
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
 * later than any that begins now was written under another clock and is over. Old buckets go, a portion at a time,
 * whenever a window begins.
 */

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
