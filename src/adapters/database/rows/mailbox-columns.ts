/**
 * Column catalogue of the table `mailboxes`: the one record that selections, changes, length checks and the SQLite
 * trigger are derived from; and its password columns, which are bytes, never text. A column of the table that is
 * missing here does not compile.
 *
 * Other programs write rows too, and SQLite stores texts of any length: a text is selected up to one character beyond
 * its limit, which is enough to refuse it.
 */
import { type AliasedRawBuilder, type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { NewPassword } from '../../../ingest/model.ts';
import { passwordBytesMax } from '../../../secret/sealed-password.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { MailboxRow, MailboxTable, Tables } from '../sql/tables.ts';

type MailboxColumn = {
  /** A command sets it. A change moves `changed_at`, by which IDLE and running polls notice it. */
  readonly isSetting: boolean;
  /** Listing mailboxes reads it. */
  readonly isListed: boolean;
  /** Limit of a text in characters; null: a number, bytes, or the id. */
  readonly charactersMax: number | null;
};

/** Keywords, hex digits and times: no valid one is as long. */
const wordCharactersMax = 64;

const mailboxTable = {
  id: listed(null),
  name: setting(255),
  host: setting(255),
  port: setting(null),
  tls_mode: setting(wordCharactersMax),
  ca_pem: setting(65_536),
  fingerprint: setting(wordCharactersMax),
  allow_plaintext: setting(null),
  username: setting(1024),
  folder: setting(1024),
  since_kind: setting(wordCharactersMax),
  since_at: setting(wordCharactersMax),
  on_success: setting(wordCharactersMax),
  on_success_folder: setting(1024),
  poll_interval_ms: setting(null),
  addresses: setting(4096),
  auth: setting(wordCharactersMax),
  grant_name: setting(255),
  state: setting(wordCharactersMax),
  // Listing mailboxes must not touch passwords.
  password: unlisted(null),
  password_form: listed(wordCharactersMax),
  password_key_id: listed(wordCharactersMax),
  settings_seal: listed(255),
  plaintext_since: unlisted(wordCharactersMax),
  plaintext_until: unlisted(wordCharactersMax),
  created_at: listed(wordCharactersMax),
  changed_at: unlisted(wordCharactersMax),
} satisfies Record<keyof MailboxTable, MailboxColumn>;

function setting<N extends number | null>(charactersMax: N) {
  return { isSetting: true, isListed: true, charactersMax } as const;
}

function listed<N extends number | null>(charactersMax: N) {
  return { isSetting: false, isListed: true, charactersMax } as const;
}

function unlisted<N extends number | null>(charactersMax: N) {
  return { isSetting: false, isListed: false, charactersMax } as const;
}

type Catalogue = typeof mailboxTable;
type ColumnsWith<F extends Partial<MailboxColumn>> = {
  [C in keyof Catalogue]: Catalogue[C] extends F ? C : never;
}[keyof Catalogue];

export type SettingColumn = ColumnsWith<{ readonly isSetting: true }>;
type ListedColumn = ColumnsWith<{ readonly isListed: true }>;

const columnNames = Object.keys(mailboxTable) as readonly (keyof Catalogue)[];

export const settingColumns = columnNames.filter(
  (column) => mailboxTable[column].isSetting,
) as readonly SettingColumn[];

/** A column, with a text cut one character beyond its limit. SQLite ends a text at a NUL. */
export function mailboxColumn<C extends keyof Catalogue>(column: C): AliasedRawBuilder<MailboxRow[C], C> {
  const { charactersMax } = mailboxTable[column];
  const reference = sql.ref(`mailboxes.${column}`);
  const value =
    charactersMax === null
      ? sql<MailboxRow[C]>`${reference}`
      : sql<MailboxRow[C]>`substr(${reference}, 1, ${sql.lit(charactersMax + 1)})`;
  return value.as(column);
}

/** The selection of `ListedMailboxRow`: all columns but the password and its history. */
export const listedColumns = columnNames
  .filter((column) => mailboxTable[column].isListed)
  .map((column) => mailboxColumn(column)) as readonly ListedSelection[];

type ListedSelection = { [C in ListedColumn]: AliasedRawBuilder<MailboxRow[C], C> }[ListedColumn];

export type ListedMailboxRow = Pick<MailboxRow, ListedColumn>;

/** The columns that a password is bound to (`rowConnection`). */
export const connectionColumns = [
  mailboxColumn('host'),
  mailboxColumn('port'),
  mailboxColumn('tls_mode'),
  mailboxColumn('ca_pem'),
  mailboxColumn('fingerprint'),
  mailboxColumn('allow_plaintext'),
  mailboxColumn('username'),
] as const;

/** Listed columns that may be NULL. */
const nullableColumns: ReadonlySet<string> = new Set<ListedColumn>([
  ...(['ca_pem', 'fingerprint', 'since_at', 'on_success_folder', 'poll_interval_ms', 'addresses'] as const),
  ...(['grant_name', 'password_key_id', 'settings_seal'] as const),
]);

/** The first column whose value has another type than in our schema: another program may have altered the table. */
export function foreignColumn(row: ListedMailboxRow): string | null {
  for (const column of columnNames) {
    const value: unknown = Reflect.get(row, column);
    if (!mailboxTable[column].isListed || (value === null && nullableColumns.has(column))) continue;
    const isText = mailboxTable[column].charactersMax !== null || column === 'id';
    // The drivers return an integer beyond 2^53 as a text.
    if (typeof value !== 'string' && (isText || typeof value !== 'number')) return column;
  }
  return null;
}

/** The first free text that is longer than its limit. A keyword that is too long is an unknown one. */
export function tooLongText(row: ListedMailboxRow): { readonly column: string; readonly charactersMax: number } | null {
  for (const column of columnNames) {
    const charactersMax = mailboxTable[column].charactersMax ?? 0;
    const text: unknown = Reflect.get(row, column);
    if (charactersMax <= wordCharactersMax || typeof text !== 'string') continue;
    // A character takes two UTF-16 units at most.
    if (text.length > charactersMax && [...text].length > charactersMax) return { column, charactersMax };
  }
  return null;
}

/*
 * Password columns. A password is read into a buffer of its own, which the caller wipes. On SQLite another program may
 * have stored a text of any size: it is read up to one byte beyond the limit. The columns `plaintext_since` and
 * `plaintext_until` record when the password was stored in plain text.
 */

export type MailboxWhere = ExpressionBuilder<Tables, 'mailboxes'>;

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

/** False for a mailbox that a grant opens and that has no password: it counts as none, and nothing is sealed. */
export function holdsPassword(dialect: SqlDialect): RawBuilder<SqlBool> {
  const bytes = sql.raw(dialect.kind === 'mysql' ? 'length' : 'octet_length');
  return sql<SqlBool>`(mailboxes.auth <> 'oauth' or ${bytes}(mailboxes.password) > 0)`;
}

/** Calls `use` with the columns of a new password, which borrow its bytes. */
export function withPasswordColumns<T>(
  password: NewPassword,
  dialect: SqlDialect,
  use: (columns: PasswordColumns) => T,
): T {
  if (password.form === 'sealed') return use(sealedColumns(password.sealed, password.keyId, password.settingsSeal));
  return password.password.use((bytes) =>
    use({ ...sealedColumns(bytes, null, null), password_form: 'plain', plaintext_since: dialect.now }),
  );
}

export type PasswordColumns = ReturnType<typeof sealedColumns>;

function sealedColumns(password: Uint8Array, keyId: string | null, settingsSeal: string | null) {
  return {
    password,
    password_form: 'sealed' as 'plain' | 'sealed',
    password_key_id: keyId,
    settings_seal: settingsSeal,
    plaintext_since: null as RawBuilder<string> | null,
    plaintext_until: null as RawBuilder<string> | null,
  };
}

/** Columns of a mailbox without a password, which a grant opens. */
export const noPassword = {
  password: new Uint8Array(0),
  password_form: 'plain',
  password_key_id: null,
  plaintext_since: null,
  plaintext_until: null,
} as const satisfies Partial<PasswordColumns>;

/**
 * True for a sealed password whose key is not open, unless a grant opens the mailbox. One without a key id may be under
 * any key, so it matches only while no key is open.
 */
export function lacksOpenKey(where: MailboxWhere, keyIds: readonly string[]) {
  const isSealed = where.and([where('mailboxes.password_form', '=', 'sealed'), where('mailboxes.auth', '<>', 'oauth')]);
  if (keyIds.length === 0) return isSealed;
  const named = where('mailboxes.password_key_id', 'is not', null);
  return where.and([isSealed, named, where('mailboxes.password_key_id', 'not in', keyIds)]);
}
