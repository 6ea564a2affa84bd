/**
 * Stores one window whose files are on the disk: one transaction with the cursor in it.
 *
 * When the database refuses a row for good, the window is halved until the one message is found; it is quarantined
 * alone, with its source. Everything else that fails is thrown: nothing of the window is stored then, the cursor has
 * not moved, and the next poll starts over with it.
 */
import { isFailure } from '../../errors.ts';
import { withoutSubaddress } from '../../mail/thread/reply-token.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type { Batch, LookupResult, MessageCopy } from '../model.ts';
import type { IngestStore, Lease } from '../stores.ts';
import type { BatchContext } from './batch-context.ts';
import { recipientsOf } from './batch-context.ts';
import { type Decision, decide } from './decide.ts';
import { lookupRequestFor } from './lookup.ts';

/** Where a window belongs, and what makes its new rows. */
export type CommitTarget = {
  /** null: no lease, for mails that are taken out of quarantine; their outcomes take the place of those that wait. */
  readonly lease: Lease | null;
  /** Numbering of the UIDs. */
  readonly folderEpoch: number;
  readonly batchContext: BatchContext;
};

const conflictsMax = 4;

/** The decisions that are now in the database, one for each arrival, in order. */
export async function commitMessages(
  window: readonly StoredMessage[],
  place: CommitTarget,
  store: IngestStore,
): Promise<readonly Decision[]> {
  const first = window[0];
  if (first === undefined) return [];
  try {
    return await commitOnce(window, place, store, conflictsMax);
  } catch (error) {
    if (!isFailure(error, 'row_refused')) throw error;
    if (window.length === 1) return commitOnce([refused(first)], place, store, conflictsMax);
    const half = Math.ceil(window.length / 2);
    const before = await commitMessages(window.slice(0, half), place, store);
    return [...before, ...(await commitMessages(window.slice(half), place, store))];
  }
}

/** The arrival as one to be quarantined, since the database will not take its rows. */
function refused(arrival: StoredMessage): StoredMessage {
  const { uid, sizeBytes, receivedAtMs } = arrival;
  const raw = arrival.what === 'vanished' ? null : arrival.raw;
  return { uid, sizeBytes, receivedAtMs, what: 'quarantined', reason: 'row_refused', raw };
}

/**
 * Decides and commits; a conflict (two equal references, a ticket that was merged meanwhile) is decided anew with what is
 * stored by then.
 */
async function commitOnce(
  window: readonly StoredMessage[],
  place: CommitTarget,
  store: IngestStore,
  triesLeft: number,
): Promise<readonly Decision[]> {
  const found = await store.lookUp(lookupRequestFor(window, place.batchContext));
  // What is in quarantine is the mail itself, which is no mail before it.
  const known =
    place.lease === null ? { ...found, handled: found.handled.filter(({ isQuarantined }) => !isQuarantined) } : found;
  const decisions = decide(window, known, place.batchContext);
  try {
    await commit(batchOf(decisions, place.folderEpoch), place, store);
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || triesLeft <= 1) throw error;
    return commitOnce(window, place, store, triesLeft - 1);
  }
  await linkCopies(decisions, known, place.batchContext, store);
  return decisions;
}

function commit(batch: Batch, { lease, batchContext: maker }: CommitTarget, store: IngestStore): Promise<void> {
  return lease === null ? store.commitResolved(maker.mailboxId, batch) : store.commitBatch(lease, batch);
}

function batchOf(decisions: readonly Decision[], uidValidity: number): Batch {
  return {
    cursor: { folderEpoch: uidValidity, uid: decisions.at(-1)?.outcome.uid ?? 0 },
    tickets: decisions.flatMap((decision) => decision.ticket ?? []),
    messages: decisions.flatMap((decision) => decision.message ?? []),
    outcomes: decisions.map((decision) => decision.outcome),
    links: decisions.flatMap((decision) => decision.links),
    merges: decisions.flatMap((decision) => decision.merges),
    answered: [...new Set(decisions.flatMap((decision) => decision.answered ?? []))],
  };
}

/**
 * A mail to two of our mailboxes may be committed in both at the same moment. The window is stored already, so that a
 * failure here costs a link and nothing else.
 */
async function linkCopies(
  decisions: readonly Decision[],
  { ownAddresses }: LookupResult,
  { mailboxId, addresses }: BatchContext,
  store: IngestStore,
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
