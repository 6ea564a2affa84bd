/**
 * Mailboxes: settings, passwords, how they fare. Implements MailboxStore of the ports.
 *
 * Passwords go in and out as bytes, in statements of their own. Errors are Failures: `not_found`, `exists_already`,
 * `database_*`.
 */
import { Failure } from '../../errors.ts';
import type { Cursor, Mailbox, StoredPassword } from '../../ingest/mailbox.ts';
import type { MailboxStore } from '../../ingest/ports.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import type { DialectWords } from './dialect-words.ts';
import { fromMailbox, mailboxColumns, toHealth, toMailbox } from './mailbox-rows.ts';
import type { Connected } from './tables.ts';

const outcomesPerDelete = 2000;

const stateColumns = [
  'mailbox_state.cursor_uid_validity',
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
] as const;

export function mailboxStore(db: Connected, words: DialectWords): MailboxStore {
  return {
    addMailbox: (mailbox, password, cursor) => addMailbox(db, words, mailbox, password, cursor),
    mailboxByName: (name) => mailboxByName(db, name),
    mailboxById: (id) => mailboxById(db, id),
    listMailboxes: () => listMailboxes(db),
    setMailboxState: (id, state) => setMailboxState(db, words, id, state),
    setPassword: (id, password) => setPassword(db, words, id, password),
    removeMailbox: (id) => removeMailbox(db, id),
    readPassword: (id) => readPassword(db, id),
  };
}

async function addMailbox(
  db: Connected,
  words: DialectWords,
  mailbox: Mailbox,
  password: SecretBytes,
  cursor: Cursor | null,
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await password.use((bytes) =>
      transaction
        .insertInto('mailbox')
        .values({ ...fromMailbox(mailbox, words.now), password: bytes, password_form: 'plain' })
        .execute(),
    );
    await transaction
      .insertInto('mailbox_state')
      .values({
        mailbox_id: mailbox.id,
        cursor_uid_validity: cursor?.uidValidity ?? null,
        cursor_uid: cursor?.uid ?? null,
        lease_epoch: 0,
        next_poll_at: words.now,
        failures: 0,
      })
      .execute();
  });
}

async function mailboxByName(db: Connected, name: string): Promise<Mailbox> {
  const row = await db.selectFrom('mailbox').select(mailboxColumns).where('name', '=', name).executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`);
  return toMailbox(row);
}

async function mailboxById(db: Connected, id: string): Promise<Mailbox | null> {
  const row = await db.selectFrom('mailbox').select(mailboxColumns).where('id', '=', id).executeTakeFirst();
  return row === undefined ? null : toMailbox(row);
}

/** One whose removal was interrupted has no state any more; it is listed, so that somebody removes it again. */
async function listMailboxes(db: Connected) {
  const rows = await db
    .selectFrom('mailbox')
    .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailbox.id')
    .select([...mailboxColumns, ...stateColumns])
    .orderBy('mailbox.name')
    .execute();
  return rows.map((row) => ({ ...toMailbox(row), health: toHealth(row) }));
}

async function setMailboxState(
  db: Connected,
  words: DialectWords,
  id: string,
  state: 'active' | 'paused',
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const result = await transaction.updateTable('mailbox').set({ state }).where('id', '=', id).executeTakeFirst();
    if (result.numUpdatedRows === 0n) throw gone(id);
    if (state === 'paused') return;
    await transaction
      .updateTable('mailbox_state')
      .set({ next_poll_at: words.now })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

async function setPassword(db: Connected, words: DialectWords, id: string, password: SecretBytes): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const result = await password.use((bytes) =>
      transaction
        .updateTable('mailbox')
        .set({ password: bytes, password_form: 'plain' })
        .where('id', '=', id)
        .executeTakeFirst(),
    );
    if (result.numUpdatedRows === 0n) throw gone(id);
    await transaction
      .updateTable('mailbox_state')
      .set({
        next_poll_at: words.now,
        failures: 0,
        last_error_code: null,
        last_error_message: null,
        last_error_hint: null,
        last_error_at: null,
      })
      .where('mailbox_id', '=', id)
      .execute();
  });
}

/**
 * The state goes first: without it no worker can take or keep a lease, so nothing is added behind our back. The
 * settings go last: a removal that was interrupted is found by name and ended by removing it again.
 */
async function removeMailbox(db: Connected, id: string): Promise<void> {
  await db.deleteFrom('mailbox_state').where('mailbox_id', '=', id).execute();
  while (await removeOutcomes(db, id));
  await db.deleteFrom('mailbox').where('id', '=', id).execute();
}

/** A stretch of them, so that no statement runs into the deadline; false when there was nothing left. */
async function removeOutcomes(db: Connected, mailboxId: string): Promise<boolean> {
  const rows = await db
    .selectFrom('outcome')
    .select(['uid_validity', 'uid'])
    .where('mailbox_id', '=', mailboxId)
    .orderBy('uid_validity')
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
        where('uid_validity', '<', last.uid_validity),
        where.and([where('uid_validity', '=', last.uid_validity), where('uid', '<=', last.uid)]),
      ]),
    )
    .execute();
  return true;
}

/** The bytes belong to the caller; the driver's own copy is wiped. */
async function readPassword(db: Connected, id: string): Promise<StoredPassword | null> {
  const row = await db
    .selectFrom('mailbox')
    .select(['password', 'password_form'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) return null;
  const form = row.password_form;
  if (form !== 'plain' && form !== 'sealed') {
    row.password.fill(0);
    throw new Failure('database_failed', `Mailbox ${id} has an unknown value in the column password_form.`);
  }
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(4096, row.password.length)), 0, row.password.length);
  bytes.set(row.password);
  row.password.fill(0);
  return { form, bytes };
}

function gone(id: string): Failure {
  return new Failure('not_found', `There is no mailbox ${id}.`);
}
