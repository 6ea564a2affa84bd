/**
 * Reconciliation: compares a folder on the server with the stored outcomes, and the files on disk with their rows.
 *
 * Read-only (EXAMINE), beside a worker that polls the mailbox. The server is listed first, then the cursor is read,
 * then the outcomes: whatever happens meanwhile can make a message look handled or waiting, never missing. What the
 * server lists and then does not know is not missing either. A server that lists more than ten million messages, or a
 * hundred thousand that are missing, is not believed. A repair puts a missing message into quarantine and releases it
 * at once, so it is safe wherever it is interrupted.
 */

import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { countText } from '../../text/units.ts';
import { chunksOf } from '../fetch/batches.ts';
import { listingsAbove } from '../fetch/listing.ts';
import { uidValidityOf } from '../folder-epoch.ts';
import { type Mailbox, outcomesWhere, postActionRules } from '../model.ts';
import { isOtherFolder } from '../poll/cursor.ts';
import { isRestoredFromBackup } from '../poll/restored-folder.ts';
import type { Blobs, Credentials, ListedMessage, RawSources, Session, Sessions } from '../ports.ts';
import type {
  ComparedOutcome,
  FolderProgress,
  FolderStore,
  ReconcileStore,
  ReferencedBlob,
  ReferencedSegment,
} from '../stores.ts';

export type ReconcilePorts = {
  readonly credentials: Credentials;
  readonly sessions: Sessions;
  readonly store: Pick<FolderStore, 'readFolderProgress' | 'lastHandled'> & ReconcileStore;
};

/** Numbers of messages; `onServer` is the sum of those that are on the server. */
export type FolderReport = {
  readonly uidValidity: number;
  /** The epoch that its outcomes are stored under. */
  readonly folderEpoch: number;
  /** The last handled UID. */
  readonly cursorUid: number;
  readonly onServer: number;
  readonly handled: number;
  /** In quarantine, on the server. */
  readonly quarantined: number;
  /** Above the cursor: the next poll fetches them. */
  readonly waiting: number;
  /** From before the mailbox's starting point. */
  readonly beforeStart: number;
  /** At or below the cursor without an outcome, by UID. */
  readonly missing: readonly ListedMessage[];
  /** With an outcome, and no longer on the server. */
  readonly gone: {
    /** Moved or deleted by a post-action. */
    readonly postAction: number;
    /** Gone before they could be fetched. */
    readonly vanished: number;
    readonly quarantined: number;
    readonly otherwise: number;
  };
  /** Post-actions that are still to be applied on the server. */
  readonly actionsPending: number;
};

/**
 * Throws `check_failed` when the folder cannot be compared, `interrupted` once `stop` fires, and what a session throws.
 */
export async function reconcileFolder(
  mailbox: Mailbox,
  ports: ReconcilePorts,
  stop: AbortSignal = new AbortController().signal,
): Promise<FolderReport> {
  const last = await ports.store.readFolderProgress(mailbox.id);
  const { cursor: before } = last;
  await using session = await ports.credentials.withCredential(mailbox, (credential, connection) =>
    ports.sessions.open(connection, credential, stop, { readOnly: true }),
  );
  if (before !== null && isOtherFolder(last, mailbox))
    throw notComparable(mailbox.name, 'its row names another folder than the last poll');
  const isSame = before !== null && uidValidityOf(before.folderEpoch) === session.folder.uidValidity;
  if (isSame && (await isRestoredFromBackup(mailbox.id, session, before, ports.store)))
    throw restoredFromBackup(mailbox);
  const listed = await listAll(session, mailbox);
  const progress = await ports.store.readFolderProgress(mailbox.id);
  const folderEpoch = comparableEpoch(progress, session, mailbox);
  const outcomes = ports.store.comparedOutcomes(mailbox.id, folderEpoch);
  const uidNext = uidNextOf(session, listed);
  const { missing, ...report } = await compare(listed, outcomes, { mailbox, progress, folderEpoch, uidNext });
  if (missing.length > missingMax)
    throw unbelievable(
      mailbox,
      `${countText(missing.length, 'message')} below the last handled one that it never showed before`,
    );
  return { ...report, missing: await stillThere(session, missing) };
}

const listedMax = 10_000_000;
const missingMax = 100_000;
const sizesAtOnce = 500;

async function listAll(session: Session, mailbox: Mailbox): Promise<readonly Uint32Array[]> {
  const listed: Uint32Array[] = [];
  let count = 0;
  for await (const uids of listingsAbove(session, 0)) {
    count += uids.length;
    if (count > listedMax) throw unbelievable(mailbox, `more than ${listedMax} messages`);
    listed.push(Uint32Array.from(uids));
  }
  return listed;
}

/** Messages that are gone by now are left out. */
async function stillThere(session: Session, uids: readonly number[]): Promise<readonly ListedMessage[]> {
  const found: ListedMessage[] = [];
  for (const chunk of chunksOf(uids, sizesAtOnce)) found.push(...(await session.sizes(chunk)));
  return found;
}

function unbelievable({ name }: Mailbox, what: string): Failure {
  const hint =
    'Look at the folder with another mail program: the server or its index is at fault. Nothing was changed.';
  return new Failure('check_failed', `the folder of ${name} cannot be compared: the server lists ${what}`, { hint });
}

function comparableEpoch({ cursor }: FolderProgress, { folder }: Session, { name }: Mailbox): number {
  if (cursor === null) {
    const hint = `The daemon polls it first; at once: ${pollAtOnce(name)}`;
    throw new Failure('check_failed', `mailbox ${name} was never polled`, { hint });
  }
  if (uidValidityOf(cursor.folderEpoch) !== folder.uidValidity) {
    throw notComparable(name, 'its UIDVALIDITY has changed since the last poll');
  }
  return cursor.folderEpoch;
}

/** UIDs are reused: outcomes cannot be compared by UID. */
function restoredFromBackup({ name }: Mailbox): Failure {
  return notComparable(name, 'it was restored from a backup on the server since the last poll');
}

function notComparable(name: string, why: string): Failure {
  const hint = `The next poll starts the folder again and recognizes stored messages. To have the daemon poll at once: ${pollAtOnce(name)}`;
  return new Failure('check_failed', `the folder of ${name} cannot be compared: ${why}`, { hint });
}

/** A running daemon has the lease, so that `poll` has no effect beside it; without one, the next one polls. */
function pollAtOnce(name: string): string {
  return commandOrNotice(shellCommand('mailbox retry', name));
}

/** A message with this UID or a higher one arrived after the listing. */
function uidNextOf({ folder }: Session, listed: readonly Uint32Array[]): number {
  return Math.max(folder.uidNext, (listed.findLast((uids) => uids.length > 0)?.at(-1) ?? 0) + 1);
}

type ComparisonBasis = {
  readonly mailbox: Mailbox;
  readonly progress: FolderProgress;
  readonly folderEpoch: number;
  readonly uidNext: number;
};

function* uidsOf(listed: readonly Uint32Array[]): Generator<number> {
  for (const uids of listed) yield* uids;
}

/** Merges the two, as both are ascending. */
async function compare(
  listed: readonly Uint32Array[],
  outcomes: AsyncIterable<ComparedOutcome>,
  { mailbox, progress, folderEpoch, uidNext }: ComparisonBasis,
): Promise<Omit<FolderReport, 'missing'> & { readonly missing: readonly number[] }> {
  const cursorUid = progress.cursor?.uid ?? 0;
  const gone = { postAction: 0, vanished: 0, quarantined: 0, otherwise: 0 };
  let [handled, quarantined, actionsPending, firstUid] = [0, 0, 0, uidNext];
  const left: number[] = [];
  const uids = uidsOf(listed);
  let next = uids.next();
  for await (const one of outcomes) {
    for (; next.done !== true && next.value < one.uid; next = uids.next()) left.push(next.value);
    firstUid = Math.min(firstUid, one.uid);
    if (one.actionPending) actionsPending += 1;
    if (next.value === one.uid) {
      if (one.waits) quarantined += 1;
      else handled += 1;
      next = uids.next();
    } else if (one.uid < uidNext) gone[whyGone(one, mailbox)] += 1;
  }
  for (; next.done !== true; next = uids.next()) left.push(next.value);
  const startUid = progress.startUid ?? (mailbox.start.from === 'all' ? 0 : Math.min(firstUid - 1, cursorUid));
  const onServer = listed.reduce((sum, { length }) => sum + length, 0);
  return {
    ...{ uidValidity: uidValidityOf(folderEpoch), folderEpoch, cursorUid },
    ...{ onServer, handled, quarantined, gone, actionsPending },
    waiting: left.filter((uid) => uid > cursorUid).length,
    beforeStart: left.filter((uid) => uid <= cursorUid && uid <= startUid).length,
    missing: left.filter((uid) => uid <= cursorUid && uid > startUid),
  };
}

const neverReceived = outcomesWhere(({ isReceived }) => !isReceived);
const changedOnServer = outcomesWhere(({ runsPostAction }) => runsPostAction);

function whyGone(
  { outcome, waits, actionPending }: ComparedOutcome,
  { postAction }: Mailbox,
): keyof FolderReport['gone'] {
  if (neverReceived.includes(outcome)) return 'vanished';
  if (waits) return 'quarantined';
  const isRemoved =
    postActionRules[postAction.kind].removesMessage && !actionPending && changedOnServer.includes(outcome);
  return isRemoved ? 'postAction' : 'otherwise';
}

type FilesPorts = {
  readonly store: Pick<ReconcileStore, 'countReferencedBlobs' | 'referencedBlobs' | 'referencedSegments'>;
  readonly blobs: Pick<Blobs, 'lengthOf'>;
  readonly raw: Pick<RawSources, 'lengthOf' | 'isBefore'>;
  readonly clock: Pick<Clock, 'nowMs'>;
};

export type FilesReport = {
  readonly attachmentFiles: number;
  /** Missing, or of another length. */
  readonly damagedAttachmentFiles: number;
  /** The first of those. */
  readonly damagedBlobs: readonly ReferencedBlob[];
  readonly sourceFiles: number;
  /** Missing or too short; expired ones only where a quarantined message needs them. */
  readonly damagedSegments: readonly ReferencedSegment[];
};

const dayMs = 86_400_000;

/**
 * Checks that the files that rows reference exist with the right length: attachments, and raw sources until they expire
 * after `retentionDays`. A daemon may run meanwhile: it writes a file before the row that references it. At most
 * `listedMax` attachments are listed.
 */
export async function checkFiles(
  ports: FilesPorts,
  { retentionDays, listedMax }: { readonly retentionDays: number; readonly listedMax: number },
  onProgress: (done: number, total: number) => void,
): Promise<FilesReport> {
  const damagedBlobs: ReferencedBlob[] = [];
  const total = await ports.store.countReferencedBlobs();
  let [attachmentFiles, damagedAttachmentFiles] = [0, 0];
  for await (const blob of ports.store.referencedBlobs()) {
    attachmentFiles += 1;
    onProgress(attachmentFiles, Math.max(total, attachmentFiles));
    if ((await ports.blobs.lengthOf(blob.sha256)) === blob.sizeBytes) continue;
    damagedAttachmentFiles += 1;
    if (damagedBlobs.length < listedMax) damagedBlobs.push(blob);
  }
  const beforeMs = ports.clock.nowMs() - retentionDays * dayMs;
  const segments = (await ports.store.referencedSegments()).filter(
    ({ segment, waiting }) => waiting > 0 || !ports.raw.isBefore(segment, beforeMs),
  );
  const damagedSegments: ReferencedSegment[] = [];
  for (const one of segments) {
    const length = await ports.raw.lengthOf(one.segment);
    if (length === null || length < one.endOffset) damagedSegments.push(one);
  }
  return { attachmentFiles, damagedAttachmentFiles, damagedBlobs, sourceFiles: segments.length, damagedSegments };
}
