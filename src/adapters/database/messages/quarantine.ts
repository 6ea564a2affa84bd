/**
 * Mails in quarantine: the outcome rows that nobody has resolved, and those that were discarded.
 *
 * Every write asks in the same statement whether the row still waits, so that of two who resolve the same mail one does
 * and the other is told. Mailboxes that were removed have no rows.
 */

import { sql } from 'kysely';
import type { Batch, NewOutcome } from '../../../ingest/model.ts';
import type { QuarantineReader } from '../../../ingest/ports.ts';
import type {
  QuarantinedMessage,
  QuarantineFilter,
  QuarantineName,
  QuarantineStore,
  Requarantine,
} from '../../../ingest/stores.ts';
import { hashOf } from '../rows/messages.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { fromDatabaseTime, fromOptionalTime, toClaimedTime } from '../sql/values.ts';

const rowsPerPage = 500;

export function quarantineStore(db: SqlExecutor, dialect: SqlDialect): QuarantineStore & QuarantineReader {
  return {
    quarantineCounts: () => quarantine(db),
    quarantinedMessages: (filter) => quarantinedMessages(db, filter),
    quarantinedByUid: (mailboxId, folderEpoch, uid, discarded) =>
      quarantinedByUid(db, mailboxId, folderEpoch, uid, discarded ?? false),
    quarantinedByName: (name, discarded) => quarantinedByName(db, name, discarded),
    quarantinePage: (reason, offset, limit) => quarantinePage(db, reason, offset, limit),
    discard: (mail) => discard(db, dialect, mail),
    undiscard: (mail) => undiscard(db, mail),
    requarantine: (mail, found) => requarantine(db, mail, found),
  };
}

async function quarantine(db: SqlExecutor): ReturnType<QuarantineReader['quarantineCounts']> {
  const rows = await db
    .selectFrom('outcome')
    .select('reason')
    .select((of) => [of.fn.countAll<number>().as('count'), of.fn.min('created_at').as('oldest')])
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .groupBy('reason')
    .execute();
  const reasons = rows.map(({ reason, count }) => ({ reason: reason ?? '', count: Number(count) }));
  const oldest = rows.flatMap((row) => fromOptionalTime(row.oldest) ?? []);
  return {
    reasons: reasons.toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
    oldestAtMs: oldest.length === 0 ? null : Math.min(...oldest),
  };
}

function held(db: SqlExecutor, discarded: boolean) {
  return heldRows(db)
    .where('outcome.outcome', '=', 'quarantined')
    .where('outcome.resolved_at', discarded ? 'is not' : 'is', null);
}

function heldRows(db: SqlExecutor) {
  return db
    .selectFrom('outcome')
    .innerJoin('mailboxes', 'mailboxes.id', 'outcome.mailbox_id')
    .select(['outcome.mailbox_id', 'mailboxes.name', 'outcome.folder_epoch', 'outcome.uid', 'outcome.reason'])
    .select(['outcome.created_at', 'outcome.received_at', 'outcome.size_bytes', 'outcome.resolved_at'])
    .select(['outcome.raw_segment', 'outcome.raw_offset', 'outcome.raw_length', 'outcome.raw_sha256']);
}

type HeldRow = Awaited<ReturnType<ReturnType<typeof heldRows>['execute']>>[number];

function toHeldMail(row: HeldRow): QuarantinedMessage {
  const { raw_segment: segment, raw_offset: offset, raw_length: lengthBytes, raw_sha256: sha256 } = row;
  const isKept = segment !== null && offset !== null && lengthBytes !== null;
  return {
    mailboxId: row.mailbox_id,
    mailbox: row.name,
    folderEpoch: row.folder_epoch,
    uid: row.uid,
    reason: row.reason ?? '',
    quarantinedAtMs: fromDatabaseTime(row.created_at),
    discardedAtMs: fromOptionalTime(row.resolved_at),
    receivedAtMs: fromOptionalTime(row.received_at),
    sizeBytes: row.size_bytes,
    raw: isKept ? { segment, offset, lengthBytes, sha256: sha256 ?? '' } : null,
  };
}

async function* quarantinedMessages(
  db: SqlExecutor,
  { mailboxId, reason, discarded = false }: QuarantineFilter,
): AsyncIterable<QuarantinedMessage> {
  let last: HeldRow | undefined;
  do {
    let query = held(db, discarded)
      .orderBy('outcome.mailbox_id')
      .orderBy('outcome.folder_epoch')
      .orderBy('outcome.uid')
      .limit(rowsPerPage);
    if (mailboxId !== null) query = query.where('outcome.mailbox_id', '=', mailboxId);
    if (reason !== null) query = query.where('outcome.reason', '=', reason);
    const after = last;
    if (after !== undefined) {
      query = query.where((where) =>
        where.or([
          where('outcome.mailbox_id', '>', after.mailbox_id),
          where.and([
            where('outcome.mailbox_id', '=', after.mailbox_id),
            where.or([
              where('outcome.folder_epoch', '>', after.folder_epoch),
              where.and([where('outcome.folder_epoch', '=', after.folder_epoch), where('outcome.uid', '>', after.uid)]),
            ]),
          ]),
        ]),
      );
    }
    const rows = await query.execute();
    yield* rows.map(toHeldMail);
    last = rows.length < rowsPerPage ? undefined : rows.at(-1);
  } while (last !== undefined);
}

async function quarantinedByUid(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number | null,
  uid: number,
  discarded: boolean,
): Promise<readonly QuarantinedMessage[]> {
  let query = held(db, discarded).where('outcome.mailbox_id', '=', mailboxId).where('outcome.uid', '=', uid);
  if (folderEpoch !== null) query = query.where('outcome.folder_epoch', '=', folderEpoch);
  return (await query.orderBy('outcome.folder_epoch').execute()).map(toHeldMail);
}

/** A name is compared to the letter, whatever the collation says. */
async function quarantinedByName(
  db: SqlExecutor,
  name: QuarantineName,
  discarded: boolean,
): Promise<readonly QuarantinedMessage[]> {
  let query = held(db, discarded).where('mailboxes.name', '=', name.mailbox).where('outcome.uid', '=', name.uid);
  if (name.folderEpoch !== null) query = query.where('outcome.folder_epoch', '=', name.folderEpoch);
  const rows = await query.orderBy('outcome.folder_epoch').execute();
  return rows.filter((row) => row.name === name.mailbox).map(toHeldMail);
}

/**
 * The index alone tells which those are, unless a reason is asked for; only their rows are read whole. No condition beside
 * the join: with one, SQLite begins at all that are in quarantine.
 */
async function quarantinePage(
  db: SqlExecutor,
  reason: string | null,
  offset: number,
  limit: number,
): Promise<readonly QuarantinedMessage[]> {
  let chosen = db
    .selectFrom('outcome')
    .select(['mailbox_id', 'folder_epoch', 'uid'])
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .orderBy('created_at', 'desc')
    .orderBy('mailbox_id', 'desc')
    .orderBy('folder_epoch', 'desc')
    .orderBy('uid', 'desc')
    .limit(limit)
    .offset(offset);
  if (reason !== null) chosen = chosen.where('reason', '=', reason);
  const rows = await heldRows(db)
    .innerJoin(chosen.as('chosen'), (join) =>
      join
        .onRef('chosen.mailbox_id', '=', 'outcome.mailbox_id')
        .onRef('chosen.folder_epoch', '=', 'outcome.folder_epoch')
        .onRef('chosen.uid', '=', 'outcome.uid'),
    )
    .orderBy('outcome.created_at', 'desc')
    .orderBy('outcome.mailbox_id', 'desc')
    .orderBy('outcome.folder_epoch', 'desc')
    .orderBy('outcome.uid', 'desc')
    .execute();
  return rows.map(toHeldMail);
}

function waiting(db: SqlExecutor, mail: QuarantinedMessage) {
  return row(db, mail).where('resolved_at', 'is', null);
}

function row(db: SqlExecutor, { mailboxId, folderEpoch, uid }: QuarantinedMessage) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid)
    .where('outcome', '=', 'quarantined');
}

async function discard(db: SqlExecutor, dialect: SqlDialect, mail: QuarantinedMessage): Promise<boolean> {
  const result = await waiting(db, mail).set({ resolved_at: dialect.now }).executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function undiscard(db: SqlExecutor, mail: QuarantinedMessage): Promise<boolean> {
  const result = await row(db, mail).where('resolved_at', 'is not', null).set({ resolved_at: null }).executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function requarantine(
  db: SqlExecutor,
  mail: QuarantinedMessage,
  { reason, raw, sizeBytes }: Requarantine,
): Promise<boolean> {
  const result = await waiting(db, mail)
    .set({
      reason,
      size_bytes: sizeBytes,
      raw_segment: raw?.segment ?? null,
      raw_offset: raw?.offset ?? null,
      raw_length: raw?.lengthBytes ?? null,
      raw_sha256: raw?.sha256 ?? null,
    })
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/**
 * Mails in quarantine that come again because their folder was numbered anew: known by what is kept of them, and one of which
 * the header alone was fetched by its size and its Message-ID.
 *
 * The row under the old number gives way to the new one, since the mail is to be found under that now; one that somebody has
 * discarded stays discarded, and one that somebody has released is a duplicate. Part of the transaction that stores the new row.
 */

export async function matchRequarantined(
  db: SqlExecutor,
  dialect: SqlDialect,
  mailboxId: string,
  { outcomes, cursor: { folderEpoch } }: Pick<Batch, 'outcomes' | 'cursor'>,
): Promise<void> {
  for (const outcome of outcomes) {
    const { raw } = outcome;
    if (outcome.outcome !== 'quarantined' || raw === null) continue;
    const place = { mailboxId, folderEpoch, uid: outcome.uid };
    const before = await heldBefore(db, place, raw.sha256);
    for (const old of before) if (old.resolved_at === null) await giveWay(db, mailboxId, old);
    if (before.some((old) => old.resolved_at !== null))
      await present(db, place).set({ resolved_at: dialect.now }).execute();
    // A mail that was parsed is known by its identity.
    else if (outcome.dedupKey === null) await recogniseReleased(db, dialect, place, outcome);
  }
}

type Place = { readonly mailboxId: string; readonly folderEpoch: number; readonly uid: number };

function present(db: SqlExecutor, { mailboxId, folderEpoch, uid }: Place) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid);
}

/** Under other folder epochs. The index by outcome and time of resolution leads there: quarantine is small. */
function heldBefore(db: SqlExecutor, { mailboxId, folderEpoch }: Place, sha256: string) {
  return db
    .selectFrom('outcome')
    .select(['folder_epoch', 'uid', 'resolved_at'])
    .where('outcome', '=', 'quarantined')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '<>', folderEpoch)
    .where('raw_sha256', '=', sha256)
    .execute();
}

/** What was taken out of quarantine is in the same index. */
async function recogniseReleased(
  db: SqlExecutor,
  dialect: SqlDialect,
  place: Place,
  outcome: NewOutcome,
): Promise<void> {
  const old = await db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .select(['outcome.ticket_id', 'outcome.message_id'])
    .where('outcome.outcome', 'in', ['ticket_opened', 'reply_added', 'recorded'])
    .where('outcome.resolved_at', 'is not', null)
    .where('outcome.mailbox_id', '=', place.mailboxId)
    .where('outcome.folder_epoch', '<>', place.folderEpoch)
    .where(isSameMail(outcome))
    .limit(1)
    .executeTakeFirst();
  if (old === undefined) return;
  const { ticket_id, message_id } = old;
  const known = { outcome: 'duplicate', reason: 'seen_before', ticket_id, message_id };
  await present(db, place)
    .set({ ...known, resolved_at: dialect.now })
    .execute();
}

/** The same source; or, of a header, the same size with the same Message-ID, else, where that is not known, the same arrival. */
function isSameMail({ raw, reason, sizeBytes, receivedAtMs, headMessageId }: NewOutcome) {
  const same = sql<boolean>`outcome.raw_sha256 = ${raw?.sha256 ?? ''}`;
  if (reason !== 'too_large' && reason !== 'source_empty') return same;
  const id = headMessageId === undefined ? sql`1 = 0` : sql`message.message_id_hash = ${hashOf(headMessageId)}`;
  const receivedAt = toClaimedTime(receivedAtMs);
  const arrival =
    receivedAt === null ? sql`1 = 0` : sql`outcome.received_at = ${receivedAt} and ${isUnnamed(headMessageId)}`;
  return sql<boolean>`(${same} or (outcome.size_bytes = ${sizeBytes} and (${id} or (${arrival}))))`;
}

/** One without a Message-ID, or whose message somebody has deleted. */
function isUnnamed(headMessageId: string | undefined) {
  return headMessageId === undefined
    ? sql`(message.id is null or message.message_id_missing = 1)`
    : sql`message.id is null`;
}

async function giveWay(
  db: SqlExecutor,
  mailboxId: string,
  old: { readonly folder_epoch: number; readonly uid: number },
): Promise<void> {
  await db
    .deleteFrom('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', old.folder_epoch)
    .where('uid', '=', old.uid)
    .where('resolved_at', 'is', null)
    .execute();
}
