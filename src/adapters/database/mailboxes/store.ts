/**
 * Mailbox store: adds, lists and removes mailboxes. Implements MailboxStore of the ports; changes are in changes.ts.
 *
 * Passwords are read and written as bytes, in statements of their own. Errors are Failures: `not_found`,
 * `already_exists`, `switch_changed`, `database_*`.
 */
import { sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import { folderKey } from '../../../ingest/folder-epoch.ts';
import type { AuditActor, Cursor, Mailbox, NewPassword } from '../../../ingest/model.ts';
import type { MailboxStore } from '../../../ingest/stores.ts';
import { lockSwitchForWrite } from '../encryption/switch-row.ts';
import { addAudit } from '../rows/audit.ts';
import { listedColumns, mailboxColumn } from '../rows/mailbox-columns.ts';
import { healthSelection, mailboxRow, toListedMailbox, toMailbox } from '../rows/mailboxes.ts';
import { readPassword, withPasswordColumns } from '../rows/passwords.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { mailboxChanges, nameOf, passwordSet } from './changes.ts';

const outcomesPerDelete = 2000;
const newPerInsert = 500;

export function mailboxStore(db: SqlExecutor, dialect: SqlDialect): MailboxStore {
  return {
    ...mailboxChanges(db, dialect),
    addMailbox: (mailbox, password, cursor, by) => addMailbox(db, dialect, mailbox, password, cursor, by),
    mailboxByName: (name) => mailboxByName(db, name),
    mailboxById: (id) => mailboxById(db, id),
    listMailboxes: () => listMailboxes(db, dialect),
    leasedMailboxes: () => leasedMailboxes(db, dialect),
    removeMailbox: (id, by) => removeMailbox(db, dialect, id, by),
    scheduleNewMailboxes: () => scheduleNewMailboxes(db, dialect),
    readPassword: (id) => readPassword(db, dialect, id),
  };
}

async function addMailbox(
  db: SqlExecutor,
  dialect: SqlDialect,
  mailbox: Mailbox,
  password: NewPassword,
  cursor: Cursor | null,
  by: AuditActor,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, dialect, password.switchRevision);
    await withPasswordColumns(password, dialect, (columns) =>
      transaction
        .insertInto('mailboxes')
        .values({ ...mailboxRow(mailbox, dialect.now), ...columns })
        .execute(),
    );
    await transaction
      .insertInto('mailbox_state')
      .values({
        mailbox_id: mailbox.id,
        cursor_folder_epoch: cursor?.folderEpoch ?? null,
        cursor_uid: cursor?.uid ?? null,
        cursor_start_uid: cursor?.uid ?? null,
        cursor_folder_hash: cursor === null ? null : folderKey(mailbox.connection),
        lease_epoch: 0,
        next_poll_at: dialect.now,
        failures: 0,
      })
      .execute();
    await addAudit(transaction, dialect, [passwordSet(mailbox.id, mailbox.name, password, by)]);
  });
}

async function mailboxByName(db: SqlExecutor, name: string): Promise<Mailbox> {
  const row = await db.selectFrom('mailboxes').select(listedColumns).where('name', '=', name).executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`);
  return toMailbox(row);
}

async function mailboxById(db: SqlExecutor, id: string): Promise<Mailbox | null> {
  const row = await db.selectFrom('mailboxes').select(listedColumns).where('id', '=', id).executeTakeFirst();
  return row === undefined ? null : toMailbox(row);
}

/** A mailbox whose removal was interrupted has no state; it is listed, so that its removal can be repeated. */
async function listMailboxes(db: SqlExecutor, dialect: SqlDialect) {
  const rows = await db
    .selectFrom('mailboxes')
    .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
    .select([...listedColumns, ...healthSelection, dialect.now.as('now')])
    .orderBy('mailboxes.name')
    .execute();
  return rows.map(toListedMailbox);
}

async function leasedMailboxes(db: SqlExecutor, dialect: SqlDialect) {
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(['mailboxes.id', mailboxColumn('name'), 'lease_owner'])
    .where('lease_owner', 'is not', null)
    .where('lease_until', '>', dialect.now)
    .execute();
  return rows.flatMap(({ id, name, lease_owner: owner }) => (owner === null ? [] : [{ id, name, owner }]));
}

/**
 * First the password is emptied, and state `removing` keeps the mailbox off the schedule. Then `mailbox_state` is
 * deleted: without it no worker can take or renew a lease, so nothing is added meanwhile. The settings are deleted
 * last: an interrupted removal is found by name and completed by repeating it.
 */
async function removeMailbox(db: SqlExecutor, dialect: SqlDialect, id: string, by: AuditActor): Promise<void> {
  await db
    .updateTable('mailboxes')
    .set({ state: 'removing', password: new Uint8Array(0) })
    .where('id', '=', id)
    .execute();
  await db.deleteFrom('mailbox_state').where('mailbox_id', '=', id).execute();
  while (await removeOutcomes(db, id));
  await inTransaction(db, async (transaction) => {
    const detail = await nameOf(transaction, id);
    const { numDeletedRows } = await transaction.deleteFrom('mailboxes').where('id', '=', id).executeTakeFirst();
    if (numDeletedRows === 0n) return;
    const removed = { ...by, action: 'mailbox.removed', keyId: null, nextKeyId: null, mailboxId: id, detail };
    await addAudit(transaction, dialect, [removed]);
  });
}

/** Deletes a batch, so that no statement reaches its timeout; false when none was left. */
async function removeOutcomes(db: SqlExecutor, mailboxId: string): Promise<boolean> {
  const rows = await db
    .selectFrom('outcome')
    .select(['folder_epoch', 'uid'])
    .where('mailbox_id', '=', mailboxId)
    .orderBy('folder_epoch')
    .orderBy('uid')
    .limit(outcomesPerDelete)
    .execute();
  const last = rows.at(-1);
  if (last === undefined) return false;
  await db
    .deleteFrom('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where((where) =>
      where.or([
        where('folder_epoch', '<', last.folder_epoch),
        where.and([where('folder_epoch', '=', last.folder_epoch), where('uid', '<=', last.uid)]),
      ]),
    )
    .execute();
  return true;
}

/** Rows that another program inserted have no state yet. Usually there are none, and one query finds that. */
async function scheduleNewMailboxes(db: SqlExecutor, dialect: SqlDialect): Promise<number> {
  for (let scheduled = 0; ; ) {
    const rows = await db
      .selectFrom('mailboxes')
      .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
      .select('mailboxes.id')
      .where('mailboxes.state', 'in', ['active', 'paused'])
      .where('mailbox_state.mailbox_id', 'is', null)
      .limit(newPerInsert)
      .execute();
    const ids = rows.map((row) => row.id);
    const more = ids.length === 0 ? 0 : await insertStates(db, dialect, ids);
    if (more === 0) return scheduled;
    scheduled += more;
  }
}

/** Checks the state again, so that no mailbox gets a schedule whose removal began meanwhile. */
async function insertStates(db: SqlExecutor, dialect: SqlDialect, ids: readonly string[]): Promise<number> {
  const insert = db
    .insertInto('mailbox_state')
    .columns(['mailbox_id', 'next_poll_at', 'lease_epoch', 'failures'])
    .expression((from) =>
      from
        .selectFrom('mailboxes')
        .select(['id', dialect.now.as('next_poll_at'), sql<number>`0`.as('lease_epoch'), sql<number>`0`.as('failures')])
        .where('id', 'in', ids)
        .where('state', 'in', ['active', 'paused']),
    );
  const result = await (dialect.kind === 'mysql'
    ? insert.ignore()
    : insert.onConflict((at) => at.doNothing())
  ).executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0n);
}
