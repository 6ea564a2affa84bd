/**
 * One step of the migrations, and the types of columns that the steps have in common.
 */

export type Migration = {
  readonly number: number;
  readonly name: string;
  readonly mysql: string | null;
  readonly sqlite: string | null;
  /** The error numbers by which MySQL tells that this step was applied before; without it: that something exists. */
  readonly mysqlDone?: readonly number[];
};

export const tableOptions = 'engine=InnoDB row_format=dynamic default character set=utf8mb4 collate=utf8mb4_unicode_ci';
export const ascii = 'character set ascii collate ascii_bin';
export const uuid = `char(36) ${ascii}`;
export const hash = `char(64) ${ascii}`;
export const word = `varchar(32) ${ascii}`;
export const exact = 'character set utf8mb4 collate utf8mb4_bin';

/** An index in both dialects. */
export function index(number: number, table: string, columns: readonly string[]): Migration {
  const name = `${table}_${columns[0]}`;
  const statement = `create index ${name} on ${table} (${columns.join(', ')})`;
  return { number, name, mysql: statement, sqlite: statement };
}

/** One more column in both dialects. */
export function column(number: number, table: string, name: string, mysql: string, sqlite: string): Migration {
  return {
    number,
    name: `${table}_${name}`,
    mysql: `alter table ${table} add column ${name} ${mysql}`,
    sqlite: `alter table ${table} add column ${name} ${sqlite}`,
  };
}
