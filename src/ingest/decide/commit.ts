/**
 * Batch commit: one transaction for the rows of a batch, whose files are on disk, and the cursor.
 *
 * When the database refuses a row for good (`row_refused`), the batch is bisected until the one message is found, which
 * is quarantined alone with its source. Each part is a transaction of its own. Where the quarantine row is refused as
 * well, it is reduced to UID and reason. Every other failure is thrown, and a refusal of that minimal row: the parts
 * committed before stay committed and are reported, the cursor is at their end, and the next poll repeats the rest.
 */
import { setImmediate } from 'node:timers/promises';
import { isFailure } from '../../errors.ts';
import { withoutSubaddress } from '../../mail/thread/reply-token.ts';
import type { LookupResult, MessageCopy } from '../batch-lookup.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type { Batch, NewOutcome, StoredSource } from '../model.ts';
import type { PendingAction } from '../ports.ts';
import type { IngestStore, Lease } from '../stores.ts';
import { type BatchContext, recipientsOf } from './batch-context.ts';
import { type Decision, decide } from './decide.ts';
import { lookupRequestFor } from './lookup-request.ts';

export type CommitTarget = {
  /** null: messages that are released from quarantine, without a lease; their outcomes replace the quarantined ones. */
  readonly lease: Lease | null;
  readonly folderEpoch: number;
  readonly batchContext: BatchContext;
  /** Seals the outcomes whose post-action is pending (`PostActionGuard.sealOutcome`). */
  readonly sealOutcome: (outcome: PendingAction) => string | null;
  /** Receives the decisions of each part, in order, immediately after its commit, and what that replaced. */
  readonly onCommitted?: (decisions: readonly Decision[], replacedUids: readonly number[]) => void;
};

type CommitStore = Pick<IngestStore, 'lookUp' | 'commitBatch' | 'commitResolved' | 'linkCopies'>;

const conflictsMax = 4;

/** The decisions that are in the database now, one for each message, in order. */
export async function commitMessages(
  batch: readonly StoredMessage[],
  target: CommitTarget,
  store: CommitStore,
): Promise<readonly Decision[]> {
  const first = batch[0];
  if (first === undefined) return [];
  try {
    return await commitOnce(batch, target, store, conflictsMax);
  } catch (error) {
    if (!isFailure(error, 'row_refused')) throw error;
    if (batch.length === 1) return await quarantineRefused(first, target, store);
    const half = Math.ceil(batch.length / 2);
    const before = await commitMessages(batch.slice(0, half), target, store);
    return [...before, ...(await commitMessages(batch.slice(half), target, store))];
  }
}

/** Quarantines a message whose rows the database refuses; without its source where that row is refused too. */
async function quarantineRefused(
  message: StoredMessage,
  target: CommitTarget,
  store: CommitStore,
): Promise<readonly Decision[]> {
  const { uid, sizeBytes, receivedAtMs } = message;
  const raw: StoredSource | null = message.what === 'vanished' ? null : message.raw;
  const refused = { uid, what: 'quarantined', reason: 'row_refused' } as const;
  try {
    return await commitOnce([{ ...refused, sizeBytes, receivedAtMs, raw }], target, store, conflictsMax);
  } catch (error) {
    if (!isFailure(error, 'row_refused')) throw error;
    const minimal = { ...refused, sizeBytes: 0, receivedAtMs: null, raw: null };
    return await commitOnce([minimal], target, store, conflictsMax);
  }
}

/** Decides and commits. After a conflict (equal references, a ticket that was merged meanwhile) it decides again. */
async function commitOnce(
  batch: readonly StoredMessage[],
  target: CommitTarget,
  store: CommitStore,
  triesLeft: number,
): Promise<readonly Decision[]> {
  const { lease, batchContext } = target;
  const found = await store.lookUp(lookupRequestFor(batch, batchContext));
  // The embedded database answers within the same turn of the event loop, in which nothing else would run.
  await setImmediate();
  // A message that is released from quarantine must not be taken for a duplicate of itself.
  const handled = lease === null ? found.handled.filter(({ isQuarantined }) => !isQuarantined) : found.handled;
  const replyKeys = found.replyKeys.length === 0 ? [] : await batchContext.openReplyKeys(found.replyKeys);
  const decisions = decide(batch, { ...found, handled, replyKeys }, batchContext);
  const rows = rowsOf(decisions, target);
  await setImmediate();
  let replacedUids: readonly number[] = [];
  try {
    const others = [...found.accountMailboxes];
    if (lease === null) await store.commitResolved(batchContext.mailboxId, rows, others);
    else replacedUids = await store.commitBatch(lease, rows, others);
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || triesLeft <= 1) throw error;
    return commitOnce(batch, target, store, triesLeft - 1);
  }
  target.onCommitted?.(decisions, replacedUids);
  await linkCopies(decisions, found, batchContext, store);
  return decisions;
}

function rowsOf(decisions: readonly Decision[], { folderEpoch, sealOutcome }: CommitTarget): Batch {
  const sealed = ({ outcome }: Decision): NewOutcome =>
    outcome.actionPending ? { ...outcome, actionSeal: sealOutcome({ ...outcome, folderEpoch }) } : outcome;
  return {
    cursor: { folderEpoch, uid: decisions.at(-1)?.outcome.uid ?? 0 },
    tickets: decisions.flatMap((decision) => decision.ticket ?? []),
    messages: decisions.flatMap((decision) => decision.message ?? []),
    outcomes: decisions.map(sealed),
    links: decisions.flatMap((decision) => decision.links),
    merges: decisions.flatMap((decision) => decision.merges),
    answered: [...new Set(decisions.flatMap((decision) => decision.answered ?? []))],
  };
}

/**
 * Links the tickets of one message in two mailboxes: both may be committed at the same moment. The batch is stored, so
 * that a failure here costs a link and nothing else.
 */
async function linkCopies(
  decisions: readonly Decision[],
  { ownAddresses }: LookupResult,
  { mailboxId, addresses }: BatchContext,
  store: CommitStore,
): Promise<void> {
  const here = new Set(addresses.map(withoutSubaddress));
  const isElsewhere = (address: string) =>
    ownAddresses.has(withoutSubaddress(address)) && !here.has(withoutSubaddress(address));
  const copies = decisions.flatMap(({ ticket, message }): MessageCopy[] => {
    if (ticket === null || message === null || !recipientsOf(message.parsed).some(isElsewhere)) return [];
    const { messageId, contentHash } = message.parsed;
    return [{ messageId, contentHash, ticketId: ticket.id }];
  });
  if (copies.length === 0) return;
  try {
    await store.linkCopies(mailboxId, copies);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}
