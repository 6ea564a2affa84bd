/**
 * Start cursor of a round: continues where the last round ended, or starts a new epoch of the folder.
 *
 * A cursor in the folder's current epoch is used as it is. A new epoch starts for a folder that is new, that has
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), that was restored from a backup under the same UIDVALIDITY, so that
 * UIDs will be used again, that has messages below the cursor which were never read (late-messages.ts), or that is
 * another folder than before, because the row of the mailbox was changed. It starts where the mailbox's start point
 * says: at the first message, or at the first that arrived since a time. Messages that were handled before are
 * recognised later, by Message-ID and content.
 *
 * Rows of earlier epochs are cleaned up after the new cursor is stored, never before: the earlier UIDVALIDITY may
 * return. The start UID is recorded last: while it is missing the cleanup was interrupted, and the next round resumes
 * it before anything is fetched, so that the cursor is still at the start.
 */

import { events } from '../../events.ts';
import { hints } from '../../text/hints.ts';
import { epochOf, folderKey, uidValidityOf } from '../folder-epoch.ts';
import type { Cursor, Mailbox } from '../model.ts';
import type { FolderState, ListedMessage, Session } from '../ports.ts';
import type { FolderProgress, FolderStore, Lease } from '../stores.ts';
import { firstLateUid } from './late-messages.ts';
import type { FolderVerification, PollOptions, PollPorts } from './poll-context.ts';
import { uidValidityChangesMax } from './uidvalidity-changes.ts';

/** Number of last handled messages that are compared. */
const comparedMax = 5;

type RoundStart = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly roundId: string;
  readonly options: Pick<PollOptions, 'uidValidityChanges' | 'folderCheckSchedule' | 'handledCounts'>;
  /** The folder state is that of this moment. In later rounds it is older than the cursor. */
  readonly isFirst: boolean;
  readonly folderVerification: FolderVerification;
};

type CursorPorts = Pick<PollPorts, 'log'> & { readonly store: FolderStore };

/** The cursor to continue from; a new one is stored before it is returned. */
export async function startCursor(start: RoundStart, session: Session, ports: CursorPorts): Promise<Cursor> {
  const { mailbox, lease } = start;
  const { store } = ports;
  const progress = await store.readFolderProgress(mailbox.id);
  const { cursor } = progress;
  let lateUid: number | null = null;
  if (cursor !== null && !isOtherFolder(progress, mailbox) && (await isSameEpoch(cursor, start, session, store))) {
    if (progress.startUid === null) await forgetEarlierEpochs(lease, cursor, store);
    const { handledCounts } = start.options;
    if (start.isFirst) lateUid = await firstLateUid(mailbox.id, session, progress, store, handledCounts);
    if (lateUid === null) return cursor;
  }
  const { folderEpoch, generation } = await nextEpoch(mailbox.id, session.folder, progress, store);
  const uid = mailbox.start.from === 'all' ? 0 : await session.uidBefore(mailbox.start.atMs);
  const started = { folderEpoch, uid };
  await store.beginFolderEpoch(lease, { cursor: started, generation, folder: folderKey(mailbox.connection) });
  logNewEpoch(start, session, progress, started, lateUid, ports);
  await forgetEarlierEpochs(lease, started, store);
  return started;
}

async function forgetEarlierEpochs(lease: Lease, { folderEpoch, uid }: Cursor, store: FolderStore): Promise<void> {
  await store.forgetEarlierEpochs(lease, folderEpoch);
  await store.recordStartUid(lease, uid);
}

/** True while the UIDs up to the cursor name the messages that were handled. */
async function isSameEpoch(
  cursor: Cursor,
  { mailbox, isFirst, folderVerification, options }: RoundStart,
  session: Session,
  store: FolderStore,
): Promise<boolean> {
  const { uidValidity, uidNext } = session.folder;
  if (uidValidityOf(cursor.folderEpoch) !== uidValidity) return false;
  if (folderVerification.isVerified) return true;
  const isQuiet = isFirst && uidNext === cursor.uid + 1;
  if (isQuiet && options.folderCheckSchedule?.isDue(mailbox.id) === false) return true;
  const isOther = await (isFirst ? isRestoredFromBackup : isReplaced)(mailbox.id, session, cursor, store);
  options.folderCheckSchedule?.note(mailbox.id);
  folderVerification.isVerified = !isOther;
  return !isOther;
}

/** True where the row of the mailbox names another folder than the one the cursor belongs to. */
export function isOtherFolder({ folder }: Pick<FolderProgress, 'folder'>, { connection }: Mailbox): boolean {
  return folder !== null && folder !== folderKey(connection);
}

function logNewEpoch(
  { mailbox, roundId, options }: RoundStart,
  { folder }: Session,
  progress: FolderProgress,
  started: Cursor,
  lateUid: number | null,
  { log }: CursorPorts,
): void {
  const fields = { mailbox: mailbox.name, poll: roundId, uid_validity: folder.uidValidity, uid: started.uid };
  const before = progress.cursor;
  if (before === null) {
    log.info(fields, events.folderInitialized);
    return;
  }
  const uidValidityBefore = uidValidityOf(before.folderEpoch);
  if (isOtherFolder(progress, mailbox)) {
    log.info({ ...fields, uid_validity_before: uidValidityBefore, reason: 'other_folder' }, events.folderReset);
    return;
  }
  if (lateUid !== null) {
    const { uidNext } = folder;
    const late = { ...fields, uid: lateUid, uid_next: uidNext, uid_before: before.uid, hint: hints.lateMessages };
    log.warn(late, events.folderLateMessages);
  } else if (uidValidityBefore === folder.uidValidity)
    log.warn({ ...fields, uid_next: folder.uidNext, uid_before: before.uid }, events.folderRestoredFromBackup);
  else
    log.warn({ ...fields, uid_validity_before: uidValidityBefore, reason: 'uidvalidity_changed' }, events.folderReset);
  const count = options.uidValidityChanges?.note(mailbox.id) ?? 0;
  if (count > uidValidityChangesMax)
    log.warn({ mailbox: mailbox.name, poll: roundId, count }, events.folderUidvalidityUnstable);
}

/**
 * True when UIDs up to the cursor will be used again. UIDNEXT is above every UID that was ever used; where the server
 * does not announce it, or has messages above it, it proves nothing. When as many messages arrived as the backup
 * lacked, or more, UIDNEXT is above the cursor all the same: then the messages up to the cursor are others. `cursor`
 * must be older than the session.
 */
export async function isRestoredFromBackup(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<FolderStore, 'lastHandled'>,
): Promise<boolean> {
  const { uidNext, isUidNextGuessed } = session.folder;
  if (uidNext > cursor.uid) return await isReplaced(mailboxId, session, cursor, store);
  if (isUidNextGuessed === true) return false;
  return (await session.listAbove(uidNext - 1)).length === 0;
}

/** True when one of the messages handled last is another message now. */
async function isReplaced(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<FolderStore, 'lastHandled'>,
): Promise<boolean> {
  return (await comparisons(await store.lastHandled(mailboxId, cursor, comparedMax), session)).some(isOtherMessage);
}

/** Then and now. */
type Comparison = { readonly sizes: readonly [number, number]; readonly times: readonly [number, number] };

/** Handled messages beside what has their UIDs now. Without a time there is no comparison: the size may be wrong. */
async function comparisons(handled: readonly ListedMessage[], session: Session): Promise<Comparison[]> {
  const dated = handled.filter(({ receivedAtMs }) => receivedAtMs !== null);
  if (dated.length === 0) return [];
  const listed = new Map((await session.sizes(dated.map(({ uid }) => uid))).map((message) => [message.uid, message]));
  return dated.flatMap(({ uid, sizeBytes, receivedAtMs }) => {
    const now = listed.get(uid);
    if (now === undefined || now.receivedAtMs === null || receivedAtMs === null) return [];
    return [{ sizes: [sizeBytes, now.sizeBytes], times: [receivedAtMs, now.receivedAtMs] }];
  });
}

/** Sizes alone prove nothing: some servers announce another size once a message was read. */
function isOtherMessage({ sizes, times }: Comparison): boolean {
  return sizes[0] !== sizes[1] && times[0] !== times[1];
}

/** An epoch without outcomes: a UIDVALIDITY may also return. */
async function nextEpoch(
  mailboxId: string,
  { uidValidity }: FolderState,
  { generation }: FolderProgress,
  store: FolderStore,
): Promise<{ readonly folderEpoch: number; readonly generation: number }> {
  if (!(await store.isEpochUsed(mailboxId, uidValidity))) return { folderEpoch: uidValidity, generation };
  return { folderEpoch: epochOf(uidValidity, generation + 1), generation: generation + 1 };
}
