/**
 * Mailboxes: settings, passwords, how they fare. Implements MailboxStore of the ports.
 *
 * Passwords go in and out as bytes, in statements of their own. Errors are Failures: `not_found`, `already_exists`,
 * `switch_changed`, `database_*`.
 */

import { sql } from 'kysely';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { Failure } from '../../../errors.ts';
import { folderKey } from '../../../ingest/folder-epoch.ts';
import type { AuditActor, Cursor, Mailbox, NewPassword } from '../../../ingest/model.ts';
import type { MailboxStore, VersionedMailbox } from '../../../ingest/stores.ts';
import { lockSwitchForWrite } from '../encryption/switch.ts';
import { addAudit } from '../rows/audit.ts';
import { listedColumns, mailboxColumn } from '../rows/mailbox-columns.ts';
import { mailboxRow, passwordForm, toListedMailbox, toMailbox } from '../rows/mailboxes.ts';
import { type PasswordColumns, readPassword, withPasswordColumns } from '../rows/passwords.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';

const outcomesPerDelete = 2000;
const adoptedAtOnce = 500;

const stateColumns = [
  'mailbox_state.cursor_folder_epoch',
  'mailbox_state.cursor_uid',
  'mailbox_state.lease_owner',
  'mailbox_state.lease_epoch',
  'mailbox_state.lease_until',
  'mailbox_state.next_poll_at',
  'mailbox_state.failures',
  'mailbox_state.last_success_at',
  'mailbox_state.last_error_code',
  'mailbox_state.last_error_message',
  'mailbox_state.last_error_hint',
  'mailbox_state.last_error_at',
  'mailbox_state.failing_since',
  'mailbox_state.login_failures',
] as const;

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

/** One whose removal was interrupted has no state any more; it is listed, so that somebody removes it again. */
async function listMailboxes(db: SqlExecutor, dialect: SqlDialect) {
  const rows = await db
    .selectFrom('mailboxes')
    .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
    .select([...listedColumns, ...stateColumns, dialect.now.as('now')])
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
 * The password goes at once, and nobody gives the mailbox a schedule again. Then the state: without it no worker can take
 * or keep a lease, so nothing is added behind our back. The settings go last: a removal that was interrupted is found by
 * name and ended by removing it again.
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

/** A stretch of them, so that no statement runs into the deadline; false when there was nothing left. */
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

/** Those that somebody else wrote have no state yet. Usually there are none, and one query tells. */
async function scheduleNewMailboxes(db: SqlExecutor, dialect: SqlDialect): Promise<number> {
  for (let adopted = 0; ; ) {
    const rows = await db
      .selectFrom('mailboxes')
      .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
      .select('mailboxes.id')
      .where('mailboxes.state', 'in', ['active', 'paused'])
      .where('mailbox_state.mailbox_id', 'is', null)
      .limit(adoptedAtOnce)
      .execute();
    const ids = rows.map((row) => row.id);
    const more = ids.length === 0 ? 0 : await adopt(db, dialect, ids);
    if (more === 0) return adopted;
    adopted += more;
  }
}

/** Looks at the rows once more, so that none is adopted whose removal began meanwhile. */
async function adopt(db: SqlExecutor, dialect: SqlDialect, ids: readonly string[]): Promise<number> {
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

/**
 * Changes of a mailbox that is there: its state, its addresses, its password, its settings. Part of MailboxStore.
 *
 * Each makes the mailbox due at once, but for the addresses, and is seen by a visit that rests: the row has another version
 * then. A password is written at the revision of the switch that it is prepared for, or not at all, as its key may be gone
 * after that. Errors are Failures: `not_found`, `already_exists`, `refused`, `switch_changed`, `database_*`.
 */

type Changes = Pick<
  MailboxStore,
  'setMailboxState' | 'setAddresses' | 'setPassword' | 'versionedMailbox' | 'changeMailbox'
>;

function mailboxChanges(db: SqlExecutor, dialect: SqlDialect): Changes {
  return {
    setMailboxState: (id, state) => setMailboxState(db, dialect, id, state),
    setAddresses: (id, addresses) => setAddresses(db, dialect, id, addresses),
    setPassword: (id, password, by) => setPassword(db, dialect, id, password, by),
    versionedMailbox: (name) => versionedMailbox(db, name),
    changeMailbox: (before, after, password, by) => changeMailbox(db, dialect, before, after, password, by),
  };
}

async function setMailboxState(
  db: SqlExecutor,
  dialect: SqlDialect,
  id: string,
  state: 'active' | 'paused',
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('mailboxes')
      .set({ state })
      .where('id', '=', id)
      .where('state', '<>', 'removing')
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw gone(id);
    if (state === 'paused') return;
    await transaction
      .updateTable('mailbox_state')
      .set({ next_poll_at: dialect.now, login_failures: 0 })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

/** A visit that rests sees the change by its stamp; the trigger of SQLite is older than this column. */
async function setAddresses(
  db: SqlExecutor,
  dialect: SqlDialect,
  id: string,
  addresses: readonly string[],
): Promise<void> {
  const stamp = sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now') || ' ' || hex(randomblob(4))`;
  const result = await db
    .updateTable('mailboxes')
    .set({
      addresses: addresses.length === 0 ? null : addresses.join(','),
      ...(dialect.kind === 'sqlite' ? { changed_at: stamp } : {}),
    })
    .where('id', '=', id)
    .where('state', '<>', 'removing')
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw gone(id);
}

async function setPassword(
  db: SqlExecutor,
  dialect: SqlDialect,
  id: string,
  password: NewPassword,
  by: AuditActor,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, dialect, password.switchRevision);
    const result = await withPasswordColumns(password, dialect, (columns) =>
      transaction
        .updateTable('mailboxes')
        .set(columns)
        .where('id', '=', id)
        .where('state', '<>', 'removing')
        .executeTakeFirst(),
    );
    if (result.numUpdatedRows === 0n) throw gone(id);
    await startAfresh(transaction, dialect, id);
    const name = (await nameOf(transaction, id)) ?? '';
    await addAudit(transaction, dialect, [passwordSet(id, name, password, by)]);
  });
}

/** Due at once, and without the failures of how it was before. */
async function startAfresh(db: SqlExecutor, dialect: SqlDialect, id: string): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({
      next_poll_at: dialect.now,
      failures: 0,
      login_failures: 0,
      last_error_code: null,
      last_error_message: null,
      last_error_hint: null,
      last_error_at: null,
      failing_since: null,
    })
    .where('mailbox_id', '=', id)
    .execute();
}

async function versionedMailbox(db: SqlExecutor, name: string): Promise<VersionedMailbox> {
  const row = await db
    .selectFrom('mailboxes')
    .select([...listedColumns, mailboxColumn('changed_at')])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`);
  const password = { form: passwordForm(row), keyId: row.password_key_id };
  return { mailbox: toMailbox(row), version: row.changed_at, password };
}

/** Columns that are as they were are not written: a sealed password is bound to some of them. */
async function changeMailbox(
  db: SqlExecutor,
  dialect: SqlDialect,
  { mailbox: before, version, password: stored }: VersionedMailbox,
  after: Mailbox,
  password: NewPassword | null,
  by: AuditActor,
): Promise<void> {
  const settings = changedColumns(before, after);
  await inTransaction(db, async (transaction) => {
    if (password !== null) await lockSwitchForWrite(transaction, dialect, password.switchRevision);
    const change = (columns: Partial<PasswordColumns>) =>
      transaction
        .updateTable('mailboxes')
        .set({ ...settings, ...columns })
        .where('id', '=', before.id)
        .where('changed_at', '=', version)
        .where('password_form', '=', stored.form)
        .where('password_key_id', stored.keyId === null ? 'is' : '=', stored.keyId)
        .where('state', '<>', 'removing')
        .executeTakeFirst();
    const result = await (password === null ? change({}) : withPasswordColumns(password, dialect, change));
    if (result.numUpdatedRows === 0n) throw changedMeanwhile(before);
    await startAfresh(transaction, dialect, before.id);
    const entries = password === null ? [] : [passwordSet(before.id, after.name, password, by)];
    await addAudit(transaction, dialect, [settingsChanged(before, Object.keys(settings), by), ...entries]);
  });
}

type Columns = Omit<ReturnType<typeof mailboxRow>, 'id' | 'created_at'>;

function changedColumns(before: Mailbox, after: Mailbox): Partial<Columns> {
  const was = new Map(Object.entries(settingsOf(before)));
  return Object.fromEntries(Object.entries(settingsOf(after)).filter(([column, value]) => value !== was.get(column)));
}

function settingsOf(mailbox: Mailbox): Columns {
  const { id: _, created_at: __, ...settings } = mailboxRow(mailbox, sql`null`);
  return settings;
}

function changedMeanwhile({ name }: Mailbox): Failure {
  const hint = 'Nothing was changed. Look at it, and do it again.';
  return new Failure('refused', `somebody else changed mailbox ${name} at the same time`, { hint });
}

async function nameOf(db: SqlExecutor, id: string): Promise<string | null> {
  const row = await db.selectFrom('mailboxes').select(mailboxColumn('name')).where('id', '=', id).executeTakeFirst();
  return row?.name ?? null;
}

/** The line of the audit about a password that was set. */
function passwordSet(mailboxId: string, name: string, password: NewPassword, by: AuditActor) {
  const keyId = password.form === 'sealed' ? password.keyId : null;
  return { ...by, action: 'password.set', keyId, nextKeyId: null, mailboxId, detail: name };
}

function settingsChanged({ id, name }: Mailbox, columns: readonly string[], by: AuditActor): AuditEntry {
  const detail = `${name}: ${columns.join(', ')}`;
  return { ...by, action: 'mailbox.changed', keyId: null, nextKeyId: null, mailboxId: id, detail };
}

function gone(id: string): Failure {
  return new Failure('not_found', `There is no mailbox ${id}.`);
}
