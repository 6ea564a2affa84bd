/**
 * Post-actions: flags, moves or deletes messages on the server once they are committed.
 *
 * The outcome row of a message says that its post-action is pending, so that the next round repeats what a crash cut
 * off. Repeating does no harm. While encryption is on, delete and move wait, pending, until a command or the page
 * confirmed them: a writer of the database may have set them.
 */
import { type Failure, isFailure } from '../../errors.ts';
import { postActionRules } from '../model.ts';
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
  const uids = given ?? (await pendingUids(round));
  try {
    for (const chunk of chunksOf(uids, uidsAtOnce)) {
      if (removesMessage && (await isRowChanged(round))) return null;
      await session.apply(postAction, chunk);
      await ports.store.completeActions(lease, folderEpoch, chunk);
    }
    return null;
  } catch (error) {
    if (!isFailure(error, 'server_refused', 'folder_missing')) throw error;
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

async function isRowChanged({ mailbox: { id }, ports, options: { due } }: RoundContext): Promise<boolean> {
  return due !== null && (await ports.store.mailboxVersions([id])).get(id)?.version !== due.version;
}

/** Left by a crash, by a refusal, and by messages that were released from quarantine. */
function pendingUids({ mailbox, ports, folderEpoch }: RoundContext): Promise<readonly number[]> {
  return ports.store.pendingActions(mailbox.id, folderEpoch, pendingMax);
}
