/**
 * Mailboxes: settings, passwords, how they fare. Implements MailboxStore of the ports.
 *
 * Passwords go in and out as bytes, in statements of their own. Errors are Failures: `not_found`, `exists_already`,
 * `switch_changed`, `database_*`.
 */
import { sql } from 'kysely';
import { Failure } from '../../errors.ts';
import { folderKey } from '../../ingest/folder-epoch.ts';
import type { Author, Cursor, Mailbox, NewPassword } from '../../ingest/model.ts';
import type { MailboxStore } from '../../ingest/stores.ts';
import { addAudit } from './audit-rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { mailboxChanges, nameOf, passwordSet } from './mailbox-changes.ts';
import { fromMailbox, mailboxColumns, shortColumn, toListed, toMailbox } from './mailbox-rows.ts';
import { lendPasswordColumns, readPassword } from './password-rows.ts';
import { holdSwitchToWrite } from './switch-rows.ts';
import type { Connected } from './tables.ts';
import { inTransaction } from './transactions.ts';

const outcomesPerDelete = 2000;
const adoptedAtOnce = 500;

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
  'mailbox_state.failing_since',
  'mailbox_state.login_refusals',
] as const;

export function mailboxStore(db: Connected, words: DialectWords): MailboxStore {
  return {
    ...mailboxChanges(db, words),
    addMailbox: (mailbox, password, cursor, by) => addMailbox(db, words, mailbox, password, cursor, by),
    mailboxByName: (name) => mailboxByName(db, name),
    mailboxById: (id) => mailboxById(db, id),
    listMailboxes: () => listMailboxes(db, words),
    leasedMailboxes: () => leasedMailboxes(db, words),
    removeMailbox: (id, by) => removeMailbox(db, words, id, by),
    adoptMailboxes: () => adoptMailboxes(db, words),
    readPassword: (id) => readPassword(db, words, id),
  };
}

async function addMailbox(
  db: Connected,
  words: DialectWords,
  mailbox: Mailbox,
  password: NewPassword,
  cursor: Cursor | null,
  by: Author,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await holdSwitchToWrite(transaction, words, password.switchRevision);
    await lendPasswordColumns(password, words, (columns) =>
      transaction
        .insertInto('mailboxes')
        .values({ ...fromMailbox(mailbox, words.now), ...columns })
        .execute(),
    );
    await transaction
      .insertInto('mailbox_state')
      .values({
        mailbox_id: mailbox.id,
        cursor_uid_validity: cursor?.uidValidity ?? null,
        cursor_uid: cursor?.uid ?? null,
        cursor_start_uid: cursor?.uid ?? null,
        cursor_folder: cursor === null ? null : folderKey(mailbox.connection),
        lease_epoch: 0,
        next_poll_at: words.now,
        failures: 0,
      })
      .execute();
    await addAudit(transaction, words, [passwordSet(mailbox.id, mailbox.name, password, by)]);
  });
}

async function mailboxByName(db: Connected, name: string): Promise<Mailbox> {
  const row = await db.selectFrom('mailboxes').select(mailboxColumns).where('name', '=', name).executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox named ${JSON.stringify(name)}.`);
  return toMailbox(row);
}

async function mailboxById(db: Connected, id: string): Promise<Mailbox | null> {
  const row = await db.selectFrom('mailboxes').select(mailboxColumns).where('id', '=', id).executeTakeFirst();
  return row === undefined ? null : toMailbox(row);
}

/** One whose removal was interrupted has no state any more; it is listed, so that somebody removes it again. */
async function listMailboxes(db: Connected, words: DialectWords) {
  const rows = await db
    .selectFrom('mailboxes')
    .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
    .select([...mailboxColumns, ...stateColumns, words.now.as('now')])
    .orderBy('mailboxes.name')
    .execute();
  return rows.map(toListed);
}

async function leasedMailboxes(db: Connected, words: DialectWords) {
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(['mailboxes.id', shortColumn('name'), 'lease_owner'])
    .where('lease_owner', 'is not', null)
    .where('lease_until', '>', words.now)
    .execute();
  return rows.flatMap(({ id, name, lease_owner: owner }) => (owner === null ? [] : [{ id, name, owner }]));
}

/**
 * The password goes at once, and nobody gives the mailbox a schedule again. Then the state: without it no worker can take
 * or keep a lease, so nothing is added behind our back. The settings go last: a removal that was interrupted is found by
 * name and ended by removing it again.
 */
async function removeMailbox(db: Connected, words: DialectWords, id: string, by: Author): Promise<void> {
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
    await addAudit(transaction, words, [removed]);
  });
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

/** Those that somebody else wrote have no state yet. Usually there are none, and one query tells. */
async function adoptMailboxes(db: Connected, words: DialectWords): Promise<number> {
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
    const more = ids.length === 0 ? 0 : await adopt(db, words, ids);
    if (more === 0) return adopted;
    adopted += more;
  }
}

/** Looks at the rows once more, so that none is adopted whose removal began meanwhile. */
async function adopt(db: Connected, words: DialectWords, ids: readonly string[]): Promise<number> {
  const insert = db
    .insertInto('mailbox_state')
    .columns(['mailbox_id', 'next_poll_at', 'lease_epoch', 'failures'])
    .expression((from) =>
      from
        .selectFrom('mailboxes')
        .select(['id', words.now.as('next_poll_at'), sql<number>`0`.as('lease_epoch'), sql<number>`0`.as('failures')])
        .where('id', 'in', ids)
        .where('state', 'in', ['active', 'paused']),
    );
  const result = await (words.kind === 'mysql'
    ? insert.ignore()
    : insert.onConflict((at) => at.doNothing())
  ).executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0n);
}
