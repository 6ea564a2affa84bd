/**
 * IMAP session (RFC 9051, and RFC 3501 servers) on one selected folder, and the probe of a mail server.
 *
 * Lists, fetches and acts on messages by UID, and waits for new ones by IDLE. Every method rejects with a `Failure` and
 * nothing else. Calls must not overlap: a second call before the first has ended, or inside the loop over `fetch`, is
 * refused as `unexpected`, since it would deadlock. Connections are not pooled: a session ends with its poll. Only this
 * folder knows imapflow.
 */

import type { FetchMessageObject } from 'imapflow';
import { Failure, isFailure } from '../../errors.ts';
import type { Connection, PostAction } from '../../ingest/model.ts';
import type {
  FetchedSource,
  FolderState,
  IdentifiedMessage,
  IdleEnd,
  ListedMessage,
  Session,
  Sessions,
} from '../../ingest/ports.ts';
import { hints } from '../../text/hints.ts';
import { countText } from '../../text/units.ts';
import type { ImapOptions } from './client.ts';
import { ImapConnection } from './connection.ts';
import {
  existsIn,
  lastMessage,
  type SearchCriteria,
  type SearchResult,
  search,
  selectFolder,
  uidSets,
  windowEnds,
} from './folder.ts';
import { Idling, NewMailAnnouncements } from './idle.ts';
import { commandBytesMax, idleBytesMax } from './limits.ts';
import { applyAction } from './post-actions.ts';
import { probe } from './probe.ts';
import { nextMatch, PendingFetch, toIdentified, toListed } from './responses/fetch-rows.ts';
import { listedMax, uidMax } from './responses/uid-collector.ts';
import { withoutCertificateNames } from './tls.ts';

const dayMs = 24 * 60 * 60 * 1000;
const datesPerFetch = 500;
/** Upper limit of a FETCH response without its literal: number, UID, size, date, and extensions. */
const rowBytesMax = 512;

/** A UID that is not below it cannot be one of the folder; the highest number has no UIDNEXT above it. */
function uidBound({ uidNext, isUidNextGuessed }: FolderState): number {
  return isUidNextGuessed === true ? uidMax : Math.min(uidNext, uidMax);
}

/** Those above `uid`: `n:*` includes the last message even when its UID is below n (RFC 9051 section 9). */
function uidsAbove(uid: number, uids: readonly number[]): readonly number[] {
  const from = uids.findIndex((one) => one > uid);
  if (from === 0) return uids;
  return from < 0 ? [] : uids.slice(from);
}

class ImapSession implements Session {
  readonly folder: FolderState;
  readonly certificateEndsAtMs: number | null;
  readonly #connection: ImapConnection;
  readonly #announcements: NewMailAnnouncements;
  readonly #select: () => Promise<FolderState>;
  /** Above every UID of the folder, as the server announced it last. */
  #uidNext: number;
  #listingFailure: Failure | null = null;
  /** The server announced new messages before the present listing. */
  #isAnnounced = false;
  #hasMore = false;
  #windowEnds: readonly number[] | null = null;
  #isFetching = false;
  #isIdleRefused = false;
  #renewIdle: (() => void) | null = null;

  /** `select` selects the folder again. */
  constructor(
    opened: ImapConnection,
    announcements: NewMailAnnouncements,
    folder: FolderState,
    select: () => Promise<FolderState>,
  ) {
    this.#connection = opened;
    this.#announcements = announcements;
    this.folder = folder;
    this.#select = select;
    this.#uidNext = uidBound(folder);
    this.certificateEndsAtMs = opened.transport.certificateEndsAtMs();
  }

  async listAbove(uid: number): Promise<readonly number[]> {
    this.#isAnnounced = this.#announcements.hasNewMail;
    this.#announcements.reset();
    const { uids, isCut } = await this.#window('listing the messages', uid);
    this.#hasMore = isCut;
    return uids;
  }

  get hasMore(): boolean {
    return this.#hasMore;
  }

  get listingFailure(): Failure | null {
    return this.#listingFailure;
  }

  async uidBefore(atMs: number): Promise<number> {
    // SINCE has a resolution of days, in the time zone of the server: search a day earlier, then compare exact times.
    const first = await this.#firstSince(atMs, new Date(atMs - dayMs));
    if (first !== null) return first - 1;
    // A SEARCH that names nothing is compared with the last message: some servers have no dates in their index.
    const last = await lastMessage(this.#connection);
    const isSilent = last !== null && last.receivedAtMs !== null && last.receivedAtMs >= atMs;
    const listed = isSilent ? await this.#firstSince(atMs) : null;
    return listed === null ? this.folder.uidNext - 1 : listed - 1;
  }

  /** UID of the first message that arrived at `atMs` or later; without `since`, by the dates of all messages. */
  async #firstSince(atMs: number, since?: Date): Promise<number | null> {
    for (let [above, isCut] = [0, true]; isCut; ) {
      const found = await this.#window('finding the first message', above, since);
      for (let at = 0; at < found.uids.length; at += datesPerFetch) {
        const dated = await this.sizes(found.uids.slice(at, at + datesPerFetch));
        const first = dated.find(({ receivedAtMs }) => receivedAtMs !== null && receivedAtMs >= atMs);
        if (first !== undefined) return first.uid;
      }
      [above, isCut] = [found.uids.at(-1) ?? above, found.isCut];
    }
    return null;
  }

  async sizes(uids: readonly number[]): Promise<readonly ListedMessage[]> {
    return this.#listed('reading message sizes', uids, [], toListed);
  }

  async identify(uids: readonly number[]): Promise<readonly IdentifiedMessage[]> {
    const { inboundLimit, literalBytesMax } = this.#connection;
    inboundLimit.expectLiterals(uids.length * literalBytesMax);
    const found = await this.#listed('comparing messages', uids, ['message-id'], toIdentified);
    inboundLimit.expectNoLiterals();
    return found;
  }

  async *fetch(uids: readonly number[]): AsyncGenerator<FetchedSource, void, undefined> {
    const asked = new PendingFetch(uids);
    const { inboundLimit, literalBytesMax } = this.#connection;
    let isAbandoned = true;
    inboundLimit.expectLiterals(literalBytesMax);
    try {
      const query = { uid: true, source: true };
      for await (const answer of this.#answers('fetching messages', uids, query, (row) => asked.match(row), false)) {
        inboundLimit.expectLiterals(answer.source?.length ?? 0);
        yield answer;
      }
      isAbandoned = false;
    } finally {
      inboundLimit.expectNoLiterals();
      // The server still sends the rest, before its response to the next command.
      if (isAbandoned) inboundLimit.expectLiterals(asked.openCount * literalBytesMax);
    }
    for (const uid of asked.bodiless()) yield { uid, source: null };
  }

  async fetchHeader(uid: number, bytesMax: number): Promise<Uint8Array | null> {
    const query = { uid: true, bodyParts: [{ key: 'HEADER', start: 0, maxLength: bytesMax }] };
    let header: Uint8Array | null = null;
    // Truncates the response of a server that ignores the partial range.
    const take = (row: FetchMessageObject): Uint8Array | null =>
      row.uid === uid && row.headers && header === null ? new Uint8Array(row.headers.subarray(0, bytesMax)) : null;
    this.#connection.inboundLimit.expectLiterals(this.#connection.literalBytesMax);
    for await (const one of this.#answers('fetching a header', [uid], query, take)) header = one;
    this.#connection.inboundLimit.expectNoLiterals();
    return header;
  }

  async apply(action: PostAction, uids: readonly number[], isRepeat = false): Promise<void> {
    this.#assertNotFetching('changing messages');
    await this.#connection.inStage('act', () => applyAction(this.#connection, action, uids, isRepeat));
  }

  get endsInMs(): number | null {
    return this.#connection.endsInMs;
  }

  /** False also once the server has refused IDLE. IDLE is part of IMAP4rev2 (RFC 9051 appendix E). */
  get supportsIdle(): boolean {
    const { capabilities } = this.#connection.imap;
    const isOffered = capabilities.has('IDLE') || (capabilities.has('IMAP4rev2') && !capabilities.has('IMAP4rev1'));
    return isOffered && !this.#isIdleRefused;
  }

  /**
   * See `Session.idle`. A server may end IDLE early on its own: `timed_out`. The session remains usable after
   * `server_refused`, which makes `supportsIdle` false, and after `server_busy`. A quiet IDLE ends with a look at the
   * folder by its name.
   */
  async idle(ms: number, stop: AbortSignal): Promise<IdleEnd> {
    this.#assertNotFetching('waiting for new mail');
    if (!this.supportsIdle) throw new Failure('unexpected', 'The server does not support IDLE.');
    this.#connection.assertOpen();
    if (stop.aborted) return 'stopped';
    if (this.#announcements.hasNewMail) return 'new_messages';
    const { imap } = this.#connection;
    let end: IdleEnd;
    try {
      end = await this.#connection.run(
        'waiting for new mail',
        (watchdog) => {
          const idling = new Idling(imap, this.#announcements, watchdog);
          this.#renewIdle = () => idling.renew();
          return idling.until(ms, stop);
        },
        { bytesMax: idleBytesMax },
      );
    } catch (error) {
      if (isFailure(error, 'server_refused')) this.#isIdleRefused = true;
      throw error;
    } finally {
      this.#renewIdle = null;
    }
    if (end === 'timed_out' && !stop.aborted) await this.#assertSameFolder();
    return end;
  }

  verify(): boolean {
    this.#renewIdle?.();
    return this.#renewIdle !== null;
  }

  async close(): Promise<void> {
    if (this.#isFetching) this.#connection.end(new Failure('connection_lost', 'The session is closed.'));
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Sizes, arrival times and header fields; ascending. */
  async #listed<T extends ListedMessage>(
    doing: string,
    uids: readonly number[],
    headers: string[],
    read: (row: FetchMessageObject) => T,
  ): Promise<readonly T[]> {
    const asked = new Set(uids);
    const found = new Map<number, T>();
    const query = { uid: true, size: true, internalDate: true, ...(headers.length === 0 ? {} : { headers }) };
    // A row without a size is an unsolicited flag change, or all that the server reports of the message.
    const sized = new Set<number>();
    const take = (row: FetchMessageObject): T | null => {
      const isMore = row.size === undefined ? !found.has(row.uid) : !sized.has(row.uid);
      if (!asked.has(row.uid) || !isMore) return null;
      if (row.size !== undefined) sized.add(row.uid);
      return read(row);
    };
    for await (const one of this.#answers(doing, uids, query, take)) found.set(one.uid, one);
    return [...found.values()].sort((a, b) => a.uid - b.uid);
  }

  #assertNotFetching(doing: string): void {
    if (this.#isFetching) throw new Failure('unexpected', `A session was used for ${doing} during a fetch.`);
  }

  /**
   * The first messages above `uid`, in one SEARCH unless the folder is large; `isCut`: there may be more above them.
   */
  async #window(doing: string, uid: number, since?: Date): Promise<SearchResult> {
    for (let above = uid; ; ) {
      const end = await this.#windowEnd(above);
      const isWhole = since !== undefined && above === 0 && end === null;
      const found = await this.#search(doing, {
        ...(isWhole ? {} : { uid: `${above + 1}:${end ?? '*'}` }),
        ...(since === undefined ? {} : { since }),
      });
      if (end === null && since === undefined && found.uids.length === 0 && this.#mayHideMessages(above))
        return await this.#windowByNumbers(doing, above);
      const uids = uidsAbove(above, found.uids);
      if (end === null || uids.length > 0) return { uids, isCut: uids.length > 0 && (found.isCut || end !== null) };
      above = end;
    }
  }

  /** True when UIDNEXT, or an announcement, promises messages above `uid`. */
  #mayHideMessages(uid: number): boolean {
    const { uidNext, isUidNextGuessed } = this.folder;
    const last = (isUidNextGuessed === true ? uidNext : this.#uidNext) - 1;
    return existsIn(this.#connection) > 0 && this.#listingFailure === null && (this.#isAnnounced || last > uid);
  }

  /**
   * Second form of a listing. A folder with messages has one in `n:*` in any case (RFC 9051 section 9), but some
   * servers name none. Throws `server_protocol_error` where neither form names one above `uid` although it is there.
   */
  async #windowByNumbers(doing: string, uid: number): Promise<SearchResult> {
    const found = await this.#search(doing, { uid: `${uid + 1}:${uidMax}` });
    if (found.uids.length > 0 || this.#listingFailure !== null) return { ...found, uids: uidsAbove(uid, found.uids) };
    const last = await lastMessage(this.#connection);
    const exists = existsIn(this.#connection);
    if (exists === 0 || (last !== null && last.uid <= uid)) return found;
    const message = `The folder has ${countText(exists, 'message')}, and the server lists none of them above UID ${uid}.`;
    throw new Failure('server_protocol_error', message, { hint: hints.listingEmpty, fields: { messages: exists } });
  }

  /** null: what is above `uid` is one window. */
  async #windowEnd(uid: number): Promise<number | null> {
    if (Math.min(existsIn(this.#connection), this.#uidNext - 1 - uid) <= listedMax) return null;
    this.#assertNotFetching('listing the messages');
    this.#windowEnds ??= await windowEnds(this.#connection);
    return this.#windowEnds.find((end) => end > uid) ?? null;
  }

  async #search(doing: string, query: SearchCriteria): Promise<SearchResult> {
    this.#assertNotFetching(doing);
    const found = await search(this.#connection, doing, query);
    const { uids } = found;
    if ((uids.at(-1) ?? 0) < this.#uidNext) return found;
    await this.#refreshUidNext();
    const from = uids.findIndex((uid) => uid >= this.#uidNext);
    if (from < 0) return found;
    this.#listingFailure ??= impossibleUid(uids[from]);
    return { uids: uids.slice(0, from), isCut: false };
  }

  /**
   * A folder that was renamed and created again stays the old one on a connection of some servers, where no message
   * arrives any more: SELECT looks at it by its name. Throws `connection_lost`, as a new session sees the new folder.
   */
  async #assertSameFolder(): Promise<void> {
    const now = await this.#select();
    if (now.uidValidity !== this.folder.uidValidity)
      throw new Failure('connection_lost', 'Another folder has the name of the folder that the connection watched.');
    this.#uidNext = uidBound(now);
  }

  /**
   * Selects the folder again: a message that arrived since has a UID at or above the UIDNEXT that was known. SELECT,
   * not STATUS, whose UIDNEXT of the selected folder may be stale (RFC 3501 section 6.3.10).
   */
  async #refreshUidNext(): Promise<void> {
    if (this.folder.isUidNextGuessed === true) return;
    const now = await this.#select();
    if (now.uidValidity !== this.folder.uidValidity)
      throw new Failure('server_protocol_error', 'The UIDVALIDITY of the folder changed while it was selected.');
    this.#uidNext = uidBound(now);
  }

  /**
   * What `take` finds in the rows as they arrive; the next is read from the connection when the consumer asks for it.
   */
  async *#answers<T>(
    doing: string,
    uids: readonly number[],
    query: Parameters<ImapConnection['imap']['fetch']>[1],
    take: (row: FetchMessageObject) => T | null,
    whole = true,
  ): AsyncGenerator<T, void, undefined> {
    for (const set of uidSets(uids)) {
      this.#assertNotFetching(doing);
      const rows = this.#connection.imap.fetch(set, query, { uid: true });
      this.#isFetching = true;
      this.#connection.inboundLimit.allow(commandBytesMax + uids.length * rowBytesMax);
      try {
        for (;;) {
          const answer = await this.#connection.run(doing, () => nextMatch(rows, take), {
            limitsTotalTime: whole,
            bytesMax: null,
          });
          if (answer === null) break;
          yield answer;
        }
      } finally {
        this.#isFetching = false;
        this.#connection.inboundLimit.allow(idleBytesMax);
        // A closed connection sends nothing more.
        if (!this.#connection.isEnded) await rows.return();
      }
    }
  }
}

/** The cursor never reaches UIDNEXT: later messages would be below it, and never fetched. */
function impossibleUid(uid: number | undefined): Failure {
  const message = `The server lists UID ${uid}, which is not below its UIDNEXT; it is left out.`;
  return new Failure('server_protocol_error', message, { hint: hints.uidImpossible });
}

/** Selects the folder (EXAMINE when read-only). Closes the connection when that fails. */
async function openSession(opened: ImapConnection, { folder }: Connection, isReadOnly: boolean): Promise<Session> {
  try {
    const announcements = new NewMailAnnouncements(opened.imap);
    const select = () => selectFolder(opened, folder, isReadOnly);
    return new ImapSession(opened, announcements, await select(), select);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Sessions and probes over IMAP. Calls `options` for each connection: deadlines, and the largest message to fetch. */
export function imapSessions(options: () => ImapOptions): Sessions {
  const ignore = (): void => undefined;
  return {
    open: async (connection, credential, signal, { readOnly, literalBytesMax, watch } = {}) => {
      const usual = options();
      const chosen = literalBytesMax === undefined ? usual : { ...usual, literalBytesMax };
      const opened = await ImapConnection.open(connection, credential, chosen, signal, ignore, watch).catch(
        (error: unknown) => {
          throw withoutCertificateNames(error);
        },
      );
      return openSession(opened, connection, readOnly === true);
    },
    probe: (connection, credential, step) => probe(connection, credential, options(), step),
  };
}
