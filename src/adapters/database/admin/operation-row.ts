/**
 * Operation row: compare-and-swap on the one row that describes the last operation on the encryption switch.
 *
 * The row records progress; mutual exclusion is the claim on the switch. Every change names the row that it replaces. A
 * row that this program did not write (unknown kind or state, invalid name, time or number) counts as none. Values are
 * compared by this program, not by the database, whose collations and number formats differ. A detail that is too long
 * is not read.
 */
import { sql } from 'kysely';
import type { AdminStore, StoredOperation } from '../../../admin/ports.ts';
import type { OperationKind } from '../../../admin/service.ts';
import { boundedNumbers, boundedTexts, integerOf, nameCharacters, wordCharacters } from '../sql/bounded-columns.ts';
import { isDuplicateKey } from '../sql/errors.ts';
import { bindDatabase, inTransaction } from '../sql/statements.ts';
import { fromForeignTime, fromOptionalTime, type SqlExecutor, toDatabaseTime, truncate } from '../sql/tables.ts';

type OperationStore = Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'>;
type State = StoredOperation['state'];

const operationId = 1;
/** This program writes no longer detail. */
const detailBytesMax = 65_536;
const kinds: readonly OperationKind[] = ['enable', 'rotate', 'disable'];
const states: readonly State[] = ['running', 'done', 'failed'];

export function adminOperation(db: SqlExecutor): OperationStore {
  return bindDatabase(db, { readOperation, beginOperation, updateOperation });
}

async function readOperation(db: SqlExecutor): Promise<StoredOperation | null> {
  const row = await selectRow(db).executeTakeFirst();
  return row === undefined ? null : toOperation(row);
}

const textColumns = {
  ...{ kind: wordCharacters, state: wordCharacters, started_at: wordCharacters, ended_at: wordCharacters },
  ...{ started_by: nameCharacters, worker: nameCharacters },
};

function selectRow(db: SqlExecutor) {
  return db
    .selectFrom('admin_operation')
    .where('id', '=', operationId)
    .select([
      ...boundedNumbers('admin_operation', 'number'),
      ...boundedTexts('admin_operation', textColumns),
      sql<string | null>`case when octet_length(detail) <= ${sql.lit(detailBytesMax)} then detail end`.as('detail'),
    ]);
}

type Row = NonNullable<Awaited<ReturnType<ReturnType<typeof selectRow>['executeTakeFirst']>>>;

/** null: this program did not write the row. */
function toOperation(row: Row): StoredOperation | null {
  const kind = kinds.find((one) => one === row.kind);
  const state = states.find((one) => one === row.state);
  const number = integerOf(row.number);
  const startedAtMs = fromForeignTime(row.started_at);
  if (kind === undefined || state === undefined || !Number.isSafeInteger(number) || startedAtMs === null) return null;
  const [by, worker] = [validName(row.started_by), validName(row.worker)];
  if (by === null || worker === null) return null;
  const endedAtMs = fromOptionalTime(row.ended_at);
  return { number, kind, by, startedAtMs, endedAtMs, worker, state, detail: row.detail ?? '' };
}

function validName(text: string | null): string | null {
  return text === null || [...text].length > nameCharacters ? null : text;
}

function toRow(operation: StoredOperation) {
  return {
    number: operation.number,
    kind: operation.kind,
    started_by: truncate(operation.by, nameCharacters),
    started_at: toDatabaseTime(operation.startedAtMs),
    ...progressColumns(operation),
    worker: operation.worker,
  };
}

function progressColumns({ state, endedAtMs, detail }: Pick<StoredOperation, 'state' | 'endedAtMs' | 'detail'>) {
  return { state, ended_at: endedAtMs === null ? null : toDatabaseTime(endedAtMs), detail: detail.toWellFormed() };
}

async function beginOperation(
  db: SqlExecutor,
  next: StoredOperation,
  before: StoredOperation | null,
): Promise<boolean> {
  const result = await inTransaction(db, async (transaction) => {
    const query = selectRow(transaction);
    const row = await (db.dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst();
    if (row === undefined) return 'absent';
    if (!isSame(toOperation(row), before)) return 'another';
    await transaction.updateTable('admin_operation').set(toRow(next)).where('id', '=', operationId).execute();
    return 'replaced';
  });
  return result === 'replaced' || (result === 'absent' && before === null && (await addFirst(db, next)));
}

function isSame(one: StoredOperation | null, other: StoredOperation | null): boolean {
  if (one === null || other === null) return one === other;
  return one.number === other.number && one.worker === other.worker && one.state === other.state;
}

/** False: another worker was faster. */
async function addFirst(db: SqlExecutor, next: StoredOperation): Promise<boolean> {
  try {
    await db
      .insertInto('admin_operation')
      .values({ id: operationId, ...toRow(next) })
      .execute();
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

async function updateOperation(db: SqlExecutor, next: Parameters<AdminStore['updateOperation']>[0]): Promise<boolean> {
  const result = await db
    .updateTable('admin_operation')
    .set(progressColumns(next))
    .where('id', '=', operationId)
    .where('number', '=', next.number)
    .where('worker', '=', next.worker)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}
