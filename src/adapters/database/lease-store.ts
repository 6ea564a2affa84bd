/**
 * The schedule and the leases: which mailboxes are due, who visits which, how the visit went, and the cursor.
 *
 * A lease is taken with one conditional UPDATE, so exactly one of many workers gets it, on a cluster too. It lasts by
 * the database's clock. Each taking raises the epoch, and every later write names it: who lost the lease cannot write.
 */
import { type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import { Failure } from '../../errors.ts';
import type { Cursor, Mailbox } from '../../ingest/mailbox.ts';
import type { Lease } from '../../ingest/ports.ts';
import type { PollResult } from '../../ingest/rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { mailboxColumns, toCursor, validMailbox } from './mailbox-rows.ts';
import { isWaiting } from './password-rows.ts';
import type { Connected, Tables } from './tables.ts';

type StateWhere = ExpressionBuilder<Tables, 'mailbox_state'>;
type MailboxWhere = ExpressionBuilder<Tables, 'mailboxes'>;

/** A row that is no mailbox is passed over, however many of them are overdue for longest. */
export async function dueMailboxes(
  db: Connected,
  words: DialectWords,
  limit: number,
  keyIds: readonly string[],
): Promise<readonly Mailbox[]> {
  const due = new Map<string, Mailbox>();
  for (let offset = 0; due.size < limit; offset += limit) {
    const rows = await duePage(db, words, keyIds).limit(limit).offset(offset).execute();
    for (const row of rows) {
      const mailbox = validMailbox(row);
      if (mailbox !== null) due.set(mailbox.id, mailbox);
    }
    if (rows.length < limit) break;
  }
  return [...due.values()].slice(0, limit);
}

function duePage(db: Connected, words: DialectWords, keyIds: readonly string[]) {
  return db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(mailboxColumns)
    .where('mailboxes.state', '=', 'active')
    .where('mailbox_state.next_poll_at', '<=', words.now)
    .where((where) => where.or([where('lease_owner', 'is', null), where('lease_until', '<=', words.now)]))
    .where((where) => where.not(isWaiting(where as unknown as MailboxWhere, keyIds)))
    .orderBy('mailbox_state.next_poll_at')
    .orderBy('mailbox_state.mailbox_id');
}

export async function takeLease(
  db: Connected,
  words: DialectWords,
  mailboxId: string,
  owner: string,
  leaseMs: number,
  dead: string | null,
): Promise<Lease | null> {
  const take = db
    .updateTable('mailbox_state')
    .set({ lease_owner: owner, lease_until: words.nowPlus(leaseMs) })
    .where('mailbox_id', '=', mailboxId)
    .where((where) =>
      where.or([
        where('lease_owner', 'is', null),
        where('lease_until', '<=', words.now),
        ...(dead === null ? [] : [where('lease_owner', '=', dead)]),
      ]),
    );
  if (words.kind === 'sqlite') {
    const raised = take.set({ lease_epoch: sql<number>`lease_epoch + 1` }).returning('lease_epoch');
    const row = await raised.executeTakeFirst();
    return row === undefined ? null : { mailboxId, owner, epoch: row.lease_epoch };
  }
  // The epoch comes back with the answer to the UPDATE itself, where an INSERT would tell its new id.
  const raised = take.set({ lease_epoch: sql<number>`last_insert_id(lease_epoch + 1)` });
  const result = await db.executeQuery(raised.compile());
  return result.numAffectedRows === 1n ? { mailboxId, owner, epoch: Number(result.insertId) } : null;
}

export async function leaseOwner(db: Connected, words: DialectWords, mailboxId: string): Promise<string | null> {
  const row = await db
    .selectFrom('mailbox_state')
    .select('lease_owner')
    .where('mailbox_id', '=', mailboxId)
    .where('lease_until', '>', words.now)
    .executeTakeFirst();
  return row?.lease_owner ?? null;
}

export async function freeLease(db: Connected, mailboxId: string, owner: string): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({ lease_owner: null, lease_until: null })
    .where('mailbox_id', '=', mailboxId)
    .where('lease_owner', '=', owner)
    .execute();
}

/** Also renews a lease that ran out but that nobody took: it protects as well as before. */
export async function renewLease(db: Connected, words: DialectWords, lease: Lease, leaseMs: number): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ lease_until: words.nowPlus(leaseMs) })
    .where((where) => isHeld(where, lease))
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease);
}

export async function releaseLease(
  db: Connected,
  words: DialectWords,
  lease: Lease,
  result: PollResult,
): Promise<void> {
  const free = { lease_owner: null, lease_until: null, next_poll_at: words.nowPlus(result.nextPollAfterMs) };
  const update = db.updateTable('mailbox_state').where((where) => isHeld(where, lease));
  if (result.ok) {
    const cleared = { last_error_code: null, last_error_message: null, last_error_hint: null, last_error_at: null };
    await update.set({ ...free, ...cleared, failures: 0, last_success_at: words.now }).execute();
    return;
  }
  await update
    .set({
      ...free,
      failures: sql<number>`failures + 1`,
      last_error_code: result.error.code.slice(0, 32),
      last_error_message: result.error.message.slice(0, 10_000).toWellFormed(),
      last_error_hint: result.error.hint.slice(0, 10_000).toWellFormed(),
      last_error_at: words.now,
    })
    .execute();
}

export async function readCursor(db: Connected, mailboxId: string): Promise<Cursor | null> {
  const row = await db
    .selectFrom('mailbox_state')
    .select(['cursor_uid_validity', 'cursor_uid'])
    .where('mailbox_id', '=', mailboxId)
    .executeTakeFirst();
  return row === undefined ? null : toCursor(row);
}

/** The fence of every batch: it moves the cursor only for who holds the lease, and locks the row until the commit. */
export async function setCursor(db: Connected, words: DialectWords, lease: Lease, cursor: Cursor): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ cursor_uid_validity: cursor.uidValidity, cursor_uid: cursor.uid })
    .where((where) => isHeld(where, lease))
    .where('lease_until', '>', words.now)
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease);
}

export function isHeld(where: StateWhere, lease: Lease) {
  return where
    .and([
      where('mailbox_state.mailbox_id', '=', lease.mailboxId),
      where('mailbox_state.lease_owner', '=', lease.owner),
      where('mailbox_state.lease_epoch', '=', lease.epoch),
    ])
    .$castTo<SqlBool>();
}

export function leaseLost(lease: Lease): Failure {
  return new Failure('lease_lost', 'The lease on the mailbox was lost.', { fields: { mailbox: lease.mailboxId } });
}
