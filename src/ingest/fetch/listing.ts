/**
 * UID listing of a folder in pages, each at most as large as one listing of the session.
 *
 * A page is bounded, so that a folder of millions costs no more memory than one of a few hundred thousand.
 */
import type { Session } from '../ports.ts';
import type { Isolation } from './poison-message.ts';

type Listing = Pick<Session, 'listAbove' | 'hasMore'>;

/** All UIDs above `uid`, ascending, page by page. */
export async function* listingsAbove(session: Listing, uid: number): AsyncGenerator<readonly number[]> {
  for (let above = uid; ; ) {
    const uids = await session.listAbove(above);
    const { hasMore } = session;
    yield uids;
    above = uids.at(-1) ?? above;
    if (!hasMore || uids.length === 0) return;
  }
}

/**
 * The first page of the UIDs above the cursor. A confirmation lists from the start of the folder: its control message
 * may be an old one.
 */
export async function listNew(session: Listing, isolation: Isolation): Promise<readonly number[]> {
  const { state, cursor } = isolation;
  if (state.state === 'confirm') {
    isolation.present = await session.listAbove(0);
    if (!session.hasMore) return isolation.present.filter((uid) => uid > cursor.uid);
  }
  const uids = await session.listAbove(cursor.uid);
  isolation.hasMore = session.hasMore;
  return uids;
}
