/**
 * Column types of the schema in MySQL and SQLite: the definition of a column, from its type and its constraint.
 *
 * The constraint (`not null`, a default) is the same in both dialects.
 */

export type ColumnDefinition = { readonly mysql: string; readonly sqlite: string };

export function columnType(mysql: string, sqlite: string) {
  return (constraint: string): ColumnDefinition => ({
    mysql: `${mysql} ${constraint}`,
    sqlite: `${sqlite} ${constraint}`,
  });
}

export const ascii = 'character set ascii collate ascii_bin';
/** Compared letter by letter; the default collation ignores case and accents. */
const exact = 'character set utf8mb4 collate utf8mb4_bin';

export const uuid = columnType(`char(36) ${ascii}`, 'text');
export const sha256 = columnType(`char(64) ${ascii}`, 'text');
export const keyId = columnType(`char(16) ${ascii}`, 'text');
/** A keyword of this program. */
export const word = columnType(`varchar(32) ${ascii}`, 'text');
export const time = columnType('datetime(3)', 'text');
export const flag = columnType('tinyint unsigned', 'integer');
export const int = columnType('int unsigned', 'integer');
export const bigint = columnType('bigint unsigned', 'integer');
export const text = columnType('text', 'text');
export const longText = columnType('longtext', 'text');
export const exactLongText = columnType(`longtext ${exact}`, 'text');
export const shortText = (charactersMax: number) => columnType(`varchar(${charactersMax})`, 'text');
export const exactText = (charactersMax: number) => columnType(`varchar(${charactersMax}) ${exact}`, 'text');
export const asciiText = (charactersMax: number) => columnType(`varchar(${charactersMax}) ${ascii}`, 'text');

const sqliteNow = `(strftime('%Y-%m-%d %H:%M:%f', 'now'))`;
/** A UUID of version 4 (RFC 9562). */
export const sqliteUuid = `(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
      || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))`;

export function timeDefaultNow(nullability: 'null' | 'not null'): ColumnDefinition {
  return {
    mysql: `datetime(3) ${nullability} default (utc_timestamp(3))`,
    sqlite: `text ${nullability} default ${sqliteNow}`,
  };
}

/** SQLite takes any integer, and node:sqlite throws beyond 2^53: one such row would hide all rows beside it. */
export function safeInteger(column: ColumnDefinition, name: string, least: number): ColumnDefinition {
  return { ...column, sqlite: `${column.sqlite} check (${name} between ${least} and ${Number.MAX_SAFE_INTEGER})` };
}

export const anySafeInteger = (column: ColumnDefinition, name: string) =>
  safeInteger(column, name, -Number.MAX_SAFE_INTEGER);

/** SQLite takes a text of any length; that of one with a NUL counts in bytes alone. */
export function boundedText(column: ColumnDefinition, name: string, bytesMax: number): ColumnDefinition {
  return { ...column, sqlite: `${column.sqlite} check (length(cast(${name} as blob)) <= ${bytesMax})` };
}
