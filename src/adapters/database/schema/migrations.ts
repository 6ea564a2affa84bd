/**
 * Schema migrations: the numbered DDL statements of the baseline, and of every later change, for both dialects.
 *
 * MySQL cannot roll back DDL, so a step is one statement, which a crash may leave applied but not recorded. A table and
 * each of its indexes therefore are steps of their own. A step that one dialect does not need is null there, but has
 * its number. Later steps are appended and never edited.
 */
import { settingColumns } from '../rows/mailbox-columns.ts';
import { baselineTables, type TableDefinition } from './baseline.ts';
import type { ColumnDefinition } from './column-types.ts';

export type Migration = {
  readonly number: number;
  readonly name: string;
  readonly mysql: string | null;
  readonly sqlite: string | null;
  /** A query that fails unless the step was applied: another program may have a table of the same name. */
  readonly mysqlCheck?: string;
};

type Step = Omit<Migration, 'number'>;
/** A table of any row type. */
type AnyTable = TableDefinition<Record<string, unknown>>;

function tableSteps(name: string, table: AnyTable): readonly Step[] {
  const columns = Object.entries(table.columns);
  const primaryKey = `primary key (${table.primaryKey.join(', ')})`;
  const { unique } = table;
  const create = (kind: 'mysql' | 'sqlite', keys: readonly string[], options: string) =>
    `create table ${name} (\n  ${[...columns.map(([column, type]) => `${column} ${type[kind]}`), ...keys].join(',\n  ')}\n) ${options}`;
  const mysqlKeys = unique === undefined ? [] : [`unique key ${name}_${unique} (${unique})`];
  const sqliteKeys = unique === undefined ? [] : [`unique (${unique})`];
  return [
    {
      name,
      mysql: create(
        'mysql',
        [primaryKey, ...mysqlKeys],
        'engine=InnoDB row_format=dynamic default character set=utf8mb4 collate=utf8mb4_unicode_ci',
      ),
      sqlite: create('sqlite', [primaryKey, ...sqliteKeys], table.withoutRowid ? 'strict, without rowid' : 'strict'),
      mysqlCheck: `select ${columns.map(([column]) => `\`${column}\``).join(', ')} from ${name} limit 0`,
    },
    ...(table.indexes ?? []).map((index) => indexStep(name, index)),
  ];
}

function indexStep(table: string, columns: readonly (string | ColumnDefinition)[]): Step {
  const name = `${table}_${columns[0]}`;
  const statement = (kind: 'mysql' | 'sqlite') =>
    `create index ${name} on ${table} (${columns.map((one) => (typeof one === 'string' ? one : one[kind])).join(', ')})`;
  return { name, mysql: statement('mysql'), sqlite: statement('sqlite') };
}

const settingsOf = (row: 'new' | 'old') => settingColumns.map((column) => `${row}.${column}`).join(', ');

/** Moves `changed_at` with every change but the sealing of a password, for which MySQL statements set the column. */
const changedAtTrigger: Step = {
  name: 'mailboxes_changed',
  mysql: null,
  sqlite: `create trigger mailboxes_changed after update on mailboxes
    when (${settingsOf('new')}) is not (${settingsOf('old')})
      or (new.password is not old.password and (new.password_form = 'plain'
        or (new.password_form is old.password_form and new.password_key_id is old.password_key_id)))
    begin
      update mailboxes set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || ' ' || hex(randomblob(4)) where id = new.id;
    end`,
};

const switchValues = `encryption_switch (id, state, revision, changed_at, changed_by)
  values (1, 'off', 0, '1970-01-01 00:00:00.000', '')`;

const switchRow: Step = {
  name: 'encryption_switch_row',
  mysql: `insert ignore into ${switchValues}`,
  sqlite: `insert into ${switchValues} on conflict do nothing`,
};

const baseline: readonly Step[] = [
  ...Object.entries(baselineTables).flatMap(([name, table]) => tableSteps(name, table as AnyTable)),
  changedAtTrigger,
  switchRow,
];

/** The number of the row that marks an unfinished copy (copy/marker.ts): above every step there will be. */
export const copyMarkerNumber = 1_000_000_000;

/** Append later steps here, after the baseline. */
export const migrations: readonly Migration[] = baseline.map((step, index) => ({ number: index + 1, ...step }));
