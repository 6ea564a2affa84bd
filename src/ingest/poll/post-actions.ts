/**
 * The after-actions: what is done to a mail on the server (mark, move, delete) once it is stored.
 *
 * A flag in the outcome row says that it is still to be done, so that the next visit repeats what a crash cut off.
 */
import { type Failure, isFailure } from '../../errors.ts';
import { chunksOf } from '../fetch/batches.ts';
import type { Narrowing } from '../fetch/poison-message.ts';
import type { AfterAction } from '../model.ts';
import type { Visit } from './poll-context.ts';

/** A round of a visit. */
export type Acting = Visit & { readonly poll: string; readonly narrowing: Narrowing };

const actionsAtOnce = 500;

/**
 * Does on the server what is still to be done for stored mails. Repeating it does no harm. A refusal by the server is
 * returned; a broken connection is thrown. What cannot be taken back is left to the next visit when the row was changed.
 */
export async function driveActions(
  round: Acting,
  numbering: number,
  pending: readonly number[],
): Promise<Failure | null> {
  const { mailbox, session, ports, lease, poll } = round;
  try {
    for (const uids of chunksOf(pending, actionsAtOnce)) {
      if (takesAway(mailbox.after) && (await isRowChanged(round))) return null;
      await session.apply(mailbox.after, uids);
      await ports.store.actionsDone(lease, numbering, uids);
    }
    return null;
  } catch (error) {
    if (!isFailure(error, 'server_refused', 'folder_missing')) {
      round.narrowing.actionFailed(error);
      throw error;
    }
    round.context.onRefused?.({ poll, action: mailbox.after.kind, count: pending.length, failure: error });
    return error;
  }
}

function takesAway({ kind }: AfterAction): boolean {
  return kind === 'delete' || kind === 'move';
}

/** Somebody may have asked for another action meanwhile. */
async function isRowChanged({ mailbox: { id }, ports, context }: Acting): Promise<boolean> {
  if (context.due === null) return false;
  return (await ports.store.watchedRows([id])).get(id)?.version !== context.due.version;
}

/** Of an earlier crash, of actions that were refused, and of mails that came out of quarantine. */
export function leftOver({ mailbox, ports }: Acting, numbering: number): Promise<readonly number[]> {
  return ports.store.pendingActions(mailbox.id, numbering, 100_000);
}
