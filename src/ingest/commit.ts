/**
 * Stores one window whose files are on the disk: one transaction with the cursor in it.
 *
 * When the database refuses a row for good, the window is halved until the one message is found; it is quarantined
 * alone, with its source. Everything else that fails is thrown: nothing of the window is stored then, the cursor has
 * not moved, and the next poll starts over with it.
 */
import { isFailure } from '../errors.ts';
import { type Decision, decide, idsToKnow, type Maker } from './decide.ts';
import type { Kept } from './keep.ts';
import type { IngestStore, Lease } from './ports.ts';
import type { Batch } from './rows.ts';

/** Where a window belongs, and what makes its new rows. */
export type CommitPlace = { readonly lease: Lease; readonly uidValidity: number; readonly maker: Maker };

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

/** Decides and commits; a conflict (two equal references) is decided anew with new references. */
async function commitOnce(
  window: readonly Kept[],
  place: CommitPlace,
  store: IngestStore,
  triesLeft: number,
): Promise<readonly Decision[]> {
  const known = await store.knownMessages(idsToKnow(window));
  const decisions = decide(window, known, place.maker);
  try {
    await store.commitBatch(place.lease, batchOf(decisions, place.uidValidity));
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || triesLeft <= 1) throw error;
    return commitOnce(window, place, store, triesLeft - 1);
  }
  return decisions;
}

function batchOf(decisions: readonly Decision[], uidValidity: number): Batch {
  return {
    cursor: { uidValidity, uid: decisions.at(-1)?.outcome.uid ?? 0 },
    tickets: decisions.flatMap((decision) => decision.ticket ?? []),
    messages: decisions.flatMap((decision) => decision.message ?? []),
    outcomes: decisions.map((decision) => decision.outcome),
  };
}
