/**
 * Numberings of folders as rows: where a mailbox is, and what of the numberings before the present one is forgotten.
 *
 * Every write names the lease. Forgetting goes in portions, so that no statement holds many rows for long; when it is
 * interrupted the rest stays until the next time, which does no harm.
 */
import { type ExpressionBuilder, sql, type Updateable } from 'kysely';
import { Failure } from '../../../errors.ts';
import type { Cursor } from '../../../ingest/model.ts';
import type { Listed } from '../../../ingest/ports.ts';
import type { Beginning, Lease, NumberingStore, Place } from '../../../ingest/stores.ts';
import { toCursor } from '../rows/mailboxes.ts';
import type { DialectWords } from '../sql/dialect.ts';
import { fromOptionalTime } from '../sql/dialect.ts';
import type { Connected, Tables } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';
import { isHeld, leaseLost } from './leases.ts';

const rowsPerPortion = 2000;

export function numberingStore(db: Connected, words: DialectWords): NumberingStore {
  return {
    readPlace: (mailboxId) => readPlace(db, mailboxId),
    isNumberingUsed: (mailboxId, numbering) => isNumberingUsed(db, mailboxId, numbering),
    lastHandled: (mailboxId, cursor, limit) => lastHandled(db, mailboxId, cursor, limit),
    beginNumbering: (lease, numbering) => beginNumbering(db, words, lease, numbering),
    nameFolder: (lease, folder) => nameFolder(db, words, lease, folder),
    forgetNumberings: (lease, numbering) => forgetNumberings(db, lease, numbering),
  };
}

async function readPlace(db: Connected, mailboxId: string): Promise<Place> {
  const row = await db
    .selectFrom('mailbox_state')
    .select(['cursor_uid_validity', 'cursor_uid', 'folder_life', 'cursor_start_uid', 'cursor_folder'])
    .where('mailbox_id', '=', mailboxId)
    .executeTakeFirst();
  if (row === undefined) throw new Failure('not_found', `There is no mailbox ${JSON.stringify(mailboxId)}.`);
  return {
    ...{ cursor: toCursor(row), life: row.folder_life },
    ...{ startUid: row.cursor_start_uid, folder: row.cursor_folder },
  };
}

async function isNumberingUsed(db: Connected, mailboxId: string, numbering: number): Promise<boolean> {
  const row = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', numbering)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

async function lastHandled(
  db: Connected,
  mailboxId: string,
  { uidValidity, uid }: Cursor,
  limit: number,
): Promise<readonly Listed[]> {
  const rows = await db
    .selectFrom('outcome')
    .select(['uid', 'size_bytes', 'received_at'])
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', uidValidity)
    .where('uid', '<=', uid)
    .orderBy('uid', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    uid: row.uid,
    sizeBytes: row.size_bytes,
    receivedAtMs: fromOptionalTime(row.received_at),
  }));
}

async function beginNumbering(
  db: Connected,
  words: DialectWords,
  lease: Lease,
  { cursor: { uidValidity, uid }, life, folder }: Beginning,
): Promise<void> {
  const cursor = { cursor_uid_validity: uidValidity, cursor_uid: uid, cursor_start_uid: uid };
  await setState(db, words, lease, { ...cursor, folder_life: life, cursor_folder: folder });
}

async function nameFolder(db: Connected, words: DialectWords, lease: Lease, folder: string): Promise<void> {
  await setState(db, words, lease, { cursor_folder: folder });
}

async function setState(
  db: Connected,
  words: DialectWords,
  lease: Lease,
  values: Updateable<Tables['mailbox_state']>,
): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set(values)
    .where((where) => isHeld(where, lease))
    .where('lease_until', '>', words.now)
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease);
}

async function forgetNumberings(db: Connected, lease: Lease, present: number): Promise<void> {
  for (let numbering = await numberingAfter(db, lease.mailboxId, -1); numbering !== null; ) {
    if (numbering !== present) await forgetNumbering(db, lease, numbering);
    numbering = await numberingAfter(db, lease.mailboxId, numbering);
  }
}

async function numberingAfter(db: Connected, mailboxId: string, after: number): Promise<number | null> {
  const row = await db
    .selectFrom('outcome')
    .select('uid_validity')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '>', after)
    .orderBy('uid_validity')
    .limit(1)
    .executeTakeFirst();
  return row?.uid_validity ?? null;
}

/** Portions by UID, of rows to forget alone: a DELETE with a limit is not in both dialects. */
async function forgetNumbering(db: Connected, { mailboxId, ...lease }: Lease, numbering: number): Promise<void> {
  for (let after = -1; ; ) {
    const last = await lastOfPortion(db, mailboxId, numbering, after);
    if (last === null) return;
    const from = after;
    await inTransaction(db, async (transaction) => {
      await assertHeld(transaction, { mailboxId, ...lease });
      await transaction
        .updateTable('outcome')
        .set({ action_pending: 0 })
        .where('mailbox_id', '=', mailboxId)
        .where('uid_validity', '=', numbering)
        .where('uid', '>', from)
        .where('uid', '<=', last)
        .where('action_pending', '=', 1)
        .execute();
      await transaction
        .deleteFrom('outcome')
        .where('mailbox_id', '=', mailboxId)
        .where('uid_validity', '=', numbering)
        .where('uid', '>', from)
        .where('uid', '<=', last)
        .where(forgotten)
        .execute();
    });
    after = last;
  }
}

/** Duplicates, and what waits in quarantine of which nothing was kept: under its old number it cannot be fetched. */
function forgotten(where: ExpressionBuilder<Tables, 'outcome'>) {
  return where.or([
    where('outcome', '=', 'duplicate'),
    where.and([
      where('outcome', '=', 'quarantined'),
      where('resolved_at', 'is', null),
      where('raw_segment', 'is', null),
    ]),
  ]);
}

async function lastOfPortion(
  db: Connected,
  mailboxId: string,
  numbering: number,
  after: number,
): Promise<number | null> {
  const rows = await db
    .selectFrom('outcome')
    .select('uid')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', numbering)
    .where('uid', '>', after)
    .where((where) => where.or([forgotten(where), where('action_pending', '=', 1)]))
    .orderBy('uid')
    .limit(rowsPerPortion)
    .execute();
  return rows.at(-1)?.uid ?? null;
}

/** Writes nothing, and holds the row until the commit, as the fence of a batch does. */
async function assertHeld(db: Connected, lease: Lease): Promise<void> {
  const result = await db
    .updateTable('mailbox_state')
    .set({ lease_epoch: sql<number>`lease_epoch` })
    .where((where) => isHeld(where, lease))
    .executeTakeFirst();
  if (result.numUpdatedRows !== 1n) throw leaseLost(lease);
}
