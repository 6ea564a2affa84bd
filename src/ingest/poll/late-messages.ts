/**
 * Detection of messages that appear at or below the cursor, where none is read: a server must give each new message a
 * UID above all others (RFC 9051 section 2.3.1.1).
 *
 * A server that showed a part of a folder, or a UID of its own invention, has moved the cursor past messages that were
 * never read. Evidence is free: EXISTS, less those that may be above the cursor by UIDNEXT, exceeds what was handled.
 * Only then the folder is listed, at most once an hour while that finds nothing. Counts are upper bounds, so that an
 * honest server raises no suspicion: messages that were deleted count until the next SELECT.
 */
import type { Clock } from '../../async/clock.ts';
import { chunksOf } from '../fetch/batches.ts';
import { listingsAbove } from '../fetch/listing.ts';
import type { Cursor } from '../model.ts';
import type { Session } from '../ports.ts';
import type { FolderProgress, FolderStore } from '../stores.ts';

/** How many messages of the folder are at or below a cursor at most, with an outcome or from before the start. */
type HandledCount = { readonly cursor: Cursor; readonly count: number };

/** Counts of this worker, in memory, and the times of listings that found nothing. */
export interface HandledCounts {
  of(mailboxId: string): HandledCount | null;
  note(mailboxId: string, count: HandledCount): void;
  isListingDue(mailboxId: string): boolean;
  noteListing(mailboxId: string): void;
}

const listingIntervalMs = 3_600_000;

export function createHandledCounts(clock: Pick<Clock, 'monotonicMs'>): HandledCounts {
  const counts = new Map<string, HandledCount>();
  const listedAtMs = new Map<string, number>();
  return {
    of: (id) => counts.get(id) ?? null,
    note: (id, count) => void counts.set(id, count),
    isListingDue: (id) => clock.monotonicMs() - (listedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) >= listingIntervalMs,
    noteListing: (id) => void listedAtMs.set(id, clock.monotonicMs()),
  };
}

const uidsPerQuery = 500;

type LateSearch = {
  readonly mailboxId: string;
  readonly cursor: Cursor;
  readonly startUid: number;
  readonly store: Pick<FolderStore, 'countOutcomes'>;
};

/** The first UID at or below the cursor, above the start, without an outcome; null: none. Needs a fresh SELECT. */
export async function firstLateUid(
  mailboxId: string,
  session: Session,
  { cursor, startUid }: FolderProgress,
  store: Pick<FolderStore, 'countOutcomes'>,
  counts?: HandledCounts,
): Promise<number | null> {
  if (cursor === null || startUid === null) return null;
  const search = { mailboxId, cursor, startUid, store };
  const { messageCount, uidNext } = session.folder;
  const belowMin = messageCount - Math.max(0, uidNext - 1 - cursor.uid);
  const handled = await handledMax(search, counts?.of(mailboxId) ?? null);
  if (belowMin <= handled) {
    counts?.note(mailboxId, { cursor, count: Math.min(handled, messageCount) });
    return null;
  }
  if (counts?.isListingDue(mailboxId) === false) return null;
  const found = await listLate(search, session);
  if (typeof found === 'number') return found;
  counts?.note(mailboxId, { cursor, count: startUid + found.handled });
  counts?.noteListing(mailboxId);
  return null;
}

async function handledMax({ mailboxId, cursor, startUid, store }: LateSearch, last: HandledCount | null) {
  const isUsable = last !== null && last.cursor.folderEpoch === cursor.folderEpoch && last.cursor.uid <= cursor.uid;
  const [above, count] = isUsable ? [last.cursor.uid, last.count] : [startUid, startUid];
  if (above >= cursor.uid) return count;
  return count + (await store.countOutcomes(mailboxId, cursor.folderEpoch, { above, upTo: cursor.uid }));
}

/** Lists the folder up to the cursor: the first message without an outcome, or how many have one. */
async function listLate(
  { mailboxId, cursor, startUid, store }: LateSearch,
  session: Session,
): Promise<number | { readonly handled: number }> {
  let handled = 0;
  for await (const listed of listingsAbove(session, startUid)) {
    const uids = listed.filter((uid) => uid <= cursor.uid);
    for (const list of chunksOf(uids, uidsPerQuery)) {
      if ((await store.countOutcomes(mailboxId, cursor.folderEpoch, { list })) === list.length) continue;
      for (const uid of list)
        if ((await store.countOutcomes(mailboxId, cursor.folderEpoch, { list: [uid] })) === 0) return uid;
    }
    handled += uids.length;
    if (uids.length < listed.length) break;
  }
  return { handled };
}
