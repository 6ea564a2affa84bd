/**
 * Batch rewrite of passwords: sealed, re-encrypted under another key, or unsealed, one transaction per batch.
 *
 * A batch locks the switch row at its revision, so it never commits beside a change of the switch, and every row that
 * it changes: a concurrent write waits and then wins, or came first and is what gets rewritten. Rows are locked by id
 * alone, so that inserts do not wait. Every buffer that held a password is wiped. Errors: `switch_changed`,
 * `database_*`.
 */
import { type RawBuilder, sql } from 'kysely';
import type {
  AuditEntry,
  PasswordBatch,
  PasswordBatchResult,
  PasswordRewrite,
  PasswordRow,
  PasswordSelection,
} from '../../../encryption/ports.ts';
import { addAudit } from '../rows/audit.ts';
import {
  connectionColumns,
  holdsPassword,
  isSealable,
  type MailboxWhere,
  mailboxColumn,
  passwordBytes,
} from '../rows/mailbox-columns.ts';
import { rowConnection } from '../rows/mailboxes.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { chunksOfSizes, inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { lockSwitch, markPasswordWrite } from './switch-row.ts';

type Rewrite = (row: PasswordRow) => Promise<PasswordRewrite>;
type NewForm = Exclude<PasswordRewrite, null>;

/** `change` must not use the store: it would wait for the locks of this transaction. It may run again for a row. */
export async function rewritePasswords(
  db: SqlExecutor,
  batch: PasswordBatch,
  change: Rewrite,
): Promise<PasswordBatchResult> {
  const ids = await nextIds(db, batch);
  const counts = await inTransaction(db, (transaction) => rewriteBatch(transaction, batch, ids, change));
  const lastId = ids.at(-1) ?? null;
  // SQLite allows an id that is not UTF-8: it is read as another one, and without this check it would repeat forever.
  return { lastId: lastId === batch.after ? null : lastId, ...counts };
}

/** No lower bound for the first batch: MySQL pads ids with spaces, so an id of control characters sorts below ''. */
async function nextIds(db: SqlExecutor, { selection, after, limit }: PasswordBatch): Promise<readonly string[]> {
  const query = db
    .selectFrom('mailboxes')
    .select('id')
    .where((where) => isSelected(where, db.dialect, selection))
    .orderBy('id')
    .limit(limit);
  const rows = await (after === null ? query : query.where('id', '>', after)).execute();
  return rows.map((row) => row.id);
}

function isSelected(where: MailboxWhere, dialect: SqlDialect, selection: PasswordSelection) {
  const isThere = where('state', '<>', 'removing');
  const isPlain = where('password_form', '=', 'plain');
  if (selection === 'plain') return where.and([isThere, isPlain, holdsPassword(dialect)]);
  if (selection === 'sealable') return where.and([isThere, isPlain, isSealable(dialect)]);
  const isSealed = where('password_form', '=', 'sealed');
  if (selection === 'sealed') return where.and([isThere, isSealed]);
  const isUnderOther = [where('password_key_id', 'is', null), where('password_key_id', '<>', selection.notUnder)];
  return where.and([isThere, isSealed, where.or(isUnderOther)]);
}

async function rewriteBatch(
  db: SqlExecutor,
  batch: PasswordBatch,
  ids: readonly string[],
  change: Rewrite,
): Promise<{ readonly seen: number; readonly changed: number }> {
  await lockSwitch(db, batch.revision);
  if (ids.length === 0) return { seen: 0, changed: 0 };
  const rows = await lockRows(db, batch.selection, ids);
  const changes = await rewriteRows(rows, change);
  try {
    const changed = rows.flatMap((row, index) => {
      const rewrite = changes[index] ?? null;
      return rewrite === null ? [] : [{ row, rewrite }];
    });
    for (const alike of groups(changed)) {
      for (const chunk of chunksOfSizes(alike, db.dialect.updateSizes)) await writeRows(db, chunk);
    }
    if (changed.length > 0) await markPasswordWrite(db);
    await addAudit(
      db,
      changed.map((one) => auditOf(one, batch.audit)),
    );
    return { seen: rows.length, changed: changed.length };
  } finally {
    wipe(changes);
  }
}

type LockedRow = Awaited<ReturnType<typeof lockRows>>[number];
type Changed = { readonly row: LockedRow; readonly rewrite: NewForm };

/** Locks the rows of `ids` that still match the selection, in order. */
async function lockRows(db: SqlExecutor, selection: PasswordSelection, ids: readonly string[]) {
  const query = db
    .selectFrom('mailboxes')
    .select(['id', mailboxColumn('name'), ...connectionColumns])
    .select([
      mailboxColumn('password_form'),
      mailboxColumn('password_key_id'),
      passwordBytes(db.dialect).as('password'),
    ])
    .where('id', 'in', ids)
    .where((where) => isSelected(where, db.dialect, selection))
    .orderBy('id');
  return await (db.dialect.kind === 'mysql' ? query.forUpdate() : query).execute();
}

/** Concurrently. Returns after every one has ended: none may run beyond the transaction. */
async function rewriteRows(rows: readonly LockedRow[], change: Rewrite): Promise<readonly PasswordRewrite[]> {
  const endings = await Promise.allSettled(rows.map((row) => rewriteRow(row, change)));
  const changes = endings.map((ending) => (ending.status === 'fulfilled' ? ending.value : null));
  const failed = endings.find((ending) => ending.status === 'rejected');
  if (failed === undefined) return changes;
  wipe(changes);
  throw failed.reason;
}

async function rewriteRow(row: LockedRow, change: Rewrite): Promise<PasswordRewrite> {
  try {
    return await change(toPasswordRow(row));
  } finally {
    row.password.fill(0);
  }
}

/** The selection admits no other form. */
function toPasswordRow(row: LockedRow): PasswordRow {
  return {
    mailboxId: row.id,
    name: row.name,
    connection: rowConnection(row),
    form: row.password_form === 'sealed' ? 'sealed' : 'plain',
    bytes: row.password,
  };
}

function wipe(changes: readonly PasswordRewrite[]): void {
  for (const rewrite of changes) if (rewrite?.form === 'plain') rewrite.password.wipe();
}

/** Groups that one statement can write: all columns but the bytes are equal. */
function groups(changed: readonly Changed[]): Iterable<readonly Changed[]> {
  return Map.groupBy(changed, ({ row, rewrite }) =>
    JSON.stringify([row.password_form, rewrite.form, rewrite.form === 'sealed' ? rewrite.keyId : null]),
  ).values();
}

/** One statement for many rows: round trips would take most of the time. */
async function writeRows(db: SqlExecutor, alike: readonly Changed[]): Promise<void> {
  const [first] = alike;
  if (first === undefined) return;
  const { row, rewrite } = first;
  const ids = alike.map((one) => one.row.id);
  await lendBytes(alike, [], async (values) => {
    const cases = values.map((bytes, index) => sql`when ${ids[index]} then ${bytes}`);
    await db
      .updateTable('mailboxes')
      .set({
        password: sql<Uint8Array>`case id ${sql.join(cases, sql` `)} end`,
        password_form: rewrite.form,
        password_key_id: rewrite.form === 'sealed' ? rewrite.keyId : null,
        ...plaintextTimes(row.password_form === 'plain', rewrite.form === 'plain', db.dialect),
        // The password itself is unchanged, so `changed_at` stays.
        ...(db.dialect.kind === 'mysql' ? { changed_at: sql<string>`changed_at` } : {}),
      })
      .where('id', 'in', ids)
      .execute();
  });
}

/** Calls `use` with the bytes of all changes, borrowed together. */
function lendBytes(
  [first, ...others]: readonly Changed[],
  lent: readonly Uint8Array[],
  use: (values: readonly Uint8Array[]) => Promise<void>,
): Promise<void> {
  if (first === undefined) return use(lent);
  const { rewrite } = first;
  if (rewrite.form === 'sealed') return lendBytes(others, [...lent, rewrite.sealed], use);
  return rewrite.password.use((bytes) => lendBytes(others, [...lent, bytes], use));
}

type PlaintextTimes = { plaintext_since?: RawBuilder<string>; plaintext_until?: RawBuilder<string> | null };

/**
 * The period in plain text stays recorded while the password is the same. A row of another program counts as plain text
 * since its creation.
 */
function plaintextTimes(wasPlain: boolean, isPlain: boolean, dialect: SqlDialect): PlaintextTimes {
  const since = sql<string>`coalesce(plaintext_since, created_at)`;
  const sinceNow = sql<string>`coalesce(plaintext_since, ${dialect.now})`;
  if (isPlain) return { plaintext_since: wasPlain ? since : sinceNow, plaintext_until: null };
  return wasPlain ? { plaintext_since: since, plaintext_until: dialect.now } : {};
}

/** Re-encryption names the new key as the next one. */
function auditOf({ row, rewrite }: Changed, audit: PasswordBatch['audit']): AuditEntry {
  const before = row.password_form === 'sealed' ? row.password_key_id : null;
  const after = rewrite.form === 'sealed' ? rewrite.keyId : null;
  const isResealed = row.password_form === 'sealed' && rewrite.form === 'sealed';
  return {
    ...audit,
    keyId: isResealed ? before : (after ?? before),
    nextKeyId: isResealed ? after : null,
    mailboxId: row.id,
    detail: row.name,
  };
}
