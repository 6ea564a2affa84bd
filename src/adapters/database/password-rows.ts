/**
 * The password columns of a mailbox, as they are read and written: bytes, never text.
 *
 * What is read lies in a buffer of its own, which the reader wipes. On SQLite others may have stored it as text, of any
 * size: no more is read than shows that it is too long. The columns `readable_*` tell between which times the password
 * stood readable in the table.
 */
import { type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { NewPassword, StoredPassword } from '../../ingest/model.ts';
import { passwordBytesMax } from '../../secret/sealed-password.ts';
import type { DialectWords } from './dialect-words.ts';
import { connectionColumns, passwordForm, rowConnection, shortColumn } from './mailbox-rows.ts';
import type { Connected, Tables } from './tables.ts';

/** What the column of MySQL takes; a sealed password is no longer. */
const storedBytesMax = 4096;

/** The column as bytes, whatever it holds; of more than 4096 bytes the first 4097. A part of no bytes is NULL in SQLite. */
export function passwordBytes(words: DialectWords): RawBuilder<Uint8Array> {
  return words.kind === 'mysql'
    ? sql<Uint8Array>`mailboxes.password`
    : sql<Uint8Array>`coalesce(substr(cast(mailboxes.password as blob), 1, ${sql.lit(storedBytesMax + 1)}), x'')`;
}

/** Its bytes are such that they can be sealed: neither empty nor too long, and without a NUL byte. */
export function isSealable(words: DialectWords): RawBuilder<SqlBool> {
  const max = sql.lit(passwordBytesMax);
  // The length in bytes comes first: SQLite knows it without reading the value.
  return words.kind === 'mysql'
    ? sql<SqlBool>`(length(mailboxes.password) between 1 and ${max} and locate(0x00, mailboxes.password) = 0)`
    : sql<SqlBool>`(octet_length(mailboxes.password) between 1 and ${max}
        and instr(cast(mailboxes.password as blob), x'00') = 0)`;
}

/** The password and the revision of the switch in one query. The bytes belong to the caller. */
export async function readPassword(db: Connected, words: DialectWords, id: string): Promise<StoredPassword | null> {
  const row = await db
    .selectFrom('mailboxes')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([shortColumn('name'), shortColumn('password_form'), ...connectionColumns, 'encryption_switch.revision'])
    .select(passwordBytes(words).as('password'))
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

/** Lends the columns of a new password, which hold its bytes, to `use`. */
export function lendPasswordColumns<T>(
  password: NewPassword,
  words: DialectWords,
  use: (columns: PasswordColumns) => T,
): T {
  if (password.form === 'sealed') return use(sealedColumns(password.sealed, password.keyId));
  return password.password.use((bytes) =>
    use({ ...sealedColumns(bytes, null), password_form: 'plain', readable_since: words.now }),
  );
}

export type PasswordColumns = ReturnType<typeof sealedColumns>;

function sealedColumns(password: Uint8Array, keyId: string | null) {
  return {
    password,
    password_form: 'sealed' as 'plain' | 'sealed',
    password_key_id: keyId,
    readable_since: null as RawBuilder<string> | null,
    readable_until: null as RawBuilder<string> | null,
  };
}

/**
 * Sealed, but its key is not open: such a password waits. One without a key in its column may be under any key, so it
 * waits only while none is open.
 */
export function isWaiting(where: ExpressionBuilder<Tables, 'mailboxes'>, keyIds: readonly string[]) {
  const isSealed = where('mailboxes.password_form', '=', 'sealed');
  if (keyIds.length === 0) return isSealed;
  const named = where('mailboxes.password_key_id', 'is not', null);
  return where.and([isSealed, named, where('mailboxes.password_key_id', 'not in', keyIds)]);
}
