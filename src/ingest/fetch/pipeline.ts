/**
 * From UIDs to arrivals: lists sizes, fetches whole sources window by window, has them parsed in the worker threads.
 *
 * While a window is parsed the next one is fetched; of those that are one large mail there is only one at a time. A
 * server that sends far more than the sizes it told is taken at its word no more: each mail is a window of its own from
 * then on, and counts as a large one. What a message turns out to be is a value, never a throw: too large, gone,
 * answered without a body, not to be parsed, given up. Only the connection's own failures throw, after what had come
 * whole before them, and parse threads that fail at everything.
 */

import { release } from '../../async/buffer-pool.ts';
import type { Clock } from '../../async/clock.ts';
import { createGate, type Gate, prefetch, rejectionObservedLater } from '../../async/prefetch.ts';
import { Failure } from '../../errors.ts';
import type { FingerprintedMessage } from '../../mail/fingerprint.ts';
import { messageIdIn } from '../../mail/mime/structured-fields.ts';
import type { QuarantineReason } from '../model.ts';
import type { ListedMessage, MessageParser, ParseResult, Session } from '../ports.ts';
import { type BatchBounds, batchesOf } from './batches.ts';
import type { Narrowing } from './poison-message.ts';

/** A compressed raw source and the SHA-256 of what it was before. */
export type CompressedSource = { readonly compressed: Uint8Array; readonly sha256: string };

type Place = { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null };

/** What came for one UID; `Raw` is its source, in memory or where it lies on the disk. */
export type FetchedMessage<Raw = CompressedSource> = Place &
  (
    | (FingerprintedMessage & { readonly what: 'mail'; readonly raw: Raw })
    | {
        readonly what: 'quarantined';
        readonly reason: QuarantineReason;
        readonly raw: Raw | null;
        /** Of one of which the header alone was fetched. */
        readonly headMessageId?: string | undefined;
      }
    | { readonly what: 'vanished' }
  );

export type FetchLimits = {
  readonly messageBytesMax: number;
  readonly batch: BatchBounds;
  /** How long a window may take to fetch beside the time that its bytes need at `bytesPerSMin`. */
  readonly batchTimeoutMs: number;
};

/** Whose mail comes from where. `lane` names the mailbox to the parse threads. */
export type FetchContext = {
  readonly session: Session;
  readonly digester: MessageParser;
  readonly clock: Clock;
  readonly lane: string;
  readonly limits: FetchLimits;
  readonly narrowing: Narrowing;
  readonly stop: AbortSignal;
};

type Expected = Place & { readonly fate: 'whole' | 'too_large' | 'gone' };
type Digests = ReadonlyMap<number, Promise<ParseResult>>;
/** `error` ended it: what is expected had come before. */
type Fetched = { readonly expected: readonly Expected[]; readonly digests: Digests; readonly error?: unknown };
/** `isAlone`: it has passed the gate, and leaves it when its files are written. */
type Fetching = Pick<Fetched, 'expected' | 'digests'> & { readonly isAlone: boolean };
type Settled = { readonly window: readonly FetchedMessage[]; readonly isAlone: boolean };

const sizesAtOnce = 500;
const headerBytesMax = 256 * 1024;
const emptyAnswersMax = 3;
/** Servers count line ends and encodings their own way, but not that far. */
const sizeErrorMax = 1.5;

/**
 * Windows of arrivals, one arrival for each of `uids`, in their order. Ends early when `stop` fires, and after a mail
 * that is given up.
 */
export async function* fetchMessages(
  from: FetchContext,
  uids: readonly number[],
): AsyncGenerator<readonly FetchedMessage[]> {
  // The threads load while sizes and the first sources are on their way.
  if (uids.length > 0) from.digester.prepare();
  let givenUp: ListedMessage | null = null;
  try {
    yield* windowsFrom(from, uids);
  } catch (error) {
    givenUp = from.narrowing.failed(error);
    if (givenUp === null) throw error;
  }
  if (givenUp === null) return;
  const { uid, sizeBytes, receivedAtMs } = givenUp;
  yield [{ uid, sizeBytes, receivedAtMs, what: 'quarantined', reason: 'fetch_failed', raw: null }];
}

async function* windowsFrom(from: FetchContext, uids: readonly number[]): AsyncGenerator<readonly FetchedMessage[]> {
  const large = createGate();
  const fetched = prefetch(fetchWindows(from, uids, large), () => from.narrowing.isCareful);
  for await (const { window, isAlone } of settleWindows(from, fetched, large)) {
    let isTaken = false;
    try {
      yield window;
      isTaken = true;
    } finally {
      // Who asks for the next one has written the files of this one.
      if (!isTaken) large.close();
      else if (isAlone) large.leave();
    }
  }
}

/** True for a mail that is a window of its own because of its size. */
function isLarge(window: readonly Place[], { messageBytesMax, batch: { bytesMax } }: FetchLimits): boolean {
  return window.some(({ sizeBytes }) => sizeBytes > bytesMax && sizeBytes <= messageBytesMax);
}

async function* fetchWindows(from: FetchContext, uids: readonly number[], large: Gate): AsyncGenerator<Fetching> {
  const { narrowing, session, limits } = from;
  const sizes = { areTrue: true };
  for (const piece of narrowing.pieces(uids, sizesAtOnce)) {
    if (from.stop.aborted) return;
    const unsized = piece.map((uid) => ({ uid, sizeBytes: 0, receivedAtMs: null }));
    narrowing.asks(unsized);
    await fetchOther(from, piece);
    narrowing.asks(unsized);
    const listed = await inTime(from, [], () => sizesOf(session, piece));
    if (listed === null) {
      narrowing.asks([]);
      throw new Failure('server_protocol_error', `The server found ${piece.length} mails and then knows none of them.`);
    }
    if (!(yield* fetchChunk(from, expect(piece, listed, limits.messageBytesMax), large, sizes))) return;
  }
}

/** Where a mail is to be given up: another one, to see that it is not the server. It is thrown away. */
async function fetchOther(from: FetchContext, piece: readonly number[]): Promise<void> {
  const { narrowing, session, limits } = from;
  const other = narrowing.otherFor(piece);
  if (other === null) return;
  narrowing.asksOther();
  const expected = expect([other], await inTime(from, [], () => session.sizes([other])), limits.messageBytesMax);
  if (expected.some(({ fate }) => fate !== 'whole')) return;
  await inTime(from, expected, async () => {
    for await (const { source } of session.fetch([other])) {
      if (source === null || source.length === 0) continue;
      release(source);
      narrowing.otherCame();
    }
  });
}

/** Ends with false when nothing more is wanted. */
async function* fetchChunk(
  from: FetchContext,
  chunk: readonly Expected[],
  large: Gate,
  sizes: { areTrue: boolean },
): AsyncGenerator<Fetching, boolean> {
  for (let rest = chunk; rest.length > 0; ) {
    const window: readonly Expected[] = sizes.areTrue ? firstOf(rest, from.limits.batch) : rest.slice(0, 1);
    const isAlone = !sizes.areTrue || isLarge(window, from.limits);
    if (isAlone && !(await large.enter())) return false;
    if (from.stop.aborted) return false;
    from.narrowing.asks(window);
    const { expected, digests, error } = await fetchWindow(from, window);
    if (expected.length < window.length) sizes.areTrue = false;
    if (expected.length > 0) yield { expected, digests, isAlone };
    if (error !== undefined) throw error;
    rest = rest.slice(expected.length);
  }
  return true;
}

/** All of the window, or its beginning when the server sent far more than it had said, or failed. */
async function fetchWindow(from: FetchContext, window: readonly Expected[]): Promise<Fetched> {
  const digests = new Map<number, Promise<ParseResult>>();
  try {
    const isCut = await inTime(from, wholeOf(window), () => fetchSources(from, window, digests));
    return { expected: isCut ? answeredFirst(window, digests) : window, digests };
  } catch (error) {
    const answered = answeredFirst(window, digests);
    // The header of one that is too large is still to be asked for.
    const end = answered.findIndex(({ fate }) => fate === 'too_large');
    return { expected: end < 0 ? answered : answered.slice(0, end), digests, error };
  }
}

function firstOf(rest: readonly Expected[], bounds: BatchBounds): readonly Expected[] {
  return batchesOf(rest, bounds)[0] ?? [];
}

/** Those up to the first whose answer has not come: they can be stored, since the cursor passes over nobody. */
function answeredFirst(window: readonly Expected[], digests: Digests): readonly Expected[] {
  const end = window.findIndex(({ uid, fate }) => fate === 'whole' && !digests.has(uid));
  return end < 0 ? window : window.slice(0, end);
}

/** What to expect of each UID, from its size; a UID without a size is gone. */
function expect(
  uids: readonly number[],
  listed: readonly ListedMessage[],
  messageBytesMax: number,
): readonly Expected[] {
  const byUid = new Map(listed.map((entry) => [entry.uid, entry]));
  return uids.map((uid) => {
    const entry = byUid.get(uid);
    if (entry === undefined) return { uid, sizeBytes: 0, receivedAtMs: null, fate: 'gone' };
    return { ...entry, fate: entry.sizeBytes > messageBytesMax ? 'too_large' : 'whole' };
  });
}

type Digesting = Map<number, Promise<ParseResult>>;

async function fetchSources(from: FetchContext, window: readonly Expected[], digests: Digesting): Promise<boolean> {
  try {
    return await digestSources(from, window, digests);
  } finally {
    from.digester.flush(from.lane);
  }
}

/**
 * Starts a digest for every source as it arrives. An answer without a body is asked for again, a few times. True: the
 * bytes are far more than was said, and what is left does not count: the connection skips it.
 */
async function digestSources(
  { session, digester, lane, limits }: FetchContext,
  window: readonly Expected[],
  digests: Digesting,
): Promise<boolean> {
  const whole = wholeOf(window);
  const bytesMax = sizeErrorMax * Math.max(limits.batch.bytesMax, bytesOf(whole));
  let bytes = 0;
  for (let attempt = 0; attempt < emptyAnswersMax; attempt += 1) {
    const missing = whole.map(({ uid }) => uid).filter((uid) => !digests.has(uid));
    const wanted = digests.size + missing.length;
    if (missing.length === 0) break;
    for await (const { uid, source } of session.fetch(missing)) {
      if (source === null || source.length === 0) continue;
      bytes += source.length;
      digests.set(uid, rejectionObservedLater(digester.parse(source, lane, true)));
      if (bytes > bytesMax && digests.size < wanted) return true;
    }
  }
  return false;
}

function wholeOf(window: readonly Expected[]): readonly Expected[] {
  return window.filter(({ fate }) => fate === 'whole');
}

async function* settleWindows(
  from: FetchContext,
  windows: AsyncGenerator<Fetching>,
  large: Gate,
): AsyncGenerator<Settled> {
  for await (const fetching of windows) {
    try {
      yield { window: await settleAll(from, fetching), isAlone: fetching.isAlone };
    } catch (error) {
      large.close();
      throw error;
    }
  }
}

async function settleAll(from: FetchContext, { expected, digests }: Fetching): Promise<readonly FetchedMessage[]> {
  const settled: FetchedMessage[] = [];
  for (const entry of expected) settled.push(await settle(from, entry, digests.get(entry.uid)));
  return settled;
}

async function settle(
  from: FetchContext,
  entry: Expected,
  digest: Promise<ParseResult> | undefined,
): Promise<FetchedMessage> {
  const { fate, ...place } = entry;
  if (fate === 'gone') return { ...place, what: 'vanished' };
  if (fate === 'too_large')
    return { ...place, what: 'quarantined', reason: 'too_large', ...(await headerOnly(from, place.uid)) };
  if (digest === undefined) {
    const still = await sizesOf(from.session, [place.uid]);
    return still?.length === 0
      ? { ...place, what: 'vanished' }
      : { ...place, what: 'quarantined', reason: 'source_empty', ...(await headerOnly(from, place.uid)) };
  }
  const digested = await digest;
  const raw = { compressed: digested.compressed, sha256: digested.sha256 };
  if (!digested.ok) return { ...place, what: 'quarantined', reason: digested.reason, raw };
  const { parsed, threadKeys, dedupKey } = digested;
  return { ...place, what: 'mail', parsed, threadKeys, dedupKey, raw };
}

/** The header block of a mail that is too large to download, or has no content, as its raw source. */
async function headerOnly(
  { session, digester }: FetchContext,
  uid: number,
): Promise<{ readonly raw: CompressedSource | null; readonly headMessageId?: string | undefined }> {
  const header = await session.fetchHeader(uid, headerBytesMax);
  if (header === null || header.length === 0) return { raw: null };
  const headMessageId = messageIdIn(header) ?? undefined;
  return { raw: await digester.compress(header), headMessageId };
}

/**
 * The time that a server has for what it is asked for, by what is to come: one that only drips would hold its place for
 * hours.
 */

/** A server slower than this is given up. */
const bytesPerSMin = 16 * 1024;

/** Ends the session when `fetching`, of these mails, takes longer than the slowest server that is put up with. */
async function inTime<T>(from: FetchContext, mails: readonly ListedMessage[], fetching: () => Promise<T>): Promise<T> {
  const { limits, narrowing, clock, session } = from;
  const done = new AbortController();
  const bytes = bytesOf(mails);
  const [first, ...more] = mails;
  const patience = first === undefined || more.length > 0 ? 1 : narrowing.patienceFor(first.uid);
  const limitMs = patience * (limits.batchTimeoutMs + (1000 * bytes) / bytesPerSMin);
  let isLate = false;
  const watch = clock.sleep(limitMs, done.signal).then(async () => {
    if (done.signal.aborted) return;
    isLate = true;
    await session.close();
  });
  try {
    return await fetching();
  } catch (error) {
    if (!isLate) throw error;
    narrowing.isLate();
    const message = `The server is too slow: a window of ${bytes} bytes did not come within ${Math.round(limitMs / 1000)} s.`;
    throw new Failure('server_timeout', message, { cause: error });
  } finally {
    done.abort();
    await watch;
  }
}

function bytesOf(mails: readonly ListedMessage[]): number {
  return mails.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/**
 * Sizes of mails, from a server that may leave some out of its answer.
 */

/** So many UIDs that a search found, and all of them gone a moment later, is no answer to act on. */
const goneAtOnceMax = 50;

/**
 * Sizes. What the server leaves out is asked for once more, and then searched for: a mail that is still found is not
 * gone, whatever else the server says of it; its size is unknown then. null: it knows none of many.
 */
async function sizesOf(session: Session, uids: readonly number[]): Promise<readonly ListedMessage[] | null> {
  const first = await session.sizes(uids);
  const second = await session.sizes(without(uids, first));
  const missing = without(uids, [...first, ...second]);
  if (missing.length === 0) return [...first, ...second];
  if (missing.length === uids.length && uids.length > goneAtOnceMax) return null;
  const found = new Set(await session.listAbove(Math.min(...missing) - 1));
  const third = missing.filter((uid) => found.has(uid)).map((uid) => ({ uid, sizeBytes: 0, receivedAtMs: null }));
  return [...first, ...second, ...third];
}

function without(uids: readonly number[], listed: readonly ListedMessage[]): readonly number[] {
  const found = new Set(listed.map(({ uid }) => uid));
  return uids.filter((uid) => !found.has(uid));
}
