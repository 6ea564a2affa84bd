/**
 * Deduplication of quarantined messages after a UIDVALIDITY change, when the server lists them under new UIDs.
 *
 * A message is matched by the hash of its source; one of which only the header was fetched by size and Message-ID. An
 * unresolved row of the earlier folder epoch is replaced by the new one; a discarded message stays discarded, and a
 * released one is a duplicate. Part of the transaction that inserts the new row.
 */
import { sql } from 'kysely';
import { type Batch, type NewOutcome, storedOutcomes } from '../../../ingest/model.ts';
import { describeReason } from '../../../ingest/quarantine/reasons.ts';
import { hashOf } from '../rows/messages.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { type SqlExecutor, toClaimedTime } from '../sql/tables.ts';

export async function matchRequarantined(
  db: SqlExecutor,
  dialect: SqlDialect,
  mailboxId: string,
  { outcomes, cursor: { folderEpoch } }: Pick<Batch, 'outcomes' | 'cursor'>,
): Promise<void> {
  for (const outcome of outcomes) {
    const { raw } = outcome;
    if (outcome.outcome !== 'quarantined' || raw === null) continue;
    const key = { mailboxId, folderEpoch, uid: outcome.uid };
    const earlier = await earlierRows(db, key, raw.sha256);
    for (const row of earlier) if (row.resolved_at === null) await deleteRow(db, mailboxId, row);
    if (earlier.some((row) => row.resolved_at !== null))
      await newRow(db, key).set({ resolved_at: dialect.now }).execute();
    // A parsed message is matched by its dedup key.
    else if (outcome.dedupKey === null) await matchReleased(db, dialect, key, outcome);
  }
}

type OutcomeKey = { readonly mailboxId: string; readonly folderEpoch: number; readonly uid: number };

function newRow(db: SqlExecutor, { mailboxId, folderEpoch, uid }: OutcomeKey) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', folderEpoch)
    .where('uid', '=', uid);
}

/** The rows of other folder epochs, found by the index on outcome and time of resolution: quarantine is small. */
function earlierRows(db: SqlExecutor, { mailboxId, folderEpoch }: OutcomeKey, sha256: string) {
  return db
    .selectFrom('outcome')
    .select(['folder_epoch', 'uid', 'resolved_at'])
    .where('outcome', '=', 'quarantined')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '<>', folderEpoch)
    .where('raw_sha256', '=', sha256)
    .execute();
}

/** Released messages are in the same index. */
async function matchReleased(
  db: SqlExecutor,
  dialect: SqlDialect,
  key: OutcomeKey,
  outcome: NewOutcome,
): Promise<void> {
  const released = await db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .select(['outcome.ticket_id', 'outcome.message_id'])
    .where('outcome.outcome', 'in', storedOutcomes)
    .where('outcome.resolved_at', 'is not', null)
    .where('outcome.mailbox_id', '=', key.mailboxId)
    .where('outcome.folder_epoch', '<>', key.folderEpoch)
    .where(isSameMessage(outcome))
    .limit(1)
    .executeTakeFirst();
  if (released === undefined) return;
  const { ticket_id, message_id } = released;
  const duplicate = { outcome: 'duplicate', reason: 'seen_before', ticket_id, message_id };
  await newRow(db, key)
    .set({ ...duplicate, resolved_at: dialect.now })
    .execute();
}

/**
 * The same source. For a header alone: the same size and Message-ID, or without a Message-ID the same time of
 * arrival.
 */
function isSameMessage({ raw, reason, sizeBytes, receivedAtMs, headMessageId }: NewOutcome) {
  const same = sql<boolean>`outcome.raw_sha256 = ${raw?.sha256 ?? ''}`;
  if (reason === null || describeReason(reason).source !== 'header') return same;
  const id = headMessageId === undefined ? sql`1 = 0` : sql`message.message_id_hash = ${hashOf(headMessageId)}`;
  const receivedAt = toClaimedTime(receivedAtMs);
  const arrival =
    receivedAt === null ? sql`1 = 0` : sql`outcome.received_at = ${receivedAt} and ${hasNoMessageId(headMessageId)}`;
  return sql<boolean>`(${same} or (outcome.size_bytes = ${sizeBytes} and (${id} or (${arrival}))))`;
}

/** Without a Message-ID, or its message row was deleted. */
function hasNoMessageId(headMessageId: string | undefined) {
  return headMessageId === undefined
    ? sql`(message.id is null or message.message_id_missing = 1)`
    : sql`message.id is null`;
}

async function deleteRow(
  db: SqlExecutor,
  mailboxId: string,
  row: { readonly folder_epoch: number; readonly uid: number },
): Promise<void> {
  await db
    .deleteFrom('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('folder_epoch', '=', row.folder_epoch)
    .where('uid', '=', row.uid)
    .where('resolved_at', 'is', null)
    .execute();
}
