/**
 * Start cursor of a round: continues where the last round ended, or starts a new epoch of the folder.
 *
 * A cursor in the folder's current epoch is used as it is. A new epoch starts for a folder that is new, that has
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), that was restored from a backup under the same UIDVALIDITY
 * (restored-folder.ts), that has messages below the cursor which were never read (late-messages.ts), or that is
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
import { accountKey, epochOf, folderKey, uidValidityOf } from '../folder-epoch.ts';
import type { Cursor, Mailbox } from '../model.ts';
import type { FolderState, Session } from '../ports.ts';
import type { FolderProgress, FolderStore, Lease } from '../stores.ts';
import { firstLateUid } from './late-messages.ts';
import type { FolderVerification, PollOptions, PollPorts } from './poll-context.ts';
import { isReplaced, isRestoredFromBackup } from './restored-folder.ts';
import { uidValidityChangesMax } from './uidvalidity-changes.ts';

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
  const account = accountKey(mailbox.connection);
  if (progress.account !== account) await store.joinAccount(lease, account);
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
  const comparison = options.folderCheckSchedule?.begin(mailbox.id) ?? 'content';
  const isOther = await (isFirst ? isRestoredFromBackup : isReplaced)(mailbox.id, session, cursor, store, comparison);
  options.folderCheckSchedule?.note(mailbox.id, comparison);
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
