/**
 * Compares a folder on the server with the outcomes: is there a mail that was passed over?
 *
 * Looks only (EXAMINE), beside whatever worker visits the mailbox. The server is listed first, then the cursor is read, then
 * the outcomes: what happens meanwhile may make a mail look handled or waiting, never missing. A repair puts what is missing
 * into quarantine and takes it out of there at once, so that it is safe wherever it is interrupted.
 */

import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import { commandOn, toldCommand } from '../../text/shell.ts';
import { uidValidityOf } from '../folder-epoch.ts';
import type { Mailbox } from '../model.ts';
import { isElsewhere, isSetBack } from '../poll/cursor.ts';
import type { Blobs, Listed, Passwords, RawSources, Session, Sessions } from '../ports.ts';
import type { ComparedOutcome, NamedBlob, NamedSegment, NumberingStore, Place, ReconcileStore } from '../stores.ts';

export type ReconcilePorts = {
  readonly passwords: Passwords;
  readonly sessions: Sessions;
  readonly store: Pick<NumberingStore, 'readPlace' | 'lastHandled'> & ReconcileStore;
};

/** Numbers of mails; those that are on the server add up to `onServer`. */
export type FolderReport = {
  readonly uidValidity: number;
  /** See numbering.ts. */
  readonly storedAs: number;
  /** The last UID that was handled. */
  readonly cursorUid: number;
  readonly onServer: number;
  readonly handled: number;
  /** In quarantine, on the server. */
  readonly held: number;
  /** Above the cursor: the next round fetches them. */
  readonly waiting: number;
  /** Were there before the mailbox's start. */
  readonly beforeStart: number;
  /** At or below the cursor without an outcome, by UID. */
  readonly missing: readonly Listed[];
  /** Have an outcome and are not on the server any more. */
  readonly gone: {
    readonly byUs: number;
    readonly vanished: number;
    readonly held: number;
    readonly otherwise: number;
  };
  /** Are still to be marked, moved or deleted on the server. */
  readonly actionsPending: number;
};

/** Throws `check_failed` where there is nothing to compare with, and what a session throws. */
export async function reconcileFolder(mailbox: Mailbox, ports: ReconcilePorts): Promise<FolderReport> {
  const last = await ports.store.readPlace(mailbox.id);
  const { cursor: before } = last;
  const never = new AbortController().signal;
  await using session = await ports.passwords.lend(mailbox, (password) =>
    ports.sessions.open(mailbox.connection, password, never, { readOnly: true }),
  );
  if (before !== null && isElsewhere(last, mailbox))
    throw begunAnew(mailbox.name, 'its row points to another one since the last visit');
  const isSame = before !== null && uidValidityOf(before.uidValidity) === session.folder.uidValidity;
  if (isSame && (await isSetBack(mailbox.id, session, before, ports.store))) throw setBack(mailbox);
  const uids = (await session.listAbove(0)).toSorted((a, b) => a - b);
  const place = await ports.store.readPlace(mailbox.id);
  const numbering = numberingIn(place, session, mailbox);
  const outcomes = ports.store.comparedOutcomes(mailbox.id, numbering);
  const uidNext = uidNextOf(session, uids);
  const { missing, ...report } = await compare(uids, outcomes, { mailbox, place, numbering, uidNext });
  // What is gone by now cannot be fetched.
  return { ...report, missing: await session.sizes(missing) };
}

function numberingIn({ cursor }: Place, { folder }: Session, { name }: Mailbox): number {
  if (cursor === null) {
    const hint = `Visit it first: ${toldCommand(commandOn('poll', name))}`;
    throw new Failure('check_failed', `mailbox ${name} was never visited`, { hint });
  }
  if (uidValidityOf(cursor.uidValidity) !== folder.uidValidity) {
    throw begunAnew(name, 'the server has numbered it anew since the last visit');
  }
  return cursor.uidValidity;
}

/** Nothing of it can be compared by UID. */
function setBack({ name }: Mailbox): Failure {
  return begunAnew(name, 'it was set back on the server (restored from a backup) since the last visit');
}

function begunAnew(name: string, why: string): Failure {
  const visit = toldCommand(commandOn('poll', name));
  const hint = `The next visit begins the folder anew and recognises what is here already. Wait for the daemon, or: ${visit}`;
  return new Failure('check_failed', `the folder of ${name} cannot be compared: ${why}`, { hint });
}

/** What has a higher UID came after the list was made. */
function uidNextOf({ folder }: Session, uids: readonly number[]): number {
  return Math.max(folder.uidNext, (uids.at(-1) ?? 0) + 1);
}

type Compared = {
  readonly mailbox: Mailbox;
  readonly place: Place;
  readonly numbering: number;
  readonly uidNext: number;
};

async function compare(
  uids: readonly number[],
  outcomes: AsyncIterable<ComparedOutcome>,
  { mailbox, place, numbering, uidNext }: Compared,
): Promise<Omit<FolderReport, 'missing'> & { readonly missing: readonly number[] }> {
  const cursorUid = place.cursor?.uid ?? 0;
  const without = new Set(uids);
  const gone = { byUs: 0, vanished: 0, held: 0, otherwise: 0 };
  let [handled, held, actionsPending, firstUid] = [0, 0, 0, uidNext];
  for await (const one of outcomes) {
    firstUid = Math.min(firstUid, one.uid);
    if (one.actionPending) actionsPending += 1;
    if (without.delete(one.uid)) {
      if (one.waits) held += 1;
      else handled += 1;
    } else if (one.uid < uidNext) gone[whyGone(one, mailbox)] += 1;
  }
  const startUid = place.startUid ?? (mailbox.start.from === 'all' ? 0 : Math.min(firstUid - 1, cursorUid));
  const left = [...without];
  return {
    ...{ uidValidity: uidValidityOf(numbering), storedAs: numbering, cursorUid },
    ...{ onServer: uids.length, handled, held, gone, actionsPending },
    waiting: left.filter((uid) => uid > cursorUid).length,
    beforeStart: left.filter((uid) => uid <= cursorUid && uid <= startUid).length,
    missing: left.filter((uid) => uid <= cursorUid && uid > startUid),
  };
}

function whyGone({ outcome, waits, actionPending }: ComparedOutcome, { after }: Mailbox): keyof FolderReport['gone'] {
  if (outcome === 'vanished') return 'vanished';
  if (waits) return 'held';
  const takesAway = after.kind === 'move' || after.kind === 'delete';
  return takesAway && !actionPending && outcome !== 'quarantined' ? 'byUs' : 'otherwise';
}

/**
 * Whether the files that rows name are on the disk: attachments, and raw sources as long as they are kept.
 *
 * Looked at are their lengths, not their contents. A daemon may be at work meanwhile: it writes a file before the row
 * that names it.
 */

type FilesPorts = {
  readonly store: Pick<ReconcileStore, 'countNamedBlobs' | 'namedBlobs' | 'namedSegments'>;
  readonly blobs: Pick<Blobs, 'lengthOf'>;
  readonly raw: Pick<RawSources, 'lengthOf' | 'isBefore'>;
  readonly clock: Pick<Clock, 'nowMs'>;
};

export type FilesReport = {
  readonly attachmentFiles: number;
  /** Missing, or of another length. */
  readonly wrongAttachmentFiles: number;
  /** The first of them. */
  readonly wrongBlobs: readonly NamedBlob[];
  readonly sourceFiles: number;
  /** Missing, or too short. Expired ones are none of them, unless a mail in quarantine needs them. */
  readonly wrongSegments: readonly NamedSegment[];
};

const dayMs = 86_400_000;

/** `keepDays`: how long raw sources are kept. At most `listedMax` attachments are told one by one. */
export async function checkFiles(
  ports: FilesPorts,
  { keepDays, listedMax }: { readonly keepDays: number; readonly listedMax: number },
  onProgress: (done: number, total: number) => void,
): Promise<FilesReport> {
  const wrongBlobs: NamedBlob[] = [];
  const total = await ports.store.countNamedBlobs();
  let [attachmentFiles, wrongAttachmentFiles] = [0, 0];
  for await (const blob of ports.store.namedBlobs()) {
    attachmentFiles += 1;
    onProgress(attachmentFiles, Math.max(total, attachmentFiles));
    if ((await ports.blobs.lengthOf(blob.sha256)) === blob.sizeBytes) continue;
    wrongAttachmentFiles += 1;
    if (wrongBlobs.length < listedMax) wrongBlobs.push(blob);
  }
  const beforeMs = ports.clock.nowMs() - keepDays * dayMs;
  const segments = (await ports.store.namedSegments()).filter(
    ({ segment, waiting }) => waiting > 0 || !ports.raw.isBefore(segment, beforeMs),
  );
  const wrongSegments: NamedSegment[] = [];
  for (const one of segments) {
    const length = await ports.raw.lengthOf(one.segment);
    if (length === null || length < one.endOffset) wrongSegments.push(one);
  }
  return { attachmentFiles, wrongAttachmentFiles, wrongBlobs, sourceFiles: segments.length, wrongSegments };
}
