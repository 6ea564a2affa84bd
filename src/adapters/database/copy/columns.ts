/**
 * Column mapping for copies between dialects: which columns a table has, how each is read, and its value in the target.
 *
 * Everything is derived from the baseline schema, so a new table or column is copied without a line here. Bytes are
 * read as bytes, also where another program wrote a password as text. MySQL takes exact times alone (`DATETIME`),
 * SQLite any text: a time that has no exact form is refused, never guessed. Leases and claims belong to processes, and
 * are not copied.
 */
import { type RawBuilder, sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import { baselineTables, type TableDefinition } from '../schema/baseline.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { fromForeignTime, toDatabaseTime } from '../sql/tables.ts';

export type CopiedTable = {
  readonly name: keyof typeof baselineTables;
  readonly columns: readonly CopiedColumn[];
  /** The columns of the primary key. */
  readonly key: readonly string[];
  /** Columns whose values may be of any length. */
  readonly unbounded: readonly string[];
};

export type CopiedColumn = {
  readonly name: string;
  /** `version`: the counter of changes of a mailbox row, which has another form in each dialect. */
  readonly kind: 'plain' | 'bytes' | 'time' | 'version';
  /** Belongs to a process: NULL in the target. */
  readonly isCleared: boolean;
};

export type CopiedRow = Readonly<Record<string, unknown>>;

/** The rows of `workers` are processes. */
const notCopied: ReadonlySet<string> = new Set(['workers']);

/**
 * What acts or holds a secret: copied in the last transaction, so that an unfinished target has no password and no
 * mailbox to poll.
 */
const activating = ['reply_key', 'oauth_grant', 'oauth_access', 'mailboxes', 'encryption_switch'] as const;

const cleared: ReadonlySet<string> = new Set([
  ...['mailbox_state.lease_owner', 'mailbox_state.lease_until', 'mailbox_state.retry_requested_at'],
  ...['oauth_access.claim_owner', 'oauth_access.claim_until'],
  ...['encryption_switch.operation_owner', 'encryption_switch.operation_until'],
]);

const versions: ReadonlySet<string> = new Set(['mailboxes.changed_at', 'mailbox_state.login_failed_version']);

const all: readonly CopiedTable[] = Object.entries(baselineTables)
  .filter(([name]) => !notCopied.has(name))
  .map(([name, table]) => copiedTable(name as CopiedTable['name'], table as TableDefinition<Record<string, unknown>>));

/** Tables that are copied in chunks, and may be resumed. */
export const chunkedTables: readonly CopiedTable[] = all.filter(({ name }) => !isActivating(name));

/** Tables of the last transaction, in its order. */
export const activatingTables: readonly CopiedTable[] = activating.flatMap((name) =>
  all.filter((table) => table.name === name),
);

export const copiedTables: readonly CopiedTable[] = [...chunkedTables, ...activatingTables];

function isActivating(name: string): boolean {
  return activating.some((one) => one === name);
}

function copiedTable(name: CopiedTable['name'], table: TableDefinition<Record<string, unknown>>): CopiedTable {
  const types = Object.entries(table.columns);
  return {
    name,
    columns: types.map(([column, { mysql }]) => ({
      name: column,
      kind: kindOf(`${name}.${column}`, mysql),
      isCleared: cleared.has(`${name}.${column}`),
    })),
    key: table.primaryKey,
    unbounded: types.filter(([, { mysql }]) => mysql.startsWith('longtext')).map(([column]) => column),
  };
}

function kindOf(column: string, type: string): CopiedColumn['kind'] {
  if (versions.has(column)) return 'version';
  if (type.startsWith('varbinary')) return 'bytes';
  return type.startsWith('datetime') ? 'time' : 'plain';
}

/** What a SELECT names to read the column: bytes of a SQLite column of any type become a BLOB. */
export function readColumn({ name, kind }: CopiedColumn, { kind: dialect }: SqlDialect): RawBuilder<unknown> {
  if (kind === 'bytes' && dialect === 'sqlite') return sql`cast(${sql.ref(name)} as blob) as ${sql.ref(name)}`;
  return sql.ref(name);
}

/** The row as the target returns it once it is stored there; bytes are the same buffers. Throws `row_refused`. */
export function convertedRow(table: CopiedTable, row: CopiedRow, from: SqlDialect, to: SqlDialect): CopiedRow {
  const needsExactTimes = to.kind === 'mysql' && from.kind === 'sqlite';
  const converted: Record<string, unknown> = {};
  for (const column of table.columns) {
    const value = column.isCleared ? null : row[column.name];
    converted[column.name] = needsExactTimes && value !== null ? exactValue(table, row, column, value) : value;
  }
  return converted;
}

function exactValue(table: CopiedTable, row: CopiedRow, { name, kind }: CopiedColumn, value: unknown): unknown {
  if (kind === 'version') return mysqlVersion(String(value));
  if (kind !== 'time') return value;
  const time = exactTime(String(value));
  if (time !== null) return time;
  throw new Failure('row_refused', `${rowName(table, row)}: ${name} is not a time.`, { hint: timeHint });
}

const timeHint = 'Write it as YYYY-MM-DD HH:MM:SS.mmm (UTC) in the source, then run the command again.';
const exactForm = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/;

function exactTime(text: string): string | null {
  if (exactForm.test(text)) return text;
  const timeMs = fromForeignTime(text);
  return timeMs === null ? null : toDatabaseTime(timeMs);
}

const microsecondsInMs = 1000;
/** The version of a row that nothing changed since another program inserted it. */
const unchangedVersion = '1970-01-02 00:00:00.000000';

/**
 * `DATETIME(6)` for a version of SQLite, a time and 8 hex digits: the digits become microseconds, so that two versions
 * stay different, and equal ones equal.
 */
function mysqlVersion(version: string): string {
  if (/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/.test(version)) return version;
  const [, time, digits = '0'] = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})(?: ([0-9A-F]{8}))?$/.exec(version) ?? [];
  if (time === undefined) return unchangedVersion;
  return time + `${Number.parseInt(digits, 16) % microsecondsInMs}`.padStart(3, '0');
}

/** `message 0192…`: the table and the key of a row, which is never a secret. */
export function rowName({ name, key }: CopiedTable, row: CopiedRow): string {
  return `${name} ${key.map((column) => String(row[column])).join(' ')}`;
}
