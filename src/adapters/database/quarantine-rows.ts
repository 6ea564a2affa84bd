/**
 * Mails in quarantine: the outcome rows that nobody has resolved, and those that were discarded.
 *
 * Every write asks in the same statement whether the row still waits, so that of two who resolve the same mail one does
 * and the other is told. Mailboxes that were removed have no rows.
 */
import type { QuarantineReader } from '../../ingest/ports.ts';
import type { HeldAgain, HeldFilter, HeldMail, HeldName, QuarantineStore } from '../../ingest/stores.ts';
import type { DialectWords } from './dialect-words.ts';
import type { Connected } from './tables.ts';
import { fromDatabaseTime, fromOptionalTime } from './times.ts';

const rowsPerPage = 500;

export function quarantineStore(db: Connected, words: DialectWords): QuarantineStore & QuarantineReader {
  return {
    quarantine: () => quarantine(db),
    heldMails: (filter) => heldMails(db, filter),
    heldMail: (mailboxId, numbering, uid, discarded) => heldMail(db, mailboxId, numbering, uid, discarded ?? false),
    heldNamed: (name, discarded) => heldNamed(db, name, discarded),
    heldPage: (reason, offset, limit) => heldPage(db, reason, offset, limit),
    discardHeld: (mail) => discardHeld(db, words, mail),
    holdDiscarded: (mail) => holdDiscarded(db, mail),
    holdAgain: (mail, found) => holdAgain(db, mail, found),
  };
}

async function quarantine(db: Connected): ReturnType<QuarantineReader['quarantine']> {
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

function held(db: Connected, discarded: boolean) {
  return heldRows(db)
    .where('outcome.outcome', '=', 'quarantined')
    .where('outcome.resolved_at', discarded ? 'is not' : 'is', null);
}

function heldRows(db: Connected) {
  return db
    .selectFrom('outcome')
    .innerJoin('mailboxes', 'mailboxes.id', 'outcome.mailbox_id')
    .select(['outcome.mailbox_id', 'mailboxes.name', 'outcome.uid_validity', 'outcome.uid', 'outcome.reason'])
    .select(['outcome.created_at', 'outcome.received_at', 'outcome.size_bytes', 'outcome.resolved_at'])
    .select(['outcome.raw_segment', 'outcome.raw_offset', 'outcome.raw_length', 'outcome.raw_sha256']);
}

type HeldRow = Awaited<ReturnType<ReturnType<typeof heldRows>['execute']>>[number];

function toHeldMail(row: HeldRow): HeldMail {
  const { raw_segment: segment, raw_offset: offset, raw_length: lengthBytes, raw_sha256: sha256 } = row;
  const isKept = segment !== null && offset !== null && lengthBytes !== null;
  return {
    mailboxId: row.mailbox_id,
    mailbox: row.name,
    numbering: row.uid_validity,
    uid: row.uid,
    reason: row.reason ?? '',
    sinceMs: fromDatabaseTime(row.created_at),
    discardedAtMs: fromOptionalTime(row.resolved_at),
    receivedAtMs: fromOptionalTime(row.received_at),
    sizeBytes: row.size_bytes,
    raw: isKept ? { segment, offset, lengthBytes, sha256: sha256 ?? '' } : null,
  };
}

async function* heldMails(
  db: Connected,
  { mailboxId, reason, discarded = false }: HeldFilter,
): AsyncIterable<HeldMail> {
  let last: HeldRow | undefined;
  do {
    let query = held(db, discarded)
      .orderBy('outcome.mailbox_id')
      .orderBy('outcome.uid_validity')
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
              where('outcome.uid_validity', '>', after.uid_validity),
              where.and([where('outcome.uid_validity', '=', after.uid_validity), where('outcome.uid', '>', after.uid)]),
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

async function heldMail(
  db: Connected,
  mailboxId: string,
  numbering: number | null,
  uid: number,
  discarded: boolean,
): Promise<readonly HeldMail[]> {
  let query = held(db, discarded).where('outcome.mailbox_id', '=', mailboxId).where('outcome.uid', '=', uid);
  if (numbering !== null) query = query.where('outcome.uid_validity', '=', numbering);
  return (await query.orderBy('outcome.uid_validity').execute()).map(toHeldMail);
}

/** A name is compared to the letter, whatever the collation says. */
async function heldNamed(db: Connected, name: HeldName, discarded: boolean): Promise<readonly HeldMail[]> {
  let query = held(db, discarded).where('mailboxes.name', '=', name.mailbox).where('outcome.uid', '=', name.uid);
  if (name.numbering !== null) query = query.where('outcome.uid_validity', '=', name.numbering);
  const rows = await query.orderBy('outcome.uid_validity').execute();
  return rows.filter((row) => row.name === name.mailbox).map(toHeldMail);
}

/**
 * The index alone tells which those are, unless a reason is asked for; only their rows are read whole. No condition beside
 * the join: with one, SQLite begins at all that are in quarantine.
 */
async function heldPage(
  db: Connected,
  reason: string | null,
  offset: number,
  limit: number,
): Promise<readonly HeldMail[]> {
  let chosen = db
    .selectFrom('outcome')
    .select(['mailbox_id', 'uid_validity', 'uid'])
    .where('outcome', '=', 'quarantined')
    .where('resolved_at', 'is', null)
    .orderBy('created_at', 'desc')
    .orderBy('mailbox_id', 'desc')
    .orderBy('uid_validity', 'desc')
    .orderBy('uid', 'desc')
    .limit(limit)
    .offset(offset);
  if (reason !== null) chosen = chosen.where('reason', '=', reason);
  const rows = await heldRows(db)
    .innerJoin(chosen.as('chosen'), (join) =>
      join
        .onRef('chosen.mailbox_id', '=', 'outcome.mailbox_id')
        .onRef('chosen.uid_validity', '=', 'outcome.uid_validity')
        .onRef('chosen.uid', '=', 'outcome.uid'),
    )
    .orderBy('outcome.created_at', 'desc')
    .orderBy('outcome.mailbox_id', 'desc')
    .orderBy('outcome.uid_validity', 'desc')
    .orderBy('outcome.uid', 'desc')
    .execute();
  return rows.map(toHeldMail);
}

function waiting(db: Connected, mail: HeldMail) {
  return row(db, mail).where('resolved_at', 'is', null);
}

function row(db: Connected, { mailboxId, numbering, uid }: HeldMail) {
  return db
    .updateTable('outcome')
    .where('mailbox_id', '=', mailboxId)
    .where('uid_validity', '=', numbering)
    .where('uid', '=', uid)
    .where('outcome', '=', 'quarantined');
}

async function discardHeld(db: Connected, words: DialectWords, mail: HeldMail): Promise<boolean> {
  const result = await waiting(db, mail).set({ resolved_at: words.now }).executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function holdDiscarded(db: Connected, mail: HeldMail): Promise<boolean> {
  const result = await row(db, mail).where('resolved_at', 'is not', null).set({ resolved_at: null }).executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

async function holdAgain(db: Connected, mail: HeldMail, { reason, raw, sizeBytes }: HeldAgain): Promise<boolean> {
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
