/**
 * Quarantine store: the unresolved and the discarded outcome rows of quarantined messages.
 *
 * Every write checks in the same statement that the row is still unresolved, so that of two concurrent resolutions
 * exactly one succeeds and the other returns false. Removed mailboxes have no rows.
 */
import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type { QuarantineReader } from '../../../ingest/ports.ts';
import { otherReason, quarantineReasons } from '../../../ingest/quarantine/reasons.ts';
import type {
  QuarantinedMessage,
  QuarantineFilter,
  QuarantineName,
  QuarantineStore,
  Requarantine,
} from '../../../ingest/stores.ts';
import { toStoredSource } from '../rows/messages.ts';
import { bindDatabase } from '../sql/statements.ts';
import { fromDatabaseTime, fromOptionalTime, type SqlExecutor } from '../sql/tables.ts';

const rowsPerPage = 500;

export function quarantineStore(db: SqlExecutor): QuarantineStore & QuarantineReader {
  return bindDatabase(db, {
    quarantineCounts,
    quarantinedMessages,
    quarantinedByUid,
    quarantinedByName,
    quarantinePage,
    discard,
    undiscard,
    requarantine,
  });
}

/** The oldest are counted: far more than any quarantine holds. */
const countedMax = 100_000;

async function quarantineCounts(db: SqlExecutor): ReturnType<QuarantineReader['quarantineCounts']> {
  const known = sql.join(quarantineReasons.map((reason) => sql.lit(reason)));
  const waiting = db
    .selectFrom('outcome')
    .select('created_at')
    .select(sql<string>`case when reason in (${known}) then reason else ${sql.lit(otherReason)} end`.as('known_reason'))
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .orderBy('created_at')
    .limit(countedMax);
  const rows = await db
    .selectFrom(waiting.as('waiting'))
    .select('known_reason')
    .select((of) => [of.fn.countAll<number>().as('count'), of.fn.min('created_at').as('oldest')])
    .groupBy('known_reason')
    .execute();
  const reasons = rows.map(({ known_reason: reason, count }) => ({ reason, count: Number(count) }));
  const oldest = rows.flatMap((row) => fromOptionalTime(row.oldest) ?? []);
  return {
    reasons: reasons.toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
    oldestAtMs: oldest.length === 0 ? null : Math.min(...oldest),
  };
}

function hasReason(reason: string): RawBuilder<SqlBool> {
  const known = sql.join(quarantineReasons.map((one) => sql.lit(one)));
  return reason === otherReason
    ? sql<SqlBool>`(outcome.reason is null or outcome.reason not in (${known}))`
    : sql<SqlBool>`outcome.reason = ${reason}`;
}

function quarantined(db: SqlExecutor, discarded: boolean) {
  return quarantineRows(db)
    .where('outcome.outcome', '=', 'quarantined')
    .where('outcome.resolved_at', discarded ? 'is not' : 'is', null);
}

function quarantineRows(db: SqlExecutor) {
  return db
    .selectFrom('outcome')
    .innerJoin('mailboxes', 'mailboxes.id', 'outcome.mailbox_id')
    .select(['outcome.mailbox_id', 'mailboxes.name', 'outcome.folder_epoch', 'outcome.uid', 'outcome.reason'])
    .select(['outcome.created_at', 'outcome.received_at', 'outcome.size_bytes', 'outcome.resolved_at'])
    .select(['outcome.raw_segment', 'outcome.raw_offset', 'outcome.raw_length', 'outcome.raw_sha256']);
}

type QuarantineRow = Awaited<ReturnType<ReturnType<typeof quarantineRows>['execute']>>[number];

function toQuarantinedMessage(row: QuarantineRow): QuarantinedMessage {
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
    raw: toStoredSource(row),
  };
}

async function* quarantinedMessages(
  db: SqlExecutor,
  { mailboxId, reason, discarded = false }: QuarantineFilter,
): AsyncIterable<QuarantinedMessage> {
  let last: QuarantineRow | undefined;
  do {
    let query = quarantined(db, discarded)
      .orderBy('outcome.mailbox_id')
      .orderBy('outcome.folder_epoch')
      .orderBy('outcome.uid')
      .limit(rowsPerPage);
    if (mailboxId !== null) query = query.where('outcome.mailbox_id', '=', mailboxId);
    if (reason !== null) query = query.where(hasReason(reason));
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
    yield* rows.map(toQuarantinedMessage);
    last = rows.length < rowsPerPage ? undefined : rows.at(-1);
  } while (last !== undefined);
}

async function quarantinedByUid(
  db: SqlExecutor,
  mailboxId: string,
  folderEpoch: number | null,
  uid: number,
  discarded = false,
): Promise<readonly QuarantinedMessage[]> {
  let query = quarantined(db, discarded).where('outcome.mailbox_id', '=', mailboxId).where('outcome.uid', '=', uid);
  if (folderEpoch !== null) query = query.where('outcome.folder_epoch', '=', folderEpoch);
  return (await query.orderBy('outcome.folder_epoch').execute()).map(toQuarantinedMessage);
}

/** The name is compared letter by letter, whatever the collation. */
async function quarantinedByName(
  db: SqlExecutor,
  name: QuarantineName,
  discarded: boolean,
): Promise<readonly QuarantinedMessage[]> {
  let query = quarantined(db, discarded).where('mailboxes.name', '=', name.mailbox).where('outcome.uid', '=', name.uid);
  if (name.folderEpoch !== null) query = query.where('outcome.folder_epoch', '=', name.folderEpoch);
  const rows = await query.orderBy('outcome.folder_epoch').execute();
  return rows.filter((row) => row.name === name.mailbox).map(toQuarantinedMessage);
}

/**
 * The inner query reads the index alone, unless a reason is given; only the rows of the page are read whole. No
 * condition beside the join: with one, SQLite would start at all quarantined rows.
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
  if (reason !== null) chosen = chosen.where(hasReason(reason));
  const rows = await quarantineRows(db)
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
  return rows.map(toQuarantinedMessage);
}

function unresolved(db: SqlExecutor, message: QuarantinedMessage) {
  return row(db, message).where('resolved_at', 'is', null);
}

function row(db: SqlExecutor, { mailboxId, folderEpoch, uid }: QuarantinedMessage) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid)
    .where('outcome', '=', 'quarantined');
}

async function discard(db: SqlExecutor, message: QuarantinedMessage): Promise<boolean> {
  const result = await unresolved(db, message).set({ resolved_at: db.dialect.now }).executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function undiscard(db: SqlExecutor, message: QuarantinedMessage): Promise<boolean> {
  const result = await row(db, message)
    .where('resolved_at', 'is not', null)
    .set({ resolved_at: null })
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function requarantine(
  db: SqlExecutor,
  message: QuarantinedMessage,
  { reason, raw, sizeBytes }: Requarantine,
): Promise<boolean> {
  const result = await unresolved(db, message)
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
