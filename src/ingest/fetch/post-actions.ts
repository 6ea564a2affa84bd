/**
 * Post-actions: flags, moves or deletes messages on the server once they are committed.
 *
 * The outcome row of a message says that its post-action is pending, so that the next round repeats what a crash cut
 * off. Repeating does no harm. While encryption is on, delete and move wait, pending, until a command or the page
 * confirmed them: a writer of the database may have set them. A writer may also forge an outcome row: what the table
 * alone calls pending is deleted or moved only if the row has our seal, and the message arrived at the stored time,
 * within the start point of the mailbox.
 */
import { type Failure, isFailure } from '../../errors.ts';
import { events } from '../../events.ts';
import { type Mailbox, postActionRules } from '../model.ts';
import type { ListedMessage } from '../ports.ts';
import type { StoredPendingAction } from '../stores.ts';
import { chunksOf } from './batches.ts';
import type { RoundContext } from './round-context.ts';

const uidsAtOnce = 500;
const pendingMax = 100_000;

/**
 * Applies the mailbox's post-action to these UIDs, by default all pending ones. Returns the server's refusal; throws
 * when the session breaks. What cannot be undone is left to the next poll when the row of the mailbox was changed: it
 * may ask for another action by now.
 */
export async function applyPostActions(round: RoundContext, given?: readonly number[]): Promise<Failure | null> {
  const { mailbox, session, ports, lease, roundId, folderEpoch } = round;
  const { postAction } = mailbox;
  const { removesMessage } = postActionRules[postAction.kind];
  if (given?.length === 0 || (removesMessage && !(await ports.postActionGuard.mayRemove(mailbox)))) return null;
  const pending = given === undefined ? await pendingMessages(round) : [];
  const uids = given ?? pending.map(({ uid }) => uid);
  try {
    for (const chunk of chunksOf(uids, uidsAtOnce)) {
      if (removesMessage && (await isRowChanged(round))) return null;
      const isToCompare = removesMessage && given === undefined;
      const proven = isToCompare ? await onlyStored(round, new Set(chunk), pending) : chunk;
      if (proven.length > 0) await session.apply(postAction, proven, given === undefined);
      await ports.store.completeActions(lease, folderEpoch, chunk);
    }
    return null;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    round.observe({
      what: 'action_refused',
      roundId,
      action: postAction.kind,
      count: uids.length,
      failure: error,
    });
    return error;
  }
}

/** A NO or BAD of a session that stays open, `busy` for some messages or not; new messages are fetched all the same. */
function isRefusal(error: unknown): error is Failure {
  return (
    isFailure(error, 'server_refused', 'folder_missing') ||
    (isFailure(error, 'server_busy') && error.fields['status'] !== undefined)
  );
}

async function isRowChanged({ mailbox: { id }, ports, options: { due } }: RoundContext): Promise<boolean> {
  return due !== null && (await ports.store.mailboxVersions([id])).get(id)?.version !== due.version;
}

/** Left by a crash, by a refusal, and by messages that were released from quarantine. */
function pendingMessages({ mailbox, ports, folderEpoch }: RoundContext): Promise<readonly StoredPendingAction[]> {
  return ports.store.pendingActions(mailbox.id, folderEpoch, pendingMax);
}

/** UIDs of the chunk that name the stored messages. The others are logged, and stay on the server for good. */
async function onlyStored(
  { mailbox, session, ports, roundId, folderEpoch }: RoundContext,
  chunk: ReadonlySet<number>,
  pending: readonly StoredPendingAction[],
): Promise<readonly number[]> {
  const isOurs = (row: StoredPendingAction): boolean =>
    chunk.has(row.uid) && ports.postActionGuard.wasStored(mailbox, { ...row, folderEpoch }, row.seal);
  const rows = new Map(pending.filter(isOurs).map((row) => [row.uid, row]));
  const onServer = await session.sizes([...chunk]);
  const stored = onServer.filter((message) => isStoredMessage(rows.get(message.uid), message, mailbox));
  const count = onServer.length - stored.length;
  const fields = { mailbox: mailbox.name, poll: roundId, action: mailbox.postAction.kind, count };
  if (count > 0) ports.log.warn(fields, events.mailboxActionSkipped);
  return stored.map(({ uid }) => uid);
}

/**
 * The same INTERNALDATE, which never changes (RFC 9051 section 2.3.3), and not before the start point. Some servers
 * announce another size once a message was read: it counts only where there is no time.
 */
function isStoredMessage(row: ListedMessage | undefined, message: ListedMessage, { start }: Mailbox): boolean {
  const { receivedAtMs, sizeBytes } = message;
  if (row === undefined || row.receivedAtMs !== receivedAtMs) return false;
  if (receivedAtMs === null) return start.from === 'all' && row.sizeBytes === sizeBytes;
  return start.from === 'all' || receivedAtMs >= start.atMs;
}
