/**
 * Admin accounts and their sessions.
 *
 * A change and its audit row are one transaction, which writes the account row first: of a concurrent sign-in and
 * password change the later one sees the earlier. An invalid time counts as 1970, so such a session has expired. Errors
 * are Failures.
 */
import { sql } from 'kysely';
import type { AdminAccount, AdminStore, StoredAdminSession } from '../../../admin/ports.ts';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { addAudit } from '../rows/audit.ts';
import { boundedTexts, nameCharacters, textOf, textOrNull, wordCharacters } from '../sql/bounded-columns.ts';
import { bindDatabase, inTransaction } from '../sql/statements.ts';
import { fromForeignTime, type SqlExecutor, toDatabaseTime } from '../sql/tables.ts';

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

export function adminAccounts(db: SqlExecutor): Accounts {
  return bindDatabase(db, {
    accountByName,
    listAccounts,
    countAccounts,
    addAccount,
    setPasswordHash,
    upgradePasswordHash,
    removeAccount,
    addSession,
    readSession,
    touchSession,
    removeSession,
    removeSessionsBefore,
  });
}

/** Lower case, Unicode normal form C: equal keys are the same name in both dialects. */
function keyOf(name: string): string {
  return name.toWellFormed().normalize('NFC').toLowerCase();
}

const textColumns = {
  ...{ id: wordCharacters, name: nameCharacters, password_hash: nameCharacters },
  ...{ created_at: wordCharacters, password_changed_at: wordCharacters, last_sign_in_at: wordCharacters },
};
const accountColumns = boundedTexts('admin_account', textColumns);
/** A bound against rows of other programs. */
const listedMax = 1000;

function toAccount(row: { readonly [K in keyof typeof textColumns]: string | null }): AdminAccount {
  return {
    id: textOf(row.id),
    name: textOf(row.name),
    passwordHash: textOf(row.password_hash),
    createdAtMs: timeOf(row.created_at) ?? 0,
    passwordChangedAtMs: timeOf(row.password_changed_at) ?? 0,
    lastSignInAtMs: timeOf(row.last_sign_in_at),
  };
}

function timeOf(value: unknown): number | null {
  return fromForeignTime(textOrNull(value));
}

async function accountByName(db: SqlExecutor, name: string): Promise<AdminAccount | null> {
  const row = await db
    .selectFrom('admin_account')
    .select(accountColumns)
    .where('name_key', '=', keyOf(name))
    .executeTakeFirst();
  return row === undefined ? null : toAccount(row);
}

async function listAccounts(db: SqlExecutor): Promise<readonly AdminAccount[]> {
  const rows = await db
    .selectFrom('admin_account')
    .select(accountColumns)
    .orderBy('name_key')
    .limit(listedMax)
    .execute();
  return rows.map(toAccount);
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
    await addAudit(transaction, [audit]);
  });
}

async function setPasswordHash(
  db: SqlExecutor,
  id: string,
  passwordHash: string,
  changedAtMs: number,
  audit: AuditEntry,
): Promise<boolean> {
  return inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('admin_account')
      .set({ password_hash: passwordHash, password_changed_at: toDatabaseTime(changedAtMs) })
      .where('id', '=', id)
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) return false;
    await transaction.deleteFrom('admin_session').where('account_id', '=', id).execute();
    await addAudit(transaction, [audit]);
    return true;
  });
}

async function upgradePasswordHash(db: SqlExecutor, id: string, before: string, passwordHash: string): Promise<void> {
  await db
    .updateTable('admin_account')
    .set({ password_hash: passwordHash })
    .where('id', '=', id)
    .where('password_hash', '=', before)
    .execute();
}

async function removeAccount(db: SqlExecutor, id: string, audit: AuditEntry): Promise<boolean> {
  return inTransaction(db, async (transaction) => {
    const result = await transaction.deleteFrom('admin_account').where('id', '=', id).executeTakeFirst();
    if (result.numDeletedRows !== 1n) return false;
    await transaction.deleteFrom('admin_session').where('account_id', '=', id).execute();
    await addAudit(transaction, [audit]);
    return true;
  });
}

async function addSession(
  db: SqlExecutor,
  tokenHash: string,
  account: Pick<AdminAccount, 'id' | 'passwordChangedAtMs'>,
  atMs: number,
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
    await addAudit(transaction, [audit]);
    return true;
  });
}

/** null also for a session whose account is gone. */
async function readSession(db: SqlExecutor, tokenHash: string): Promise<StoredAdminSession | null> {
  const row = await db
    .selectFrom('admin_session')
    .innerJoin('admin_account', 'admin_account.id', 'admin_session.account_id')
    .select(accountColumns)
    .select([
      sql<string | null>`substr(admin_session.created_at, 1, ${sql.lit(wordCharacters)})`.as('begun_at'),
      sql<string | null>`substr(admin_session.seen_at, 1, ${sql.lit(wordCharacters)})`.as('seen_at'),
    ])
    .where('admin_session.token_hash', '=', tokenHash)
    .executeTakeFirst();
  if (row === undefined) return null;
  return {
    account: toAccount(row),
    createdAtMs: timeOf(row.begun_at) ?? 0,
    seenAtMs: timeOf(row.seen_at) ?? 0,
  };
}

/** Never sets the time back: of two parallel requests the later one counts. */
async function touchSession(db: SqlExecutor, tokenHash: string, atMs: number): Promise<void> {
  const at = toDatabaseTime(atMs);
  await db
    .updateTable('admin_session')
    .set({ seen_at: at })
    .where('token_hash', '=', tokenHash)
    .where('seen_at', '<', at)
    .execute();
}

async function removeSession(db: SqlExecutor, tokenHash: string): Promise<void> {
  await db.deleteFrom('admin_session').where('token_hash', '=', tokenHash).execute();
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
