/**
 * What each connection begins with: the session is set up, and the server asked whether it can do our work.
 *
 * A node of a Galera cluster that is not in sync, or without quorum, takes connections and refuses every table:
 * `database_unavailable`, so that the next host is tried. The same for a read-only server when there are several hosts;
 * one that stands alone may still be read. On a cluster each read and each change waits until the node has applied what was
 * committed before on any other, so that after a change of the node nobody reads an older cursor than he wrote, and nobody
 * leaves a lease behind because the node does not know of it yet.
 */
import { Failure } from '../../../errors.ts';

/** What comes of a statement without rows; of an UPDATE, `affectedRows` also has the rows that were the same before. */
type Outcome = {
  readonly affectedRows: number;
  readonly changedRows: number;
  readonly insertId: number;
  readonly info: string;
};

export type Answer = readonly Record<string, unknown>[] | Outcome;

type Run = (sql: string) => Promise<Answer>;

const lockWaitS = 10;
/** Shorter than a wait for a lock, so that who waits for one that stands still gets it. */
const idleTransactionS = 5;
/** Where the server knows no limit for transactions: for every connection that nobody uses. */
const idleConnectionS = 30;

/**
 * Strict, and lock waits that end before the deadline. The mode is set before any value is sent, because values
 * are escaped with backslashes, which a server in the mode NO_BACKSLASH_ESCAPES would not understand. A 30th of February
 * that somebody else wrote must not stop a statement that copies it.
 */
const sessionSql =
  `set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,ALLOW_INVALID_DATES', ` +
  `autocommit = 1, innodb_lock_wait_timeout = ${lockWaitS}, lock_wait_timeout = ${lockWaitS}`;

/** MySQL does not know all of them, which is no error when they are asked for in this way. */
const variablesSql =
  'show session variables where variable_name in ' +
  "('idle_transaction_timeout', 'max_allowed_packet', 'read_only', 'super_read_only', 'wsrep_on', 'wsrep_provider')";

/** `where` is for messages. `isChoosy`: there are other hosts, which may be written to. Throws `database_unavailable`. */
export async function beginSession(
  run: Run,
  where: string,
  isChoosy: boolean,
): Promise<{ readonly packetBytesMax: number }> {
  await run(sessionSql);
  const variables = pairs(await run(variablesSql));
  const isOn = (name: string): boolean => (variables.get(name) ?? 'OFF') !== 'OFF';
  const isNode = isOn('wsrep_on') && !['', 'none'].includes(variables.get('wsrep_provider') ?? '');
  await run(`set session ${idleLimit(variables.has('idle_transaction_timeout'))}`);
  if (isNode) await joinCluster(run, where);
  if (isChoosy && (isOn('read_only') || isOn('super_read_only'))) throw unfit(where, 'it is read-only', 'read_only');
  return { packetBytesMax: Number(variables.get('max_allowed_packet') ?? Number.POSITIVE_INFINITY) };
}

/** A worker that stands still, or whose host is cut off, must not hold rows that others wait for: its transaction is ended. */
function idleLimit(isForTransactions: boolean): string {
  return isForTransactions ? `idle_transaction_timeout = ${idleTransactionS}` : `wait_timeout = ${idleConnectionS}`;
}

/** True when a session that began now would have the same limit, which one in progress keeps whatever is set. */
export async function isUpToDate(run: Run, packetBytesMax: number): Promise<boolean> {
  const variables = pairs(await run(`show global variables like 'max_allowed_packet'`));
  return Number(variables.get('max_allowed_packet') ?? packetBytesMax) === packetBytesMax;
}

/** What waits, as the server numbers it. Within a transaction its beginning alone does. */
const [reads, changes] = [1, 2];

async function joinCluster(run: Run, where: string): Promise<void> {
  const status = pairs(await run(`show status like 'wsrep_ready'`));
  if (status.get('wsrep_ready') === 'OFF') {
    throw unfit(
      where,
      'the node is not in sync with its cluster, or without quorum (wsrep_ready is OFF)',
      'wsrep_ready',
    );
  }
  await run(`set session wsrep_sync_wait = ${reads + changes}`);
}

function unfit(where: string, why: string, cause: string): Failure {
  return new Failure('database_unavailable', `The database cannot be used right now at ${where}: ${why}.`, {
    fields: { cause },
  });
}

function pairs(answer: Answer): ReadonlyMap<string, string> {
  const rows = isRows(answer) ? answer : [];
  return new Map(rows.map((row) => Object.values(row).map(String)).map(([name = '', value = '']) => [name, value]));
}

export function isRows(answer: Answer): answer is readonly Record<string, unknown>[] {
  return Array.isArray(answer);
}

/**
 * What can be known of a statement before it is sent (its size, bytes among its values, whether it changes a table), and of
 * its answer afterwards.
 */

/** What the server counts beside the values of a statement: its command, its attributes, each value's type and length. */
const packetOverheadBytes = 1024;
const valueOverheadBytes = 16;
const bytesPerUnitMax = 3;

/** Throws `row_refused` for what is larger than the server takes: it would hang up on it. */
export function checkSize(values: readonly unknown[], packetBytesMax: number): void {
  const bytesMax = packetBytesMax - packetOverheadBytes;
  const texts = textsIn(values);
  const overheadBytes = values.length * valueOverheadBytes;
  if (total(texts, lengthOf) * bytesPerUnitMax + overheadBytes <= bytesMax) return;
  const bytes = total(texts, (text) => Buffer.byteLength(text)) + overheadBytes;
  if (bytes <= bytesMax) return;
  const message = `A statement of ${bytes} bytes is larger than the server takes (max_allowed_packet ${packetBytesMax}).`;
  throw new Failure('row_refused', message, { fields: { cause: 'ER_NET_PACKET_TOO_LARGE', errno: 1153, bytes } });
}

/** How long the texts among them are, in units of UTF-16. */
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

export function isTableChange(sql: string): boolean {
  return /^\s*(create|alter|drop)\b/i.test(sql);
}

/** False also for an UPDATE whose rows had those values already: nothing is written for it. */
export function changesRows(answer: Answer): boolean {
  if (isRows(answer)) return false;
  return (answer.info.startsWith('Rows matched') ? answer.changedRows : answer.affectedRows) > 0;
}

/** The same bytes, not copied, in the one class that mysql2 sends as they are. */
export function asBuffer(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
