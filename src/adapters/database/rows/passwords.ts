/**
 * Password columns of `mailboxes`, read and written as bytes, never as text.
 *
 * A password is read into a buffer of its own, which the caller wipes. On SQLite another program may have stored a text
 * of any size: it is read up to one byte beyond the limit. The columns `plaintext_since` and `plaintext_until` record
 * when the password was stored in plain text.
 */
import { type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { NewPassword, StoredPassword } from '../../../ingest/model.ts';
import { passwordBytesMax } from '../../../secret/sealed-password.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor, Tables } from '../sql/tables.ts';
import { connectionColumns, mailboxColumn } from './mailbox-columns.ts';
import { passwordForm, rowConnection } from './mailboxes.ts';

/** The size of the MySQL column; a sealed password is no longer. */
const storedBytesMax = 4096;

/** The column as bytes, cut at 4097. SQLite gives NULL for an empty part. */
export function passwordBytes(dialect: SqlDialect): RawBuilder<Uint8Array> {
  return dialect.kind === 'mysql'
    ? sql<Uint8Array>`mailboxes.password`
    : sql<Uint8Array>`coalesce(substr(cast(mailboxes.password as blob), 1, ${sql.lit(storedBytesMax + 1)}), x'')`;
}

/** True for a password that can be sealed: neither empty nor too long, and without a NUL byte. */
export function isSealable(dialect: SqlDialect): RawBuilder<SqlBool> {
  const max = sql.lit(passwordBytesMax);
  // The length in bytes comes first: SQLite knows it without reading the value.
  return dialect.kind === 'mysql'
    ? sql<SqlBool>`(length(mailboxes.password) between 1 and ${max} and locate(0x00, mailboxes.password) = 0)`
    : sql<SqlBool>`(octet_length(mailboxes.password) between 1 and ${max}
        and instr(cast(mailboxes.password as blob), x'00') = 0)`;
}

/** Reads the password and the revision of the switch in one query. The caller owns the bytes. */
export async function readPassword(db: SqlExecutor, dialect: SqlDialect, id: string): Promise<StoredPassword | null> {
  const row = await db
    .selectFrom('mailboxes')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([mailboxColumn('name'), mailboxColumn('password_form'), ...connectionColumns, 'encryption_switch.revision'])
    .select(passwordBytes(dialect).as('password'))
    .where('mailboxes.id', '=', id)
    .where('mailboxes.state', '<>', 'removing')
    .executeTakeFirst();
  if (row === undefined) return null;
  try {
    const [form, connection] = [passwordForm(row), rowConnection(row)];
    return { form, bytes: row.password, switchRevision: row.revision, connection };
  } catch (error) {
    row.password.fill(0);
    throw error;
  }
}

/** Calls `use` with the columns of a new password, which borrow its bytes. */
export function withPasswordColumns<T>(
  password: NewPassword,
  dialect: SqlDialect,
  use: (columns: PasswordColumns) => T,
): T {
  if (password.form === 'sealed') return use(sealedColumns(password.sealed, password.keyId));
  return password.password.use((bytes) =>
    use({ ...sealedColumns(bytes, null), password_form: 'plain', plaintext_since: dialect.now }),
  );
}

export type PasswordColumns = ReturnType<typeof sealedColumns>;

function sealedColumns(password: Uint8Array, keyId: string | null) {
  return {
    password,
    password_form: 'sealed' as 'plain' | 'sealed',
    password_key_id: keyId,
    plaintext_since: null as RawBuilder<string> | null,
    plaintext_until: null as RawBuilder<string> | null,
  };
}

/**
 * True for a sealed password whose key is not open. One without a key id may be under any key, so it matches only
 * while no key is open.
 */
export function lacksOpenKey(where: ExpressionBuilder<Tables, 'mailboxes'>, keyIds: readonly string[]) {
  const isSealed = where('mailboxes.password_form', '=', 'sealed');
  if (keyIds.length === 0) return isSealed;
  const named = where('mailboxes.password_key_id', 'is not', null);
  return where.and([isSealed, named, where('mailboxes.password_key_id', 'not in', keyIds)]);
}
