/**
 * Encryption switch row: compare-and-swap on its revision, and a claim (lease) for one operation at a time.
 *
 * The row is returned as stored; the vault verifies its seal. A change names the revision that it is based on:
 * `switch_changed` when the row is at another. A claim expires by the clock of the database and is not part of the
 * seal; one that is longer than any operation requests is ignored. A missing row means the same as the initial row.
 */
import { type SqlBool, sql } from 'kysely';
import type { AuditEntry, SwitchReading } from '../../../encryption/ports.ts';
import { Failure, isFailure } from '../../../errors.ts';
import { initialSwitchRow, type SwitchRow, type SwitchState } from '../../../secret/switch.ts';
import { addAudit } from '../rows/audit.ts';
import { isSealableToken } from '../rows/grants.ts';
import { isSealable } from '../rows/mailbox-columns.ts';
import {
  boundedNumbers,
  boundedTexts,
  integerOf,
  nameCharacters,
  textOf,
  textOrNull,
  wordCharacters,
} from '../sql/bounded-columns.ts';
import { isDuplicateKey } from '../sql/errors.ts';
import { inTransaction } from '../sql/statements.ts';
import { fromOptionalTime, type SqlExecutor, toDatabaseTime } from '../sql/tables.ts';

const switchId = 1;
const claimTriesMax = 10;
/** The longest claim that an operation requests at a time. */
const claimMsMax = 600_000;

export async function readSwitch(db: SqlExecutor): Promise<SwitchReading> {
  const reading = await sql<SwitchColumns & { readonly has_plain: number; readonly has_sealed: number }>`
    select ${sql.join(switchColumns)}, exists(
      select 1 from mailboxes where password_form = 'plain' and state <> 'removing' and ${isSealable(db.dialect)}
    ) or exists(
      select 1 from oauth_grant where ${isSealableToken('refresh')}
    ) as has_plain, exists(
      select 1 from mailboxes where password_form = 'sealed' and state <> 'removing'
    ) or exists(
      select 1 from oauth_grant where refresh_form = 'sealed' and octet_length(refresh) > 0
    ) or exists(
      select 1 from oauth_access where access_form = 'sealed' and octet_length(access) > 0
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

const textColumns = {
  ...{ state: wordCharacters, key_id: wordCharacters, next_key_id: wordCharacters, changed_at: wordCharacters },
  ...{ seal: nameCharacters, changed_by: nameCharacters },
};

/** Read many times a second. */
const switchColumns = [
  ...boundedTexts('encryption_switch', textColumns),
  ...boundedNumbers('encryption_switch', 'revision'),
];

/** All null without the row. */
type SwitchColumns = { readonly [K in keyof typeof textColumns | 'revision']: string | null };

/** The vault refuses an unknown state, a time and a revision that are none, with the seal. */
function toSwitchRow(row: SwitchColumns): SwitchRow | null {
  if (row.state === null || row.changed_at === null) return null;
  return {
    state: textOf(row.state) as SwitchState,
    keyId: textOrNull(row.key_id),
    nextKeyId: textOrNull(row.next_key_id),
    revision: revisionOf(row.revision),
    seal: textOrNull(row.seal),
    changedAtMs: fromOptionalTime(textOf(row.changed_at)) ?? Number.NaN,
    changedBy: textOf(row.changed_by),
  };
}

/** One that is no integer is out of reach (`adoptableRevision`). */
function revisionOf(value: unknown): number {
  const revision = integerOf(value);
  return Number.isNaN(revision) ? Number.MAX_SAFE_INTEGER : revision;
}

/**
 * Compare-and-swap: `expectedRevision` is that of the row as read. 0, and -1 for a missing row, both match the initial
 * row and its absence. Throws `switch_changed`.
 */
export async function writeSwitch(
  db: SqlExecutor,
  row: SwitchRow,
  expectedRevision: number,
  audit: readonly AuditEntry[],
): Promise<void> {
  await inTransaction(db, (transaction) => replaceSwitch(transaction, row, expectedRevision, audit));
}

/** As `writeSwitch`, as a part of a transaction. */
export async function replaceSwitch(
  transaction: SqlExecutor,
  row: SwitchRow,
  expectedRevision: number,
  audit: readonly AuditEntry[],
): Promise<void> {
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
  await addAudit(transaction, audit);
}

/** Throws `switch_changed` when another process inserted the row first. */
async function addSwitch(db: SqlExecutor, row: SwitchRow): Promise<void> {
  try {
    await db
      .insertInto('encryption_switch')
      .values({ id: switchId, ...fromSwitchRow(row) })
      .execute();
  } catch (error) {
    if (isDuplicateKey(error)) throw switchChanged(-1);
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

/** Locks the row until the transaction ends. Throws `switch_changed`. */
export async function lockSwitch(db: SqlExecutor, revision: number): Promise<void> {
  const query = db
    .selectFrom('encryption_switch')
    .select(boundedNumbers('encryption_switch', 'revision'))
    .where('id', '=', switchId);
  const row = await (db.dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst();
  if ((row === undefined ? initialSwitchRow.revision : revisionOf(row.revision)) !== revision)
    throw switchChanged(revision);
}

/** For a password write, as the first statement of its transaction: every writer locks the switch first. */
export async function lockSwitchForWrite(db: SqlExecutor, revision: number): Promise<void> {
  await lockSwitch(db, revision);
  await markPasswordWrite(db);
}

/**
 * Writes to the locked switch row. On Galera a lock is local to its node, and only a write makes one of two
 * transactions on different nodes fail at certification. The value alternates: a count that another program led to its
 * maximum would refuse every password.
 */
export async function markPasswordWrite(db: SqlExecutor): Promise<void> {
  await db
    .updateTable('encryption_switch')
    .set({ password_writes: sql<number>`case when password_writes = 0 then 1 else 0 end` })
    .where('id', '=', switchId)
    .execute();
}

/** Not reentrant: the claim excludes two operations of one process as well. Returns the owner of a claim in force. */
export async function claimOperation(
  db: SqlExecutor,
  owner: string,
  forMs: number,
  isDead: (owner: string) => boolean,
): Promise<string | null> {
  let current: string | null = null;
  for (let attempt = 1; attempt <= claimTriesMax; attempt += 1) {
    const dead = current !== null && isDead(current) ? current : null;
    if (await takeClaim(db, owner, forMs, dead)) return null;
    const row = await readClaim(db);
    if (row === null) await restoreFirstRow(db);
    current = row?.operation_owner ?? null;
    if (current !== null && !isDead(current)) return current;
  }
  throw new Failure('database_conflict', 'The claim on the encryption switch changes its owner all the time.');
}

async function takeClaim(db: SqlExecutor, owner: string, forMs: number, dead: string | null): Promise<boolean> {
  const result = await db
    .updateTable('encryption_switch')
    .set({ operation_owner: owner, operation_until: db.dialect.nowPlus(forMs) })
    .where('id', '=', switchId)
    .where((where) =>
      where.or([
        where('operation_owner', 'is', null),
        where('operation_until', 'is', null),
        where('operation_until', '<=', db.dialect.now),
        where('operation_until', '>', db.dialect.nowPlus(claimMsMax)),
        ...(dead === null ? [] : [where('operation_owner', '=', dead)]),
      ]),
    )
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** null: no row. The owner is null without a claim in force. */
async function readClaim(db: SqlExecutor) {
  const isInForce = sql<SqlBool>`operation_until > ${db.dialect.now} and operation_until <= ${db.dialect.nowPlus(claimMsMax)}`;
  const row = await db
    .selectFrom('encryption_switch')
    .select(
      sql<string | null>`case when ${isInForce} then substr(operation_owner, 1, ${sql.lit(nameCharacters + 1)}) end`.as(
        'operation_owner',
      ),
    )
    .where('id', '=', switchId)
    .executeTakeFirst();
  return row ?? null;
}

/** Owner of the claim in force; null: none. */
export async function operationOwner(db: SqlExecutor): Promise<string | null> {
  return (await readClaim(db))?.operation_owner ?? null;
}

async function restoreFirstRow(db: SqlExecutor): Promise<void> {
  try {
    await addSwitch(db, initialSwitchRow);
  } catch (error) {
    // Another process inserted the row first.
    if (!isFailure(error, 'switch_changed')) throw error;
  }
}

/** Also renews an expired claim that no other operation took. Throws `operation_running` when one did. */
export async function renewOperation(db: SqlExecutor, owner: string, forMs: number): Promise<void> {
  const result = await db
    .updateTable('encryption_switch')
    .set({ operation_until: db.dialect.nowPlus(forMs) })
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

export function switchChanged(expectedRevision: number): Failure {
  const message = `The encryption switch is no longer at revision ${Math.max(0, expectedRevision)}.`;
  return new Failure('switch_changed', message, { fields: { revision: expectedRevision } });
}
