/**
 * A selected folder: lists, fetches, and acts on mails by UID.
 *
 * Every method rejects with a `Failure` and nothing else. One thing at a time: a second call before the first is
 * done, or inside the loop over `fetch`, is refused as `unexpected`, because it would wait for itself.
 */
import type { FetchMessageObject } from 'imapflow';
import { Failure } from '../../errors.ts';
import type { AfterAction, Connection } from '../../ingest/mailbox.ts';
import type { Fetched, FolderState, Listed, Session } from '../../ingest/ports.ts';
import { applyAction } from './actions.ts';
import { selectFolder } from './folder.ts';
import type { Link } from './link.ts';
import { uidSets } from './uid-set.ts';

const dayMs = 24 * 60 * 60 * 1000;
const datesAtATime = 500;

/**
 * The bytes in an ArrayBuffer of their own, so that they can be moved to a thread. Node cuts small buffers out of a
 * shared one, and only those are copied.
 */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) return new Uint8Array(buffer);
  return new Uint8Array(bytes);
}

function listed(row: FetchMessageObject): Listed {
  const atMs = row.internalDate instanceof Date ? row.internalDate.getTime() : 0;
  // The library reads a missing date (NIL) as 1970.
  return { uid: row.uid, sizeBytes: row.size ?? 0, receivedAtMs: atMs > 0 ? atMs : null };
}

/** The UIDs that were asked for and not answered yet; what a server tells unasked is told apart by it. */
class Asked {
  readonly #open: Set<number>;
  readonly #withoutBody = new Set<number>();

  constructor(uids: readonly number[]) {
    this.#open = new Set(uids);
  }

  /** The source in `row`, or null when the row is no answer (a change of flags, another mail, a second answer). */
  take(row: FetchMessageObject): Fetched | null {
    if (!this.#open.has(row.uid)) return null;
    if (!row.source || row.source.length === 0) {
      this.#withoutBody.add(row.uid);
      return null;
    }
    this.#open.delete(row.uid);
    return { uid: row.uid, source: owned(row.source) };
  }

  /** Those that the server mentioned and gave no body of. */
  bodiless(): readonly number[] {
    return [...this.#withoutBody].filter((uid) => this.#open.has(uid));
  }
}

class MailSession implements Session {
  readonly folder: FolderState;
  readonly #link: Link;
  #isFetching = false;

  constructor(link: Link, folder: FolderState) {
    this.#link = link;
    this.folder = folder;
  }

  async listAbove(uid: number): Promise<readonly number[]> {
    const uids = await this.#search('listing the mails', { uid: `${uid + 1}:*` });
    // RFC 9051 section 9: `n:*` names the last mail even when its UID is below n.
    const from = uids.findIndex((found) => found > uid);
    return from === 0 ? uids : from < 0 ? [] : uids.slice(from);
  }

  async uidBefore(atMs: number): Promise<number> {
    // SINCE knows days only, in the time zone of the server: begin a day early, then look at the exact times.
    const uids = await this.#search('finding the first mail', { since: new Date(atMs - dayMs) });
    for (let at = 0; at < uids.length; at += datesAtATime) {
      const dated = await this.sizes(uids.slice(at, at + datesAtATime));
      const first = dated.find(({ receivedAtMs }) => receivedAtMs !== null && receivedAtMs >= atMs);
      if (first !== undefined) return first.uid - 1;
    }
    return this.folder.uidNext - 1;
  }

  async sizes(uids: readonly number[]): Promise<readonly Listed[]> {
    const asked = new Set(uids);
    const found = new Map<number, Listed>();
    const query = { uid: true, size: true, internalDate: true };
    for (const set of uidSets(uids)) {
      for await (const row of this.#rows('reading sizes of mails', set, query, true)) {
        if (!asked.has(row.uid)) continue;
        // A row without a size may be a change of flags that comes by itself, or all that the server tells of the mail.
        if (row.size !== undefined || !found.has(row.uid)) found.set(row.uid, listed(row));
      }
    }
    return [...found.values()].sort((a, b) => a.uid - b.uid);
  }

  async *fetch(uids: readonly number[]): AsyncGenerator<Fetched, void, undefined> {
    const asked = new Asked(uids);
    for (const set of uidSets(uids)) {
      for await (const row of this.#rows('fetching mails', set, { uid: true, source: true }, false)) {
        const answer = asked.take(row);
        if (answer !== null) yield answer;
      }
    }
    for (const uid of asked.bodiless()) yield { uid, source: null };
  }

  async fetchHeader(uid: number, bytesMax: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const query = { uid: true, bodyParts: [{ key: 'HEADER', start: 0, maxLength: bytesMax }] };
    let header: Uint8Array<ArrayBuffer> | null = null;
    for await (const row of this.#rows('fetching a header', `${uid}`, query, true)) {
      // A server that ignores the partial range is cut here.
      if (row.uid === uid && row.headers) header = owned(row.headers.subarray(0, bytesMax));
    }
    return header;
  }

  async apply(action: AfterAction, uids: readonly number[]): Promise<void> {
    this.#assertFree('changing mails');
    await this.#link.at('act', () => applyAction(this.#link, action, uids));
  }

  async close(): Promise<void> {
    if (this.#isFetching) this.#link.end(new Failure('connection_lost', 'The session is closed.'));
    await this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assertFree(doing: string): void {
    if (this.#isFetching) throw new Failure('unexpected', `A session was asked for ${doing} in the middle of a fetch.`);
  }

  async #search(doing: string, query: Parameters<Link['imap']['search']>[0]): Promise<readonly number[]> {
    this.#assertFree(doing);
    const found = await this.#link.require(doing, () => this.#link.imap.search(query, { uid: true }));
    return Array.isArray(found) ? found : [];
  }

  /** The rows of one FETCH as they arrive; the next is read from the connection when the consumer asks for it. */
  async *#rows(
    doing: string,
    set: string,
    query: Parameters<Link['imap']['fetch']>[1],
    whole: boolean,
  ): AsyncGenerator<FetchMessageObject, void, undefined> {
    this.#assertFree(doing);
    const rows = this.#link.imap.fetch(set, query, { uid: true });
    this.#isFetching = true;
    try {
      for (;;) {
        const row = await this.#link.run(doing, () => rows.next(), whole);
        if (row.done === true) return;
        yield row.value;
      }
    } finally {
      this.#isFetching = false;
      // Lets the rest of an abandoned fetch run out; on a connection that has ended there is nothing to wait for.
      if (!this.#link.isEnded) await rows.return();
    }
  }
}

/** Selects the folder of `connection` for reading and writing. Closes the link when that fails. */
export async function openSession(link: Link, { folder }: Connection): Promise<Session> {
  try {
    return new MailSession(link, await selectFolder(link, folder, false));
  } catch (error) {
    await link.close();
    throw error;
  }
}
