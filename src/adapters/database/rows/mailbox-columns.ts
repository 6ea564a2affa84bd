/**
 * Column catalogue of the table `mailboxes`: the one record that selections, changes, length checks and the SQLite
 * trigger are derived from. A column of the table that is missing here does not compile.
 *
 * Other programs write rows too, and SQLite stores texts of any length: a text is selected up to one character beyond
 * its limit, which is enough to refuse it.
 */
import { type AliasedRawBuilder, sql } from 'kysely';
import type { MailboxRow, MailboxTable } from '../sql/tables.ts';

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
  state: setting(wordCharactersMax),
  // Listing mailboxes must not touch passwords.
  password: unlisted(null),
  password_form: listed(wordCharactersMax),
  password_key_id: listed(wordCharactersMax),
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
