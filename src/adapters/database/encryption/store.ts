/**
 * What the workflows of keys and the switch need from the database. Implements EncryptionStore of the ports.
 *
 * The switch is in switch-rows.ts, changes of passwords in password-changes.ts; here are the counts, the rebuilding of
 * the table, and the emptying of SQLite's write-ahead log. A mailbox that is being removed counts nowhere: it has no password any more. Errors are Failures.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type ExpressionBuilder, type RawBuilder, sql } from 'kysely';
import type {
  AuditEntry,
  EncryptionStore,
  PasswordBatch,
  PasswordBatchResult,
  PasswordCounts,
  PasswordRewrite,
  PasswordRow,
  PasswordSelection,
  PlaintextPeriod,
} from '../../../encryption/ports.ts';
import { Failure } from '../../../errors.ts';
import { addAudit, readAudit } from '../rows/audit.ts';
import { connectionColumns, mailboxColumn } from '../rows/mailbox-columns.ts';
import { rowConnection } from '../rows/mailboxes.ts';
import { isSealable, lacksOpenKey, passwordBytes } from '../rows/passwords.ts';
import { listWorkers, removeWorker, reportWorker } from '../rows/workers.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { chunksOfSizes } from '../sql/statements.ts';
import type { SqlExecutor, Tables } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';
import { fromForeignTime } from '../sql/values.ts';
import {
  claimOperation,
  countPasswordWrite,
  endOperation,
  lockSwitch,
  readSwitch,
  renewOperation,
  writeSwitch,
} from './switch.ts';

const emptyTriesMax = 100;
const emptyStepMs = 50;

export function encryptionStore(db: SqlExecutor, dialect: SqlDialect): EncryptionStore {
  return {
    readSwitch: () => readSwitch(db, dialect),
    writeSwitch: (row, expectedRevision, audit) => writeSwitch(db, dialect, row, expectedRevision, audit),
    claimOperation: (owner, forMs, isDead) => claimOperation(db, dialect, owner, forMs, isDead),
    renewOperation: (owner, forMs) => renewOperation(db, dialect, owner, forMs),
    endOperation: (owner) => endOperation(db, owner),
    rewritePasswords: dialect.kind === 'mysql' ? onServer(db, dialect) : inFile(db, dialect),
    passwordCounts: () => passwordCounts(db),
    plaintextPeriods: () => plaintextPeriods(db),
    countMailboxesWithoutKey: (keyIds) => countMailboxesWithoutKey(db, keyIds),
    rebuildMailboxTable: () => (dialect.kind === 'mysql' ? rebuildTable(db) : rebuildFile(db)),
    audit: (entries) => addAudit(db, dialect, entries),
    readAudit: (limit, about) => readAudit(db, limit, about),
    reportWorker: (report) => reportWorker(db, dialect, report),
    removeWorker: (worker) => removeWorker(db, worker),
    listWorkers: (liveMs) => listWorkers(db, dialect, liveMs),
  };
}

type ChangePasswords = EncryptionStore['rewritePasswords'];

function onServer(db: SqlExecutor, dialect: SqlDialect): ChangePasswords {
  return (stretch, change) => rewritePasswords(db, dialect, stretch, change);
}

/**
 * What stood readable must not stay in the log. Where somebody is reading in it, the next stretch tries again. What another
 * program without secure_delete left in unused parts of the file goes with `rebuildMailboxTable` alone.
 */
function inFile(db: SqlExecutor, dialect: SqlDialect): ChangePasswords {
  let isEmptied = true;
  return async (stretch, change) => {
    const result = await rewritePasswords(db, dialect, stretch, change);
    if (result.changed > 0) isEmptied = false;
    if (!isEmptied) isEmptied = await emptyLog(db);
    return result;
  };
}

async function passwordCounts(db: SqlExecutor): Promise<PasswordCounts> {
  const rows = await db
    .selectFrom('mailboxes')
    .select((mailbox) => ['password_form', 'password_key_id', mailbox.fn.countAll<number>().as('count')])
    .where('state', '<>', 'removing')
    .groupBy(['password_form', 'password_key_id'])
    .orderBy('password_key_id')
    .execute();
  const of = (form: string) => rows.filter((row) => row.password_form === form);
  const total = (form: string) => of(form).reduce((sum, row) => sum + Number(row.count), 0);
  const byKey = of('sealed').map((row) => ({ keyId: row.password_key_id, count: Number(row.count) }));
  return { sealed: total('sealed'), plaintext: total('plain'), byKey };
}

/** A row of somebody else has been readable since it was made, for all that is known. */
async function plaintextPeriods(db: SqlExecutor): Promise<readonly PlaintextPeriod[]> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([mailboxColumn('name'), mailboxColumn('password_form'), mailboxColumn('created_at')])
    .select([mailboxColumn('plaintext_since'), mailboxColumn('plaintext_until')])
    .where('state', '<>', 'removing')
    .where((where) => where.or([where('plaintext_since', 'is not', null), where('password_form', '=', 'plain')]))
    .orderBy('mailboxes.name')
    .execute();
  return rows.map((row) => {
    const sinceMs = fromForeignTime(row.plaintext_since ?? row.created_at) ?? 0;
    const untilMs = row.password_form === 'plain' ? null : (fromForeignTime(row.plaintext_until) ?? sinceMs);
    return { mailbox: row.name, sinceMs, untilMs };
  });
}

async function countMailboxesWithoutKey(db: SqlExecutor, keyIds: readonly string[]): Promise<number> {
  const row = await db
    .selectFrom('mailboxes')
    .select((mailbox) => mailbox.fn.countAll<number>().as('count'))
    .where('state', '=', 'active')
    .where((where) => lacksOpenKey(where, keyIds))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

async function rebuildTable(db: SqlExecutor): Promise<void> {
  await sql`alter table mailboxes engine=InnoDB`.execute(db);
}

/** The whole file, and the write-ahead log emptied, as soon as nobody is reading in it. */
async function rebuildFile(db: SqlExecutor): Promise<void> {
  await sql`vacuum`.execute(db);
  for (let attempt = 1; attempt <= emptyTriesMax; attempt += 1) {
    if (await emptyLog(db)) return;
    await sleep(emptyStepMs);
  }
  const message = 'The write-ahead log could not be emptied: another process keeps reading the database file.';
  throw new Failure('database_conflict', message);
}

/** Writes what is in the write-ahead log into the file, and cuts it to nothing; false while somebody is reading in it. */
async function emptyLog(db: SqlExecutor): Promise<boolean> {
  const emptied = await sql<{ busy: number }>`pragma wal_checkpoint(truncate)`.execute(db);
  return emptied.rows[0]?.busy === 0;
}

/**
 * Passwords changed stretch after stretch: sealed, resealed under another key, or unsealed.
 *
 * A stretch is one transaction. It holds the row of the switch at its revision, so it never commits beside a change of
 * the switch, and it holds each row that it changes: what somebody writes meanwhile waits and then stands, or was there
 * before and is what is changed. Rows are locked by their ids alone, so that new ones are not kept waiting. Every buffer
 * that held a password is wiped. Errors: `switch_changed`, `database_*`.
 */

type Change = (row: PasswordRow) => Promise<PasswordRewrite>;
type Made = Exclude<PasswordRewrite, null>;
type MailboxWhere = ExpressionBuilder<Tables, 'mailboxes'>;

/** `change` must not use the store: the transaction holds what it would wait for. It may be called again for a row. */
async function rewritePasswords(
  db: SqlExecutor,
  dialect: SqlDialect,
  stretch: PasswordBatch,
  change: Change,
): Promise<PasswordBatchResult> {
  const ids = await nextIds(db, dialect, stretch);
  const counts = await inTransaction(db, (transaction) => changeThese(transaction, dialect, stretch, ids, change));
  const lastId = ids.at(-1) ?? null;
  // An id that is not UTF-8, which SQLite allows, comes out as another one, and might be met again for ever.
  return { lastId: lastId === stretch.after ? null : lastId, ...counts };
}

/** No id is the least that there can be: in MySQL, which fills ids up with spaces, one of control characters is below ''. */
async function nextIds(
  db: SqlExecutor,
  dialect: SqlDialect,
  { selection: choice, after, limit }: PasswordBatch,
): Promise<readonly string[]> {
  const query = db
    .selectFrom('mailboxes')
    .select('id')
    .where((where) => isChosen(where, dialect, choice))
    .orderBy('id')
    .limit(limit);
  const rows = await (after === null ? query : query.where('id', '>', after)).execute();
  return rows.map((row) => row.id);
}

function isChosen(where: MailboxWhere, dialect: SqlDialect, choice: PasswordSelection) {
  const isThere = where('state', '<>', 'removing');
  const isPlain = where('password_form', '=', 'plain');
  if (choice === 'plain') return where.and([isThere, isPlain]);
  if (choice === 'sealable') return where.and([isThere, isPlain, isSealable(dialect)]);
  const isSealed = where('password_form', '=', 'sealed');
  if (choice === 'sealed') return where.and([isThere, isSealed]);
  const isUnderOther = [where('password_key_id', 'is', null), where('password_key_id', '<>', choice.notUnder)];
  return where.and([isThere, isSealed, where.or(isUnderOther)]);
}

async function changeThese(
  db: SqlExecutor,
  dialect: SqlDialect,
  stretch: PasswordBatch,
  ids: readonly string[],
  change: Change,
): Promise<{ readonly seen: number; readonly changed: number }> {
  await lockSwitch(db, dialect, stretch.revision);
  if (ids.length === 0) return { seen: 0, changed: 0 };
  const rows = await holdRows(db, dialect, stretch.selection, ids);
  const changes = await changesOf(rows, change);
  try {
    const changed = rows.flatMap((row, index) => {
      const made = changes[index] ?? null;
      return made === null ? [] : [{ row, made }];
    });
    for (const alike of groups(changed)) {
      for (const chunk of chunksOfSizes(alike, dialect.updateSizes)) await writeChanges(db, dialect, chunk);
    }
    if (changed.length > 0) await countPasswordWrite(db);
    await addAudit(
      db,
      dialect,
      changed.map((one) => auditOf(one, stretch.audit)),
    );
    return { seen: rows.length, changed: changed.length };
  } finally {
    wipe(changes);
  }
}

type HeldRow = Awaited<ReturnType<typeof holdRows>>[number];
type Changed = { readonly row: HeldRow; readonly made: Made };

/** Those of `ids` that are still in the choice, in their order. */
async function holdRows(db: SqlExecutor, dialect: SqlDialect, choice: PasswordSelection, ids: readonly string[]) {
  const query = db
    .selectFrom('mailboxes')
    .select(['id', mailboxColumn('name'), ...connectionColumns])
    .select([mailboxColumn('password_form'), mailboxColumn('password_key_id'), passwordBytes(dialect).as('password')])
    .where('id', 'in', ids)
    .where((where) => isChosen(where, dialect, choice))
    .orderBy('id');
  return await (dialect.kind === 'mysql' ? query.forUpdate() : query).execute();
}

/** All at once. Ends when each has ended: nothing may be under way when the transaction ends. */
async function changesOf(rows: readonly HeldRow[], change: Change): Promise<readonly PasswordRewrite[]> {
  const endings = await Promise.allSettled(rows.map((row) => changeOf(row, change)));
  const changes = endings.map((ending) => (ending.status === 'fulfilled' ? ending.value : null));
  const failed = endings.find((ending) => ending.status === 'rejected');
  if (failed === undefined) return changes;
  wipe(changes);
  throw failed.reason;
}

async function changeOf(row: HeldRow, change: Change): Promise<PasswordRewrite> {
  try {
    return await change(toPasswordRow(row));
  } finally {
    row.password.fill(0);
  }
}

/** The form is one of two dialect, because the row is in the choice. */
function toPasswordRow(row: HeldRow): PasswordRow {
  return {
    mailboxId: row.id,
    name: row.name,
    connection: rowConnection(row),
    form: row.password_form === 'sealed' ? 'sealed' : 'plain',
    bytes: row.password,
  };
}

function wipe(changes: readonly PasswordRewrite[]): void {
  for (const made of changes) if (made?.form === 'plain') made.password.wipe();
}

/** Those that one statement can write: everything but the bytes is the same for all of them. */
function groups(changed: readonly Changed[]): Iterable<readonly Changed[]> {
  return Map.groupBy(changed, ({ row, made }) =>
    JSON.stringify([row.password_form, made.form, made.form === 'sealed' ? made.keyId : null]),
  ).values();
}

/** One statement: a trip to the server for each row would take most of the time. */
async function writeChanges(db: SqlExecutor, dialect: SqlDialect, alike: readonly Changed[]): Promise<void> {
  const [first] = alike;
  if (first === undefined) return;
  const { row, made } = first;
  const ids = alike.map((one) => one.row.id);
  await lendBytes(alike, [], async (values) => {
    const whens = values.map((bytes, index) => sql`when ${ids[index]} then ${bytes}`);
    await db
      .updateTable('mailboxes')
      .set({
        password: sql<Uint8Array>`case id ${sql.join(whens, sql` `)} end`,
        password_form: made.form,
        password_key_id: made.form === 'sealed' ? made.keyId : null,
        ...readableTimes(row.password_form === 'plain', made.form === 'plain', dialect),
        // The password is the same in another form: that is no change to whoever works with the mailbox.
        ...(dialect.kind === 'mysql' ? { changed_at: sql<string>`changed_at` } : {}),
      })
      .where('id', 'in', ids)
      .execute();
  });
}

/** Lends the bytes of all of them at once to `use`. */
function lendBytes(
  [first, ...others]: readonly Changed[],
  lent: readonly Uint8Array[],
  use: (values: readonly Uint8Array[]) => Promise<void>,
): Promise<void> {
  if (first === undefined) return use(lent);
  const { made } = first;
  if (made.form === 'sealed') return lendBytes(others, [...lent, made.sealed], use);
  return made.password.use((bytes) => lendBytes(others, [...lent, bytes], use));
}

type ReadableTimes = { plaintext_since?: RawBuilder<string>; plaintext_until?: RawBuilder<string> | null };

/** What was readable stays told, over disabling and enabling too, as the password is the same; a row of somebody else has been readable since it was made, for all that is known. */
function readableTimes(wasPlain: boolean, isPlain: boolean, dialect: SqlDialect): ReadableTimes {
  const since = sql<string>`coalesce(plaintext_since, created_at)`;
  const sinceNow = sql<string>`coalesce(plaintext_since, ${dialect.now})`;
  if (isPlain) return { plaintext_since: wasPlain ? since : sinceNow, plaintext_until: null };
  return wasPlain ? { plaintext_since: since, plaintext_until: dialect.now } : {};
}

/** A key that takes the place of another is told as the next one. */
function auditOf({ row, made }: Changed, audit: PasswordBatch['audit']): AuditEntry {
  const before = row.password_form === 'sealed' ? row.password_key_id : null;
  const after = made.form === 'sealed' ? made.keyId : null;
  const isResealed = row.password_form === 'sealed' && made.form === 'sealed';
  return {
    ...audit,
    keyId: isResealed ? before : (after ?? before),
    nextKeyId: isResealed ? after : null,
    mailboxId: row.id,
    detail: row.name,
  };
}
