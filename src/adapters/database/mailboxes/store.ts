/**
 * Mailbox store: adds, lists, changes and removes mailboxes, with optimistic locking by `changed_at`.
 *
 * Passwords are read and written as bytes, in statements of their own, at the switch revision that they were prepared
 * for, or not at all: the key may be gone after that. Each change moves `changed_at`, by which a worker in IDLE notices
 * it; each but that of the addresses makes the mailbox due immediately. Errors are Failures: `not_found`,
 * `already_exists`, `refused`, `switch_changed`, `database_*`.
 */
import { sql } from 'kysely';
import type { AuditEntry } from '../../../encryption/ports.ts';
import { Failure } from '../../../errors.ts';
import { folderKey } from '../../../ingest/folder-epoch.ts';
import type {
  AuditActor,
  Cursor,
  Mailbox,
  NewPassword,
  NewSettingsSeal,
  StoredPassword,
} from '../../../ingest/model.ts';
import type { MailboxStore, VersionedMailbox } from '../../../ingest/stores.ts';
import { lockSwitchForWrite } from '../encryption/switch-row.ts';
import { addAudit } from '../rows/audit.ts';
import {
  connectionColumns,
  listedColumns,
  mailboxColumn,
  noPassword,
  type PasswordColumns,
  passwordBytes,
  withPasswordColumns,
} from '../rows/mailbox-columns.ts';
import {
  healthSelection,
  mailboxRow,
  passwordForm,
  rowConnection,
  settingsRow,
  toListedMailbox,
  toMailbox,
} from '../rows/mailboxes.ts';
import { bindDatabase, chunks, inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';

const outcomesPerDelete = 2000;
const newPerInsert = 500;

export function mailboxStore(db: SqlExecutor): MailboxStore {
  return bindDatabase(db, {
    addMailbox,
    mailboxByName,
    mailboxById,
    listMailboxes,
    leasedMailboxes,
    setMailboxState,
    setAddresses,
    setPassword,
    versionedMailbox,
    changeMailbox,
    confirmSettings,
    readSettingsSeal,
    removeMailbox,
    scheduleNewMailboxes,
    readPassword,
  });
}

async function addMailbox(
  db: SqlExecutor,
  mailbox: Mailbox,
  password: NewPassword | null,
  cursor: Cursor | null,
  by: AuditActor,
  seal: NewSettingsSeal | null = null,
): Promise<void> {
  if (password === null && mailbox.grant === null) throw passwordMissing(mailbox);
  const prepared = password ?? seal;
  await inTransaction(db, async (transaction) => {
    if (prepared !== null) await lockSwitchForWrite(transaction, prepared.switchRevision);
    const add = (columns: PasswordColumns) =>
      transaction
        .insertInto('mailboxes')
        .values({ ...mailboxRow(mailbox, db.dialect.now), ...columns })
        .execute();
    await (password === null
      ? add({ ...noPassword, settings_seal: seal?.settingsSeal ?? null })
      : withPasswordColumns(password, db.dialect, add));
    await transaction
      .insertInto('mailbox_state')
      .values({
        mailbox_id: mailbox.id,
        cursor_folder_epoch: cursor?.folderEpoch ?? null,
        cursor_uid: cursor?.uid ?? null,
        cursor_start_uid: cursor?.uid ?? null,
        cursor_folder_hash: cursor === null ? null : folderKey(mailbox.connection),
        lease_epoch: 0,
        next_poll_at: db.dialect.now,
        failures: 0,
      })
      .execute();
    await addAudit(transaction, [
      password === null ? addedWithGrant(mailbox, by) : passwordSet(mailbox.id, mailbox.name, password, by),
    ]);
  });
}

function passwordMissing({ name }: Mailbox): Failure {
  const hint = 'Nothing was changed. Give the mailbox a password, or a grant (--oauth).';
  return new Failure('refused', `mailbox ${name} would have neither a password nor a grant`, { hint });
}

function noMailbox(name: string): Failure {
  const hint = 'See ticketmaild mailbox list.';
  return new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`, {
    fields: { mailbox: name },
    hint,
  });
}

async function mailboxByName(db: SqlExecutor, name: string): Promise<Mailbox> {
  const row = await db.selectFrom('mailboxes').select(listedColumns).where('name', '=', name).executeTakeFirst();
  if (row === undefined) throw noMailbox(name);
  return toMailbox(row);
}

async function mailboxById(db: SqlExecutor, id: string): Promise<Mailbox | null> {
  const row = await db.selectFrom('mailboxes').select(listedColumns).where('id', '=', id).executeTakeFirst();
  return row === undefined ? null : toMailbox(row);
}

/** A mailbox whose removal was interrupted has no state; it is listed, so that its removal can be repeated. */
async function listMailboxes(db: SqlExecutor) {
  const rows = await db
    .selectFrom('mailboxes')
    .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
    .select([...listedColumns, ...healthSelection, db.dialect.now.as('now')])
    .orderBy('mailboxes.name')
    .execute();
  return rows.map(toListedMailbox);
}

async function leasedMailboxes(db: SqlExecutor) {
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(['mailboxes.id', mailboxColumn('name'), 'lease_owner'])
    .where('lease_owner', 'is not', null)
    .where('lease_until', '>', db.dialect.now)
    .execute();
  return rows.flatMap(({ id, name, lease_owner: owner }) => (owner === null ? [] : [{ id, name, owner }]));
}

/** Reads the password and the revision of the switch in one query. The caller owns the bytes. */
async function readPassword(db: SqlExecutor, id: string): Promise<StoredPassword | null> {
  const row = await db
    .selectFrom('mailboxes')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([mailboxColumn('name'), mailboxColumn('password_form'), ...connectionColumns, 'encryption_switch.revision'])
    .select(passwordBytes(db.dialect).as('password'))
    .where('mailboxes.id', '=', id)
    .where('mailboxes.state', '<>', 'removing')
    .executeTakeFirst();
  if (row === undefined) return null;
  try {
    const [form, connection] = [passwordForm(row), rowConnection(row)];
    return { form, bytes: row.password, switchRevision: row.revision, connection };
  } catch (error) {
    row.password.fill(0);
    throw error;
  }
}

async function setMailboxState(db: SqlExecutor, id: string, state: 'active' | 'paused', by: AuditActor): Promise<void> {
  await inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('mailboxes')
      .set({ state })
      .where('id', '=', id)
      .where('state', '<>', 'removing')
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw noMailboxById(id);
    const action = state === 'paused' ? 'mailbox.paused' : 'mailbox.resumed';
    const detail = await nameOf(transaction, id);
    await addAudit(transaction, [{ ...by, action, keyId: null, nextKeyId: null, mailboxId: id, detail }]);
    if (state === 'paused') return;
    await transaction
      .updateTable('mailbox_state')
      .set({ next_poll_at: db.dialect.now, login_failures: 0 })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

async function setAddresses(db: SqlExecutor, id: string, addresses: readonly string[], by: AuditActor): Promise<void> {
  await inTransaction(db, async (transaction) => {
    const result = await transaction
      .updateTable('mailboxes')
      .set({ addresses: addresses.length === 0 ? null : addresses.join(',') })
      .where('id', '=', id)
      .where('state', '<>', 'removing')
      .executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw noMailboxById(id);
    const name = (await nameOf(transaction, id)) ?? id;
    await addAudit(transaction, [settingsChanged({ id, name }, ['addresses'], by)]);
  });
}

async function setPassword(db: SqlExecutor, id: string, password: NewPassword, by: AuditActor): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, password.switchRevision);
    const result = await withPasswordColumns(password, db.dialect, (columns) =>
      transaction
        .updateTable('mailboxes')
        .set(columns)
        .where('id', '=', id)
        .where('state', '<>', 'removing')
        .executeTakeFirst(),
    );
    if (result.numUpdatedRows === 0n) throw noMailboxById(id);
    await resetSchedule(transaction, [id]);
    const name = (await nameOf(transaction, id)) ?? '';
    await addAudit(transaction, [passwordSet(id, name, password, by)]);
  });
}

/** Makes mailboxes due immediately and clears their failures. */
export async function resetSchedule(db: SqlExecutor, mailboxIds: readonly string[]): Promise<void> {
  for (const ids of chunks(mailboxIds))
    await db
      .updateTable('mailbox_state')
      .set({
        next_poll_at: db.dialect.now,
        failures: 0,
        login_failures: 0,
        last_error_code: null,
        last_error_message: null,
        last_error_hint: null,
        last_error_at: null,
        failing_since: null,
      })
      .where('mailbox_id', 'in', ids)
      .execute();
}

async function versionedMailbox(db: SqlExecutor, name: string): Promise<VersionedMailbox> {
  const row = await db
    .selectFrom('mailboxes')
    .select([...listedColumns, mailboxColumn('changed_at')])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row === undefined) throw noMailbox(name);
  const password = { form: passwordForm(row), keyId: row.password_key_id };
  return { mailbox: toMailbox(row), version: row.changed_at, password, settingsSeal: row.settings_seal };
}

/** Writes changed columns alone: a sealed password is bound to some of them. A grant takes the place of a password. */
async function changeMailbox(
  db: SqlExecutor,
  { mailbox: before, version, password: stored }: VersionedMailbox,
  after: Mailbox,
  password: NewPassword | null,
  by: AuditActor,
  seal: NewSettingsSeal | null = null,
): Promise<void> {
  if (password === null && before.grant !== null && after.grant === null) throw passwordMissing(before);
  const changed = changedSettings(before, after);
  const settings = { ...changed, ...(before.grant === null && after.grant !== null ? noPassword : {}) };
  await inTransaction(db, async (transaction) => {
    const prepared = password ?? seal;
    if (prepared !== null) await lockSwitchForWrite(transaction, prepared.switchRevision);
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
    const result = await (password === null
      ? change(seal === null ? {} : { settings_seal: seal.settingsSeal })
      : withPasswordColumns(password, db.dialect, change));
    if (result.numUpdatedRows === 0n) throw changedMeanwhile(before);
    await resetSchedule(transaction, [before.id]);
    const entries = password === null ? [] : [passwordSet(before.id, after.name, password, by)];
    await addAudit(transaction, [settingsChanged(before, Object.keys(changed), by), ...entries]);
  });
}

function changedSettings(before: Mailbox, after: Mailbox): Partial<ReturnType<typeof settingsRow>> {
  const was = new Map<string, unknown>(Object.entries(settingsRow(before)));
  return Object.fromEntries(Object.entries(settingsRow(after)).filter(([column, value]) => value !== was.get(column)));
}

function changedMeanwhile({ name }: Mailbox): Failure {
  const hint = 'Nothing was changed. Check the mailbox, and repeat the command.';
  return new Failure('refused', `mailbox ${name} was changed by another program at the same time`, { hint });
}

/** Moves `changed_at`: a connection in IDLE ends, and the next round runs the post-actions that waited. */
async function confirmSettings(db: SqlExecutor, id: string, seal: NewSettingsSeal, by: AuditActor): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, seal.switchRevision);
    const { numUpdatedRows } = await transaction
      .updateTable('mailboxes')
      .set({ settings_seal: seal.settingsSeal, changed_at: db.dialect.newVersion })
      .where('id', '=', id)
      .where('state', '<>', 'removing')
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw noMailboxById(id);
    await transaction
      .updateTable('mailbox_state')
      .set({ next_poll_at: db.dialect.now })
      .where('mailbox_id', '=', id)
      .execute();
    const detail = await nameOf(transaction, id);
    const keyId = seal.settingsSeal?.split(':')[0] ?? null;
    await addAudit(transaction, [
      { ...by, action: 'mailbox.confirmed', keyId, nextKeyId: null, mailboxId: id, detail },
    ]);
  });
}

async function readSettingsSeal(db: SqlExecutor, id: string): Promise<string | null> {
  const row = await db
    .selectFrom('mailboxes')
    .select(mailboxColumn('settings_seal'))
    .where('id', '=', id)
    .executeTakeFirst();
  return row?.settings_seal ?? null;
}

async function nameOf(db: SqlExecutor, id: string): Promise<string | null> {
  const row = await db.selectFrom('mailboxes').select(mailboxColumn('name')).where('id', '=', id).executeTakeFirst();
  return row?.name ?? null;
}

function addedWithGrant({ id, name, grant }: Mailbox, by: AuditActor): AuditEntry {
  const detail = `${name}: grant ${grant}`;
  return { ...by, action: 'mailbox.added', keyId: null, nextKeyId: null, mailboxId: id, detail };
}

/** The audit entry for a new password. */
function passwordSet(mailboxId: string, name: string, password: NewPassword, by: AuditActor) {
  const keyId = password.form === 'sealed' ? password.keyId : null;
  return { ...by, action: 'password.set', keyId, nextKeyId: null, mailboxId, detail: name };
}

function settingsChanged(
  { id, name }: Pick<Mailbox, 'id' | 'name'>,
  columns: readonly string[],
  by: AuditActor,
): AuditEntry {
  const detail = `${name}: ${columns.join(', ')}`;
  return { ...by, action: 'mailbox.changed', keyId: null, nextKeyId: null, mailboxId: id, detail };
}

function noMailboxById(id: string): Failure {
  return new Failure('not_found', `There is no mailbox ${id}.`);
}

/**
 * First the password is emptied, and state `removing` keeps the mailbox off the schedule. Then `mailbox_state` is
 * deleted: without it no worker can take or renew a lease, so nothing is added meanwhile. The settings are deleted
 * last: an interrupted removal is found by name and completed by repeating it.
 */
async function removeMailbox(db: SqlExecutor, id: string, by: AuditActor): Promise<void> {
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
    await addAudit(transaction, [removed]);
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
async function scheduleNewMailboxes(db: SqlExecutor): Promise<number> {
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
    const more = ids.length === 0 ? 0 : await insertStates(db, ids);
    if (more === 0) return scheduled;
    scheduled += more;
  }
}

/** Checks the state again, so that no mailbox gets a schedule whose removal began meanwhile. */
async function insertStates(db: SqlExecutor, ids: readonly string[]): Promise<number> {
  const insert = db
    .insertInto('mailbox_state')
    .columns(['mailbox_id', 'next_poll_at', 'lease_epoch', 'failures'])
    .expression((from) =>
      from
        .selectFrom('mailboxes')
        .select([
          'id',
          db.dialect.now.as('next_poll_at'),
          sql<number>`0`.as('lease_epoch'),
          sql<number>`0`.as('failures'),
        ])
        .where('id', 'in', ids)
        .where('state', 'in', ['active', 'paused']),
    );
  const result = await (db.dialect.kind === 'mysql'
    ? insert.ignore()
    : insert.onConflict((at) => at.doNothing())
  ).executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0n);
}
