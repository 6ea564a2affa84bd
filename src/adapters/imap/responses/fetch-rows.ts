/** FETCH responses (RFC 9051 section 7.5.2): rows of the library as listed messages and sources. */
import type { FetchMessageObject } from 'imapflow';
import { copyIn } from '../../../async/buffer-pool.ts';
import type { FetchedSource, IdentifiedMessage, ListedMessage } from '../../../ingest/ports.ts';
import { messageIdIn } from '../../../mail/fallback-message.ts';
import { comparableId } from '../../../mail/fingerprint.ts';

export function toListed(row: FetchMessageObject): ListedMessage {
  const atMs = row.internalDate instanceof Date ? row.internalDate.getTime() : 0;
  // The library reads a missing date (NIL) as 1970.
  return { uid: row.uid, sizeBytes: row.size ?? 0, receivedAtMs: atMs > 0 ? atMs : null };
}

export function toIdentified(row: FetchMessageObject): IdentifiedMessage {
  return { ...toListed(row), messageId: row.headers ? comparableId(messageIdIn(row.headers)) : null };
}

/** Requested UIDs without a response so far; distinguishes responses from unsolicited FETCH data. */
export class PendingFetch {
  readonly #open: Set<number>;
  readonly #withoutBody = new Set<number>();

  constructor(uids: readonly number[]) {
    this.#open = new Set(uids);
  }

  /** The source in `row`; null: no response (a flag change, another message, a duplicate). */
  match(row: FetchMessageObject): FetchedSource | null {
    if (!this.#open.has(row.uid)) return null;
    if (!row.source || row.source.length === 0) {
      this.#withoutBody.add(row.uid);
      return null;
    }
    this.#open.delete(row.uid);
    return { uid: row.uid, source: copyIn(row.source) };
  }

  /** Number of outstanding responses. */
  get openCount(): number {
    return this.#open.size;
  }

  /** UIDs for which the server sent data, but no body. */
  bodiless(): readonly number[] {
    return [...this.#withoutBody].filter((uid) => this.#open.has(uid));
  }
}

/** The next response among the rows; null after the last. Other rows do not count as progress. */
export async function nextMatch<T>(
  rows: AsyncGenerator<FetchMessageObject>,
  take: (row: FetchMessageObject) => T | null,
): Promise<T | null> {
  for (;;) {
    const row = await rows.next();
    if (row.done === true) return null;
    const answer = take(row.value);
    if (answer !== null) return answer;
  }
}
