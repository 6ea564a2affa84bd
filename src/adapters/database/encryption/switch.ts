/**
 * The row of the encryption switch: read, changed by compare and swap, and claimed by one operation at a time.
 *
 * What is read is handed on as it is; the vault judges whether to believe it. A change names the revision that it is
 * based on: `switch_changed` when the row is at another. A claim lasts by the database's clock, and is no part of the
 * seal; one that says to last longer than any operation asks for is not believed. A table without the row says the same
 * as its first row does.
 */
import { type SqlBool, sql } from 'kysely';
import type { AuditEntry, SwitchReading } from '../../../encryption/ports.ts';
import { Failure, isFailure } from '../../../errors.ts';
import { initialSwitchRow, type SwitchRow, type SwitchState } from '../../../secret/switch.ts';
import { addAudit } from '../rows/audit.ts';
import { isSealable } from '../rows/passwords.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { EncryptionSwitchTable, SqlExecutor } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';
import { fromDatabaseTime, toDatabaseTime } from '../sql/values.ts';

const switchId = 1;
const claimTriesMax = 10;
/** No operation asks for more at a time. */
const claimMsMax = 600_000;

/** One query. */
export async function readSwitch(db: SqlExecutor, dialect: SqlDialect): Promise<SwitchReading> {
  const reading = await sql<SwitchColumns & { readonly has_plain: number; readonly has_sealed: number }>`
    select encryption_switch.*, exists(
      select 1 from mailboxes where password_form = 'plain' and state <> 'removing' and ${isSealable(dialect)}
    ) as has_plain, exists(
      select 1 from mailboxes where password_form = 'sealed' and state <> 'removing'
    ) as has_sealed
    from (select 1 as one) as one left join encryption_switch on encryption_switch.id = ${sql.lit(switchId)}`.execute(
    db,
  );
  const [row] = reading.rows;
  return {
    row: row === undefined ? null : toSwitchRow(row),
    hasPlaintext: row?.has_plain === 1,
    hasSealed: row?.has_sealed === 1,
  };
}

/** Without the row all of them are null. */
type SwitchColumns = {
  readonly [K in 'key_id' | 'next_key_id' | 'seal' | 'state' | 'revision' | 'changed_at' | 'changed_by']:
    | EncryptionSwitchTable[K]
    | null;
};

function toSwitchRow(row: SwitchColumns): SwitchRow | null {
  if (row.state === null || row.changed_at === null) return null;
  return {
    // A word that this program does not know is well formed nowhere, so the row is not believed.
    state: row.state as SwitchState,
    keyId: row.key_id,
    nextKeyId: row.next_key_id,
    revision: Number(row.revision),
    seal: row.seal,
    changedAtMs: fromDatabaseTime(row.changed_at),
    changedBy: row.changed_by ?? '',
  };
}

/**
 * `expectedRevision` is that of the row as it was read; 0, and -1, which stands for no row, both take the first row or
 * its absence. Throws `switch_changed`.
 */
export async function writeSwitch(
  db: SqlExecutor,
  dialect: SqlDialect,
  row: SwitchRow,
  expectedRevision: number,
  audit: readonly AuditEntry[],
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('encryption_switch')
      .set(fromSwitchRow(row))
      .where('id', '=', switchId)
      .where('revision', '=', Math.max(0, expectedRevision))
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) {
      if (expectedRevision > initialSwitchRow.revision) throw switchChanged(expectedRevision);
      await addSwitch(transaction, row);
    }
    await addAudit(transaction, dialect, audit);
  });
}

/** Throws `switch_changed` when somebody else has put a row there. */
async function addSwitch(db: SqlExecutor, row: SwitchRow): Promise<void> {
  try {
    await db
      .insertInto('encryption_switch')
      .values({ id: switchId, ...fromSwitchRow(row) })
      .execute();
  } catch (error) {
    if (isFailure(error, 'database_failed') && error.fields['key'] !== undefined) throw switchChanged(-1);
    throw error;
  }
}

function fromSwitchRow(row: SwitchRow) {
  return {
    state: row.state,
    key_id: row.keyId,
    next_key_id: row.nextKeyId,
    revision: row.revision,
    seal: row.seal,
    changed_at: toDatabaseTime(row.changedAtMs),
    changed_by: row.changedBy,
  };
}

/** Holds the row until the transaction ends. Throws `switch_changed`. */
export async function lockSwitch(db: SqlExecutor, dialect: SqlDialect, revision: number): Promise<void> {
  const query = db.selectFrom('encryption_switch').select('revision').where('id', '=', switchId);
  const row = await (dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst();
  if ((row?.revision ?? initialSwitchRow.revision) !== revision) throw switchChanged(revision);
}

/** The same for who is about to write a password. Before anything else in the transaction: all lock the switch first. */
export async function lockSwitchForWrite(db: SqlExecutor, dialect: SqlDialect, revision: number): Promise<void> {
  await lockSwitch(db, dialect, revision);
  await countPasswordWrite(db);
}

/**
 * Writes to the row that `holdSwitch` holds. On Galera a lock is known to its own node alone, and only what is written
 * makes one of two transactions on different nodes fail.
 */
export async function countPasswordWrite(db: SqlExecutor): Promise<void> {
  await db
    .updateTable('encryption_switch')
    .set({ password_writes: sql<number>`password_writes + 1` })
    .where('id', '=', switchId)
    .execute();
}

/** Not even who has the claim gets it again: it keeps two operations of one process apart, too. */
export async function claimOperation(
  db: SqlExecutor,
  dialect: SqlDialect,
  owner: string,
  forMs: number,
  isDead: (owner: string) => boolean,
): Promise<string | null> {
  let current: string | null = null;
  for (let attempt = 1; attempt <= claimTriesMax; attempt += 1) {
    const dead = current !== null && isDead(current) ? current : null;
    if (await takeClaim(db, dialect, owner, forMs, dead)) return null;
    const row = await readClaim(db, dialect);
    if (row === null) await restoreFirstRow(db);
    current = row?.operation_owner ?? null;
    if (current !== null && !isDead(current)) return current;
  }
  throw new Failure('database_conflict', 'The claim on the encryption switch changes hands all the time.');
}

async function takeClaim(
  db: SqlExecutor,
  dialect: SqlDialect,
  owner: string,
  forMs: number,
  dead: string | null,
): Promise<boolean> {
  const result = await db
    .updateTable('encryption_switch')
    .set({ operation_owner: owner, operation_until: dialect.nowPlus(forMs) })
    .where('id', '=', switchId)
    .where((where) =>
      where.or([
        where('operation_owner', 'is', null),
        where('operation_until', 'is', null),
        where('operation_until', '<=', dialect.now),
        where('operation_until', '>', dialect.nowPlus(claimMsMax)),
        ...(dead === null ? [] : [where('operation_owner', '=', dead)]),
      ]),
    )
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** null: there is no row. The owner is null when no claim is in force. */
async function readClaim(db: SqlExecutor, dialect: SqlDialect) {
  const isInForce = sql<SqlBool>`operation_until > ${dialect.now} and operation_until <= ${dialect.nowPlus(claimMsMax)}`;
  const row = await db
    .selectFrom('encryption_switch')
    .select((column) =>
      column.case().when(isInForce).then(column.ref('operation_owner')).else(null).end().as('operation_owner'),
    )
    .where('id', '=', switchId)
    .executeTakeFirst();
  return row ?? null;
}

async function restoreFirstRow(db: SqlExecutor): Promise<void> {
  try {
    await addSwitch(db, initialSwitchRow);
  } catch (error) {
    // Somebody else was faster.
    if (!isFailure(error, 'switch_changed')) throw error;
  }
}

/** Also renews a claim that ran out but that nobody took. Throws `operation_running` when somebody has it. */
export async function renewOperation(
  db: SqlExecutor,
  dialect: SqlDialect,
  owner: string,
  forMs: number,
): Promise<void> {
  const result = await db
    .updateTable('encryption_switch')
    .set({ operation_until: dialect.nowPlus(forMs) })
    .where('id', '=', switchId)
    .where('operation_owner', '=', owner)
    .executeTakeFirst();
  if (result.numUpdatedRows === 1n) return;
  throw new Failure('operation_running', 'This operation lost its claim on the encryption switch to another one.');
}

export async function endOperation(db: SqlExecutor, owner: string): Promise<void> {
  await db
    .updateTable('encryption_switch')
    .set({ operation_owner: null, operation_until: null })
    .where('id', '=', switchId)
    .where('operation_owner', '=', owner)
    .execute();
}

function switchChanged(expectedRevision: number): Failure {
  const message = `The encryption switch is not at revision ${Math.max(0, expectedRevision)} any more.`;
  return new Failure('switch_changed', message, { fields: { revision: expectedRevision } });
}
