/**
 * Changes of a mailbox that is there: its state, its addresses, its password, its settings. Part of MailboxStore.
 *
 * Each makes the mailbox due at once, but for the addresses, and is seen by a visit that rests: the row has another version
 * then. A password is written at the revision of the switch that it is prepared for, or not at all, as its key may be gone
 * after that. Errors are Failures: `not_found`, `exists_already`, `refused`, `switch_changed`, `database_*`.
 */
import { sql } from 'kysely';
import type { AuditEntry } from '../../encryption/ports.ts';
import { Failure } from '../../errors.ts';
import type { Author, Mailbox, NewPassword } from '../../ingest/model.ts';
import type { MailboxStore, Versioned } from '../../ingest/stores.ts';
import { addAudit } from './audit-rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { fromMailbox, mailboxColumns, passwordForm, shortColumn, toMailbox } from './mailbox-rows.ts';
import { lendPasswordColumns, type PasswordColumns } from './password-rows.ts';
import { holdSwitchToWrite } from './switch-rows.ts';
import type { Connected } from './tables.ts';
import { inTransaction } from './transactions.ts';

type Changes = Pick<
  MailboxStore,
  'setMailboxState' | 'setAddresses' | 'setPassword' | 'versionedMailbox' | 'changeMailbox'
>;

export function mailboxChanges(db: Connected, words: DialectWords): Changes {
  return {
    setMailboxState: (id, state) => setMailboxState(db, words, id, state),
    setAddresses: (id, addresses) => setAddresses(db, words, id, addresses),
    setPassword: (id, password, by) => setPassword(db, words, id, password, by),
    versionedMailbox: (name) => versionedMailbox(db, name),
    changeMailbox: (before, after, password, by) => changeMailbox(db, words, before, after, password, by),
  };
}

async function setMailboxState(
  db: Connected,
  words: DialectWords,
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
      .set({ next_poll_at: words.now, login_refusals: 0 })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

/** A visit that rests sees the change by its stamp; the trigger of SQLite is older than this column. */
async function setAddresses(
  db: Connected,
  words: DialectWords,
  id: string,
  addresses: readonly string[],
): Promise<void> {
  const stamp = sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now') || ' ' || hex(randomblob(4))`;
  const result = await db
    .updateTable('mailboxes')
    .set({
      addresses: addresses.length === 0 ? null : addresses.join(','),
      ...(words.kind === 'sqlite' ? { changed_at: stamp } : {}),
    })
    .where('id', '=', id)
    .where('state', '<>', 'removing')
    .executeTakeFirst();
  if (result.numUpdatedRows === 0n) throw gone(id);
}

async function setPassword(
  db: Connected,
  words: DialectWords,
  id: string,
  password: NewPassword,
  by: Author,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await holdSwitchToWrite(transaction, words, password.switchRevision);
    const result = await lendPasswordColumns(password, words, (columns) =>
      transaction
        .updateTable('mailboxes')
        .set(columns)
        .where('id', '=', id)
        .where('state', '<>', 'removing')
        .executeTakeFirst(),
    );
    if (result.numUpdatedRows === 0n) throw gone(id);
    await startAfresh(transaction, words, id);
    const name = (await nameOf(transaction, id)) ?? '';
    await addAudit(transaction, words, [passwordSet(id, name, password, by)]);
  });
}

/** Due at once, and without the failures of how it was before. */
async function startAfresh(db: Connected, words: DialectWords, id: string): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({
      next_poll_at: words.now,
      failures: 0,
      login_refusals: 0,
      last_error_code: null,
      last_error_message: null,
      last_error_hint: null,
      last_error_at: null,
      failing_since: null,
    })
    .where('mailbox_id', '=', id)
    .execute();
}

async function versionedMailbox(db: Connected, name: string): Promise<Versioned> {
  const row = await db
    .selectFrom('mailboxes')
    .select([...mailboxColumns, shortColumn('changed_at')])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`);
  const password = { form: passwordForm(row), keyId: row.password_key_id };
  return { mailbox: toMailbox(row), version: row.changed_at, password };
}

/** Columns that are as they were are not written: a sealed password is bound to some of them. */
async function changeMailbox(
  db: Connected,
  words: DialectWords,
  { mailbox: before, version, password: stored }: Versioned,
  after: Mailbox,
  password: NewPassword | null,
  by: Author,
): Promise<void> {
  const settings = changedColumns(before, after);
  await inTransaction(db, async (transaction) => {
    if (password !== null) await holdSwitchToWrite(transaction, words, password.switchRevision);
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
    const result = await (password === null ? change({}) : lendPasswordColumns(password, words, change));
    if (result.numUpdatedRows === 0n) throw changedMeanwhile(before);
    await startAfresh(transaction, words, before.id);
    const entries = password === null ? [] : [passwordSet(before.id, after.name, password, by)];
    await addAudit(transaction, words, [settingsChanged(before, Object.keys(settings), by), ...entries]);
  });
}

type Columns = Omit<ReturnType<typeof fromMailbox>, 'id' | 'created_at'>;

function changedColumns(before: Mailbox, after: Mailbox): Partial<Columns> {
  const was = new Map(Object.entries(settingsOf(before)));
  return Object.fromEntries(Object.entries(settingsOf(after)).filter(([column, value]) => value !== was.get(column)));
}

function settingsOf(mailbox: Mailbox): Columns {
  const { id: _, created_at: __, ...settings } = fromMailbox(mailbox, sql`null`);
  return settings;
}

function changedMeanwhile({ name }: Mailbox): Failure {
  const hint = 'Nothing was changed. Look at it, and do it again.';
  return new Failure('refused', `somebody else changed mailbox ${name} at the same time`, { hint });
}

export async function nameOf(db: Connected, id: string): Promise<string | null> {
  const row = await db.selectFrom('mailboxes').select(shortColumn('name')).where('id', '=', id).executeTakeFirst();
  return row?.name ?? null;
}

/** The line of the audit about a password that was set. */
export function passwordSet(mailboxId: string, name: string, password: NewPassword, by: Author) {
  const keyId = password.form === 'sealed' ? password.keyId : null;
  return { ...by, action: 'password.set', keyId, nextKeyId: null, mailboxId, detail: name };
}

function settingsChanged({ id, name }: Mailbox, columns: readonly string[], by: Author): AuditEntry {
  const detail = `${name}: ${columns.join(', ')}`;
  return { ...by, action: 'mailbox.changed', keyId: null, nextKeyId: null, mailboxId: id, detail };
}

function gone(id: string): Failure {
  return new Failure('not_found', `There is no mailbox ${id}.`);
}
