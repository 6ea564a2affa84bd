/**
 * Changes of a stored mailbox: state, addresses, password, settings (optimistic locking by `changed_at`).
 *
 * Each change but that of the addresses makes the mailbox due immediately. Each moves `changed_at`, by which a worker
 * in IDLE notices it. A password is written at the switch revision that it was prepared for, or not at all, because its
 * key may be gone after that. Errors are Failures: `not_found`, `already_exists`, `refused`, `switch_changed`,
 * `database_*`.
 */
import type { AuditEntry } from '../../../encryption/ports.ts';
import { Failure } from '../../../errors.ts';
import type { AuditActor, Mailbox, NewPassword } from '../../../ingest/model.ts';
import type { MailboxStore, VersionedMailbox } from '../../../ingest/stores.ts';
import { lockSwitchForWrite } from '../encryption/switch-row.ts';
import { addAudit } from '../rows/audit.ts';
import { listedColumns, mailboxColumn } from '../rows/mailbox-columns.ts';
import { passwordForm, settingsRow, toMailbox } from '../rows/mailboxes.ts';
import { type PasswordColumns, withPasswordColumns } from '../rows/passwords.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';

type Changes = Pick<
  MailboxStore,
  'setMailboxState' | 'setAddresses' | 'setPassword' | 'versionedMailbox' | 'changeMailbox'
>;

export function mailboxChanges(db: SqlExecutor, dialect: SqlDialect): Changes {
  return {
    setMailboxState: (id, state) => setMailboxState(db, dialect, id, state),
    setAddresses: (id, addresses) => setAddresses(db, id, addresses),
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
    if (result.numUpdatedRows === 0n) throw noMailbox(id);
    if (state === 'paused') return;
    await transaction
      .updateTable('mailbox_state')
      .set({ next_poll_at: dialect.now, login_failures: 0 })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

async function setAddresses(db: SqlExecutor, id: string, addresses: readonly string[]): Promise<void> {
  const result = await db
    .updateTable('mailboxes')
    .set({ addresses: addresses.length === 0 ? null : addresses.join(',') })
    .where('id', '=', id)
    .where('state', '<>', 'removing')
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw noMailbox(id);
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
    if (result.numUpdatedRows === 0n) throw noMailbox(id);
    await resetSchedule(transaction, dialect, id);
    const name = (await nameOf(transaction, id)) ?? '';
    await addAudit(transaction, dialect, [passwordSet(id, name, password, by)]);
  });
}

/** Makes the mailbox due immediately and clears its failures. */
async function resetSchedule(db: SqlExecutor, dialect: SqlDialect, id: string): Promise<void> {
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

/** Writes changed columns alone: a sealed password is bound to some of them. */
async function changeMailbox(
  db: SqlExecutor,
  dialect: SqlDialect,
  { mailbox: before, version, password: stored }: VersionedMailbox,
  after: Mailbox,
  password: NewPassword | null,
  by: AuditActor,
): Promise<void> {
  const settings = changedSettings(before, after);
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
    await resetSchedule(transaction, dialect, before.id);
    const entries = password === null ? [] : [passwordSet(before.id, after.name, password, by)];
    await addAudit(transaction, dialect, [settingsChanged(before, Object.keys(settings), by), ...entries]);
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

export async function nameOf(db: SqlExecutor, id: string): Promise<string | null> {
  const row = await db.selectFrom('mailboxes').select(mailboxColumn('name')).where('id', '=', id).executeTakeFirst();
  return row?.name ?? null;
}

/** The audit entry for a new password. */
export function passwordSet(mailboxId: string, name: string, password: NewPassword, by: AuditActor) {
  const keyId = password.form === 'sealed' ? password.keyId : null;
  return { ...by, action: 'password.set', keyId, nextKeyId: null, mailboxId, detail: name };
}

function settingsChanged({ id, name }: Mailbox, columns: readonly string[], by: AuditActor): AuditEntry {
  const detail = `${name}: ${columns.join(', ')}`;
  return { ...by, action: 'mailbox.changed', keyId: null, nextKeyId: null, mailboxId: id, detail };
}

function noMailbox(id: string): Failure {
  return new Failure('not_found', `There is no mailbox ${id}.`);
}
