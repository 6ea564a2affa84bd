/**
 * Sizes of mails, from a server that may leave some out of its answer.
 */
import type { Listed, Session } from './ports.ts';

/** So many UIDs that a search found, and all of them gone a moment later, is no answer to act on. */
const goneAtOnceMax = 50;

/**
 * Sizes. What the server leaves out is asked for once more, and then searched for: a mail that is still found is not
 * gone, whatever else the server says of it; its size is unknown then. null: it knows none of many.
 */
export async function sizesOf(session: Session, uids: readonly number[]): Promise<readonly Listed[] | null> {
  const first = await session.sizes(uids);
  const second = await session.sizes(without(uids, first));
  const missing = without(uids, [...first, ...second]);
  if (missing.length === 0) return [...first, ...second];
  if (missing.length === uids.length && uids.length > goneAtOnceMax) return null;
  const found = new Set(await session.listAbove(Math.min(...missing) - 1));
  const third = missing.filter((uid) => found.has(uid)).map((uid) => ({ uid, sizeBytes: 0, receivedAtMs: null }));
  return [...first, ...second, ...third];
}

function without(uids: readonly number[], listed: readonly Listed[]): readonly number[] {
  const found = new Set(listed.map(({ uid }) => uid));
  return uids.filter((uid) => !found.has(uid));
}
