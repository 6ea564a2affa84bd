/**
 * Stores one window whose files are on the disk: one transaction with the cursor in it.
 *
 * When the database refuses a row for good, the window is halved until the one message is found; it is quarantined
 * alone, with its source. Everything else that fails is thrown: nothing of the window is stored then, the cursor has
 * not moved, and the next poll starts over with it.
 */
import { isFailure } from '../../errors.ts';
import { withoutPlus } from '../../mail/thread/reply-token.ts';
import type { Kept } from '../fetch/store-files.ts';
import type { Batch, Copy, Known } from '../model.ts';
import type { IngestStore, Lease } from '../stores.ts';
import type { Maker } from './batch-context.ts';
import { recipientsOf } from './batch-context.ts';
import { type Decision, decide } from './decide.ts';
import { questionOf } from './lookup.ts';

/** Where a window belongs, and what makes its new rows. */
export type CommitPlace = {
  /** null: no lease, for mails that are taken out of quarantine; their outcomes take the place of those that wait. */
  readonly lease: Lease | null;
  /** Numbering of the UIDs. */
  readonly uidValidity: number;
  readonly maker: Maker;
};

const conflictsMax = 4;

/** The decisions that are now in the database, one for each arrival, in order. */
export async function commitWindow(
  window: readonly Kept[],
  place: CommitPlace,
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
    const before = await commitWindow(window.slice(0, half), place, store);
    return [...before, ...(await commitWindow(window.slice(half), place, store))];
  }
}

/** The arrival as one to be quarantined, since the database will not take its rows. */
function refused(arrival: Kept): Kept {
  const { uid, sizeBytes, receivedAtMs } = arrival;
  const raw = arrival.what === 'vanished' ? null : arrival.raw;
  return { uid, sizeBytes, receivedAtMs, what: 'quarantined', reason: 'row_refused', raw };
}

/**
 * Decides and commits; a conflict (two equal references, a ticket that was merged meanwhile) is decided anew with what is
 * stored by then.
 */
async function commitOnce(
  window: readonly Kept[],
  place: CommitPlace,
  store: IngestStore,
  triesLeft: number,
): Promise<readonly Decision[]> {
  const found = await store.lookUp(questionOf(window, place.maker));
  // What is in quarantine is the mail itself, which is no mail before it.
  const known = place.lease === null ? { ...found, handled: found.handled.filter(({ isKept }) => !isKept) } : found;
  const decisions = decide(window, known, place.maker);
  try {
    await commit(batchOf(decisions, place.uidValidity), place, store);
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || triesLeft <= 1) throw error;
    return commitOnce(window, place, store, triesLeft - 1);
  }
  await linkCopies(decisions, known, place.maker, store);
  return decisions;
}

function commit(batch: Batch, { lease, maker }: CommitPlace, store: IngestStore): Promise<void> {
  return lease === null ? store.commitReleased(maker.mailboxId, batch) : store.commitBatch(lease, batch);
}

function batchOf(decisions: readonly Decision[], uidValidity: number): Batch {
  return {
    cursor: { uidValidity, uid: decisions.at(-1)?.outcome.uid ?? 0 },
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
  { ownAddresses }: Known,
  { mailboxId, addresses }: Maker,
  store: IngestStore,
): Promise<void> {
  const here = new Set(addresses.map(withoutPlus));
  const isElsewhere = (address: string) => ownAddresses.has(withoutPlus(address)) && !here.has(withoutPlus(address));
  const copies = decisions.flatMap(({ ticket, message }): Copy[] => {
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
