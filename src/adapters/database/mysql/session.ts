/**
 * Session setup of a new MySQL connection: every variable that statements rely on, timeouts, Galera causality, fitness
 * checks.
 *
 * An administrator, or `init_connect`, may set any variable for all sessions. Those below that every server has are set
 * in one statement; those that only one has, or under another name, in a second one, after the server has listed them.
 * A Galera node that is out of sync or without quorum accepts connections and refuses every table:
 * `database_unavailable`, so that the next host is tried. A read-only server counts the same when there are several
 * hosts; a single one may still be read. On Galera every read and write waits until the node has applied all earlier
 * commits (`wsrep_sync_wait`), so that after a failover no worker reads a cursor older than its own, and none leaves a
 * lease behind.
 */
import { Failure } from '../../../errors.ts';

/** Result of a statement without rows. `affectedRows` of an UPDATE includes rows that had the new values already. */
type WriteResult = {
  readonly affectedRows: number;
  readonly changedRows: number;
  readonly insertId: number;
  readonly info: string;
};

export type StatementResult = readonly Record<string, unknown>[] | WriteResult;

type Run = (sql: string) => Promise<StatementResult>;

const lockWaitS = 10;
/** Shorter than a lock wait, so that a waiter gets the lock of a frozen worker in time. */
const idleTransactionS = 5;
/** `wait_timeout`, where the server has no `idle_transaction_timeout`. */
const idleConnectionS = 30;
/** `wait_timeout` where it has one: much longer than between two pings of the pool. */
const silentConnectionS = 600;
/** How long a server waits for the rest of a statement, or for the reader of a result. */
const networkS = 60;

/** More than any result has rows; `default` would be the value of the server. */
const unlimited = '18446744073709551615';

/**
 * Strict mode, and lock waits that end before the statement timeout. The mode is set before any value is sent, because
 * values are escaped with backslashes, which NO_BACKSLASH_ESCAPES would break. ALLOW_INVALID_DATES: a 30th of February
 * that another program wrote must not stop a statement that copies it.
 */
const commonVariables = {
  sql_mode: `'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,ALLOW_INVALID_DATES'`,
  character_set_client: 'utf8mb4',
  character_set_results: 'utf8mb4',
  collation_connection: 'utf8mb4_unicode_ci',
  autocommit: 1,
  // A COMMIT must neither begin another transaction nor end the session.
  completion_type: 0,
  // UPDATE and DELETE that name no key are meant so.
  sql_safe_updates: 0,
  sql_select_limit: unlimited,
  sql_big_selects: 1,
  sql_auto_is_null: 0,
  foreign_key_checks: 1,
  unique_checks: 1,
  innodb_lock_wait_timeout: lockWaitS,
  lock_wait_timeout: lockWaitS,
  net_read_timeout: networkS,
  net_write_timeout: networkS,
} as const;

const sessionSql = `set session ${assignments(Object.entries(commonVariables))}`;

/** Of one product, or renamed between versions; the statements have deadlines of their own. */
const productVariables = {
  transaction_isolation: `'REPEATABLE-READ'`,
  tx_isolation: `'REPEATABLE-READ'`,
  transaction_read_only: 0,
  tx_read_only: 0,
  max_execution_time: 0,
  max_statement_time: 0,
  check_constraint_checks: 1,
  alter_algorithm: `'DEFAULT'`,
  idle_readonly_transaction_timeout: 0,
  idle_write_transaction_timeout: 0,
} as const;

/** SHOW does not report a variable that the server lacks as an error. */
const variablesSql =
  'show session variables where variable_name in ' +
  "('idle_transaction_timeout', 'max_allowed_packet', 'read_only', 'super_read_only', 'wsrep_on', 'wsrep_provider', " +
  `${Object.keys(productVariables)
    .map((name) => `'${name}'`)
    .join(', ')})`;

function assignments(variables: readonly (readonly [string, string | number])[]): string {
  return variables.map(([name, value]) => `${name} = ${value}`).join(', ');
}

/** `serverName` is for messages. `hasFailover`: there are other hosts. Throws `database_unavailable`. */
export async function setUpSession(
  run: Run,
  serverName: string,
  hasFailover: boolean,
): Promise<{ readonly packetBytesMax: number }> {
  await run(sessionSql);
  const variables = variablesOf(await run(variablesSql));
  const isOn = (name: string): boolean => (variables.get(name) ?? 'OFF') !== 'OFF';
  const isGalera = isOn('wsrep_on') && !['', 'none'].includes(variables.get('wsrep_provider') ?? '');
  const ofProduct = Object.entries(productVariables).filter(([name]) => variables.has(name));
  const idle = Object.entries(idleLimits(variables.has('idle_transaction_timeout')));
  await run(`set session ${assignments([...ofProduct, ...idle])}`);
  if (isGalera) await setUpGalera(run, serverName);
  if (hasFailover && (isOn('read_only') || isOn('super_read_only')))
    throw unusable(serverName, 'it is read-only', 'read_only');
  return { packetBytesMax: Number(variables.get('max_allowed_packet') ?? Number.POSITIVE_INFINITY) };
}

/** The server ends the transaction of a frozen or disconnected worker, so that its row locks are released. */
function idleLimits(isForTransactions: boolean): Readonly<Record<string, number>> {
  if (!isForTransactions) return { wait_timeout: idleConnectionS };
  return { idle_transaction_timeout: idleTransactionS, wait_timeout: silentConnectionS };
}

/** True when a new session would have the same `max_allowed_packet`; a running session keeps its own. */
export async function hasCurrentPacketLimit(run: Run, packetBytesMax: number): Promise<boolean> {
  const variables = variablesOf(await run(`show global variables like 'max_allowed_packet'`));
  return Number(variables.get('max_allowed_packet') ?? packetBytesMax) === packetBytesMax;
}

/** Bits of `wsrep_sync_wait`. Within a transaction only its begin waits. */
const [syncReads, syncWrites] = [1, 2];

async function setUpGalera(run: Run, serverName: string): Promise<void> {
  const status = variablesOf(await run(`show status like 'wsrep_ready'`));
  if (status.get('wsrep_ready') === 'OFF') {
    throw unusable(
      serverName,
      'the node is not in sync with its cluster, or without quorum (wsrep_ready is OFF)',
      'wsrep_ready',
    );
  }
  await run(`set session wsrep_sync_wait = ${syncReads + syncWrites}`);
}

function unusable(serverName: string, why: string, cause: string): Failure {
  return new Failure('database_unavailable', `The database cannot be used right now at ${serverName}: ${why}.`, {
    fields: { cause },
  });
}

function variablesOf(result: StatementResult): ReadonlyMap<string, string> {
  const rows = isRows(result) ? result : [];
  return new Map(rows.map((row) => Object.values(row).map(String)).map(([name = '', value = '']) => [name, value]));
}

export function isRows(result: StatementResult): result is readonly Record<string, unknown>[] {
  return Array.isArray(result);
}

/* Properties of a statement and of its result. */

/** Counted by the server beside the values: the command, its attributes, each value's type and length. */
const packetOverheadBytes = 1024;
const valueOverheadBytes = 16;
const bytesPerUnitMax = 3;

/** Throws `row_refused` above `max_allowed_packet`: the server would drop the connection. */
export function assertFitsPacket(values: readonly unknown[], packetBytesMax: number): void {
  const bytesMax = packetBytesMax - packetOverheadBytes;
  const texts = textsIn(values);
  const overheadBytes = values.length * valueOverheadBytes;
  if (total(texts, lengthOf) * bytesPerUnitMax + overheadBytes <= bytesMax) return;
  const bytes = total(texts, (text) => Buffer.byteLength(text)) + overheadBytes;
  if (bytes <= bytesMax) return;
  const message = `A statement of ${bytes} bytes is larger than the server takes (max_allowed_packet ${packetBytesMax}).`;
  throw new Failure('row_refused', message, { fields: { cause: 'ER_NET_PACKET_TOO_LARGE', errno: 1153, bytes } });
}

/** Length of the texts among them, in UTF-16 units. */
export function textUnits(values: readonly unknown[]): number {
  return total(textsIn(values), lengthOf);
}

function total(texts: readonly string[], size: (text: string) => number): number {
  let sum = 0;
  for (const text of texts) sum += size(text);
  return sum;
}

function textsIn(values: readonly unknown[]): readonly string[] {
  return values.filter((value) => typeof value === 'string');
}

function lengthOf(text: string): number {
  return text.length;
}

export function hasBytes(values: readonly unknown[]): boolean {
  return values.some((value) => typeof value === 'object' && value instanceof Uint8Array);
}

export function isSchemaChange(sql: string): boolean {
  return /^\s*(create|alter|drop)\b/i.test(sql);
}

/** False for an UPDATE whose rows had the new values already: the server writes nothing. */
export function changesRows(result: StatementResult): boolean {
  if (isRows(result)) return false;
  return (result.info.startsWith('Rows matched') ? result.changedRows : result.affectedRows) > 0;
}

/** The same bytes, not copied, as a Buffer: mysql2 sends no other class unchanged. */
export function asBuffer(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
