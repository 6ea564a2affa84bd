/**
 * Mails in quarantine that come again because their folder was numbered anew: known by what is kept of them, and one of which
 * the header alone was fetched by its size and its Message-ID.
 *
 * The row under the old number gives way to the new one, since the mail is to be found under that now; one that somebody has
 * discarded stays discarded, and one that somebody has released is a duplicate. Part of the transaction that stores the new row.
 */
import { sql } from 'kysely';
import type { Batch, NewOutcome } from '../../ingest/model.ts';
import type { DialectWords } from './dialect-words.ts';
import { hashOf } from './message-rows.ts';
import type { Connected } from './tables.ts';
import { toClaimedTime } from './times.ts';

export async function recogniseReturned(
  db: Connected,
  words: DialectWords,
  mailboxId: string,
  { outcomes, cursor: { uidValidity: numbering } }: Pick<Batch, 'outcomes' | 'cursor'>,
): Promise<void> {
  for (const outcome of outcomes) {
    const { raw } = outcome;
    if (outcome.outcome !== 'quarantined' || raw === null) continue;
    const place = { mailboxId, numbering, uid: outcome.uid };
    const before = await heldBefore(db, place, raw.sha256);
    for (const old of before) if (old.resolved_at === null) await giveWay(db, mailboxId, old);
    if (before.some((old) => old.resolved_at !== null))
      await present(db, place).set({ resolved_at: words.now }).execute();
    // A mail that was parsed is known by its identity.
    else if (outcome.identity === null) await recogniseReleased(db, words, place, outcome);
  }
}

type Place = { readonly mailboxId: string; readonly numbering: number; readonly uid: number };

function present(db: Connected, { mailboxId, numbering, uid }: Place) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', numbering)
    .where('uid', '=', uid);
}

/** Under other numberings. The index by outcome and time of resolution leads there: quarantine is small. */
function heldBefore(db: Connected, { mailboxId, numbering }: Place, sha256: string) {
  return db
    .selectFrom('outcome')
    .select(['uid_validity', 'uid', 'resolved_at'])
    .where('outcome', '=', 'quarantined')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '<>', numbering)
    .where('raw_sha256', '=', sha256)
    .execute();
}

/** What was taken out of quarantine is in the same index. */
async function recogniseReleased(db: Connected, words: DialectWords, place: Place, outcome: NewOutcome): Promise<void> {
  const old = await db
    .selectFrom('outcome')
    .leftJoin('message', 'message.id', 'outcome.message_id')
    .select(['outcome.ticket_id', 'outcome.message_id'])
    .where('outcome.outcome', 'in', ['ticket_opened', 'reply_added', 'recorded'])
    .where('outcome.resolved_at', 'is not', null)
    .where('outcome.mailbox_id', '=', place.mailboxId)
    .where('outcome.uid_validity', '<>', place.numbering)
    .where(isSameMail(outcome))
    .limit(1)
    .executeTakeFirst();
  if (old === undefined) return;
  const { ticket_id, message_id } = old;
  const known = { outcome: 'duplicate', reason: 'seen_before', ticket_id, message_id };
  await present(db, place)
    .set({ ...known, resolved_at: words.now })
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
  db: Connected,
  mailboxId: string,
  old: { readonly uid_validity: number; readonly uid: number },
): Promise<void> {
  await db
    .deleteFrom('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', old.uid_validity)
    .where('uid', '=', old.uid)
    .where('resolved_at', 'is', null)
    .execute();
}
