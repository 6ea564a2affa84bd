/**
 * Fetch pipeline: brings the new messages of one round from the server's list to committed rows, in seven stages.
 *
 * 1. List (listing.ts): the UIDs above the cursor.
 * 2. Batch: sizes, 500 UIDs at a time, decide what is fetched; batches are bounded by count and by bytes.
 * 3. Fetch: the sources of one batch, within a time limit that grows with its bytes.
 * 4. Parse: each source goes to a worker thread as soon as it has arrived.
 * 5. Store files (store-files.ts): attachments and compressed sources are synced to disk before any row names them.
 * 6. Commit (commit.ts): one transaction for the rows of a batch and the cursor.
 * 7. Post-actions (post-actions.ts): committed messages are flagged, moved or deleted on the server. Those that earlier
 *    rounds left pending run before stage 1; last where they broke the session before.
 *
 * Neighbouring stages work on neighbouring batches: one batch is fetched while the batch before is parsed, files are
 * written while the batch before is committed, and post-actions run beside the next commit. Memory is bounded by these
 * few batches; of messages larger than a batch, one at a time is in memory. The server is changed only after a commit,
 * and the cursor moves only in that transaction, so that a round may end anywhere and the next one continues.
 *
 * A message that is too large, gone, empty or not parsable is a value. Failures of connection, disk, database and parse
 * threads are thrown, after everything ahead of them. poison-message.ts isolates one that keeps breaking the fetch.
 */

import { release } from '../../async/buffer-pool.ts';
import type { Clock } from '../../async/clock.ts';
import { createGate, type Gate, prefetch, rejectionObservedLater } from '../../async/prefetch.ts';
import { Failure, isFailure } from '../../errors.ts';
import { type EventName, events } from '../../events.ts';
import { messageIdIn } from '../../mail/fallback-message.ts';
import { countText } from '../../text/units.ts';
import { batchContextOf } from '../decide/batch-context.ts';
import { commitMessages } from '../decide/commit.ts';
import type { Decision } from '../decide/decide.ts';
import type { Outcome } from '../model.ts';
import type { CompressedSource, ListedMessage, MessageParser, ParseResult, PendingAction, Session } from '../ports.ts';
import { leaseLost } from '../stores.ts';
import { bytesOf, type FetchLimits, firstBatch } from './batches.ts';
import type { FetchedMessage, StoredMessage } from './fetched-message.ts';
import { listNew } from './listing.ts';
import {
  afterFetchFailure,
  breaksSession,
  controlFor,
  type Isolation,
  isFetchFailure,
  isOneByOne,
  messageToGiveUp,
  noAttempt,
  normal,
  requestsOf,
} from './poison-message.ts';
import { applyPostActions } from './post-actions.ts';
import type { RoundContext } from './round-context.ts';
import { storeFiles } from './store-files.ts';
import { withTransferDeadline } from './transfer-deadline.ts';

/** Runs the pipeline once. Returns a failure that keeps no new message out: of a post-action, else of a listing. */
export async function runPipeline(round: RoundContext): Promise<Failure | null> {
  const { isolation, options } = round;
  const before = isolation.runsPostActionsLast ? null : await runPostActions(round);
  const during = await ingestNewMessages(round);
  if (!isolation.hasGivenUp && !options.stop.aborted) isolation.leave(normal);
  const after = isolation.runsPostActionsLast && !isolation.hasGivenUp ? await runPostActions(round) : null;
  return before ?? during ?? after ?? round.session.listingFailure;
}

async function ingestNewMessages(round: RoundContext): Promise<Failure | null> {
  const { session, ports, isolation, mailbox, lost, observe } = round;
  const uids = await listNew(session, isolation);
  const total = uids.length;
  ports.log.debug({ mailbox: mailbox.name, poll: round.roundId, new_messages: total }, events.pollStarted);
  observe({ what: 'progress', done: 0, total });
  const waits = () => isOneByOne(isolation.state, isolation.attempt);
  // Stages 2 to 5, one batch ahead of the commit.
  const batches = prefetch(
    storeFiles(fetchMessages(fetchContextOf(round), uids), ports, ports.storageQuota.of(mailbox)),
    waits,
  );
  let done = 0;
  let refusal: Failure | null = null;
  let postActions: Promise<Failure | null> = Promise.resolve(null);
  try {
    for await (const batch of batches) {
      if (lost.aborted) throw leaseLost(mailbox.name);
      const pending = pendingOf(await commitAndReport(round, batch));
      const refused = await postActions;
      refusal ??= refused;
      // Beside the commit of the next batch: one waits for the mail server, the other for the database.
      if (!isolation.runsPostActionsLast) postActions = rejectionObservedLater(runPostActions(round, pending));
      if (waits()) await postActions;
      done += batch.length;
      observe({ what: 'progress', done, total });
    }
  } finally {
    await Promise.allSettled([postActions]);
  }
  const refused = await postActions;
  return refusal ?? refused;
}

/** Stages 2 to 4 need this much of a round. `lane` names the mailbox to the parse threads. */
export type FetchContext = {
  readonly session: Session;
  readonly parser: MessageParser;
  readonly clock: Clock;
  readonly lane: string;
  readonly limits: FetchLimits;
  readonly isolation: Isolation;
  readonly stop: AbortSignal;
};

function fetchContextOf({ session, ports, mailbox, settings, isolation, options }: RoundContext): FetchContext {
  const { parser, clock } = ports;
  return { session, parser, clock, lane: mailbox.id, limits: settings().limits, isolation, stop: options.stop };
}

/** Stages 2 to 4: batches, one message for each of `uids`, in order. Ends early on `stop` and after one given up. */
export async function* fetchMessages(
  context: FetchContext,
  uids: readonly number[],
): AsyncGenerator<readonly FetchedMessage[]> {
  const { isolation, parser } = context;
  // The parse threads start while sizes and the first sources are on their way.
  if (uids.length > 0) parser.prepare();
  // Passed by one batch of a large message at a time.
  const gate = createGate();
  const chunks = sizeChunks(context, uids);
  try {
    const waits = () => isOneByOne(isolation.state, isolation.attempt);
    for await (const batch of prefetch(fetchBatches(context, chunks, gate), waits)) {
      let isConsumed = false;
      try {
        yield await parseBatch(context, batch);
        isConsumed = true;
      } finally {
        // The consumer asks for the next batch once the files of this one are on disk.
        if (!isConsumed) gate.close();
        else if (batch.isLarge) gate.leave();
      }
    }
  } catch (error) {
    const givenUp = isolateFailure(isolation, error);
    if (givenUp === null) throw error;
    const { uid, sizeBytes, receivedAtMs } = givenUp;
    yield [{ uid, sizeBytes, receivedAtMs, what: 'quarantined', reason: 'fetch_failed', raw: null }];
  }
}

/** Applies a failed fetch to the isolation state. The message to give up; null: none, and the round fails. */
function isolateFailure(isolation: Isolation, error: unknown): ListedMessage | null {
  const { state, attempt, cursor } = isolation;
  if (attempt.requested.length === 0 || !isFetchFailure(error)) return null;
  const givenUp = messageToGiveUp(state, attempt);
  // A server that is busy is not asked again at once.
  isolation.changesCourse = !isFailure(error, 'server_busy');
  isolation.hasGivenUp = givenUp !== null;
  isolation.leave(afterFetchFailure(state, attempt, cursor.folderEpoch));
  return givenUp;
}

// Stage 1, list, is in listing.ts.

// Stage 2: batch

/** A listed message and how it is handled: fetched `whole`, by its header alone, or not at all. */
type SizedMessage = ListedMessage & { readonly disposition: 'whole' | 'too_large' | 'gone' };

const sizesAtOnce = 500;
/** So many UIDs that were listed and are all unknown a moment later are an answer to reject. */
const vanishedAtOnceMax = 50;

/** `uids` with their sizes, chunk after chunk. */
async function* sizeChunks(context: FetchContext, uids: readonly number[]): AsyncGenerator<readonly SizedMessage[]> {
  const { session, isolation, limits, stop } = context;
  for (const request of requestsOf(isolation.state, uids, sizesAtOnce)) {
    if (stop.aborted) return;
    const requested = request.map((uid) => ({ uid, sizeBytes: 0, receivedAtMs: null }));
    isolation.attempt = { ...noAttempt, requested };
    await fetchControl(context, request);
    const listed = await withTransferDeadline(context, [], () => sizesOf(session, request));
    if (listed === null) {
      isolation.attempt = noAttempt;
      const message = `The server listed ${countText(request.length, 'message')} and then knows none of them.`;
      throw new Failure('server_protocol_error', message);
    }
    yield sized(request, listed, limits.messageBytesMax);
  }
}

/**
 * Sizes. UIDs that the server omits are requested once more, then searched for: a message that is still listed is not
 * gone, and its size is unknown (0). null: none of many is known.
 */
async function sizesOf(session: Session, uids: readonly number[]): Promise<readonly ListedMessage[] | null> {
  const first = await session.sizes(uids);
  const second = await session.sizes(without(uids, first));
  const missing = without(uids, [...first, ...second]);
  if (missing.length === 0) return [...first, ...second];
  if (missing.length === uids.length && uids.length > vanishedAtOnceMax) return null;
  const listed = new Set(await session.listAbove(Math.min(...missing) - 1));
  const third = missing.filter((uid) => listed.has(uid)).map((uid) => ({ uid, sizeBytes: 0, receivedAtMs: null }));
  return [...first, ...second, ...third];
}

function without(uids: readonly number[], listed: readonly ListedMessage[]): readonly number[] {
  const found = new Set(listed.map(({ uid }) => uid));
  return uids.filter((uid) => !found.has(uid));
}

function sized(
  uids: readonly number[],
  listed: readonly ListedMessage[],
  messageBytesMax: number,
): readonly SizedMessage[] {
  const byUid = new Map(listed.map((message) => [message.uid, message]));
  return uids.map((uid) => {
    const message = byUid.get(uid);
    if (message === undefined) return { uid, sizeBytes: 0, receivedAtMs: null, disposition: 'gone' };
    return { ...message, disposition: message.sizeBytes > messageBytesMax ? 'too_large' : 'whole' };
  });
}

/** Fetches the control message of a confirmation, where there is one, and discards it. */
async function fetchControl(context: FetchContext, request: readonly number[]): Promise<void> {
  const { isolation, session, limits } = context;
  const uid = controlFor(isolation.state, request, isolation.present);
  if (uid === null) return;
  isolation.attempt = { ...isolation.attempt, control: 'pending' };
  const listed = await withTransferDeadline(context, [], () => session.sizes([uid]));
  const messages = sized([uid], listed, limits.messageBytesMax).filter(({ disposition }) => disposition === 'whole');
  let isDelivered = false;
  const discard = async (): Promise<void> => {
    for await (const { source } of session.fetch([uid])) {
      if (source === null || source.length === 0) continue;
      release(source);
      isDelivered = true;
    }
  };
  if (messages.length > 0) await withTransferDeadline(context, messages, discard);
  isolation.attempt = { ...isolation.attempt, control: isDelivered ? 'delivered' : 'absent' };
}

/** True for a message that is a batch of its own because of its size. */
function isLarge(batch: readonly SizedMessage[], { messageBytesMax, batch: { bytesMax } }: FetchLimits): boolean {
  return batch.some(({ sizeBytes }) => sizeBytes > bytesMax && sizeBytes <= messageBytesMax);
}

// Stage 3: fetch

type ParseResults = Map<number, Promise<ParseResult>>;
/** The messages of a batch that were answered, up to the first one that was not; `error` ended the answer there. */
type FetchedBatch = {
  readonly messages: readonly SizedMessage[];
  readonly results: ParseResults;
  readonly error?: unknown;
};

const emptyAnswersMax = 3;
/** Servers count line ends and encodings in their own way, but are not that far off. */
const sizeErrorMax = 1.5;

/**
 * Fetches batch after batch. Once a server has sent far more than the sizes that it announced, sizes are not relied on:
 * each message is a batch of its own from then on, and passes the gate as a large one does.
 */
async function* fetchBatches(
  context: FetchContext,
  chunks: AsyncGenerator<readonly SizedMessage[]>,
  gate: Gate,
): AsyncGenerator<FetchedBatch & { readonly isLarge: boolean }> {
  const { limits, isolation, stop } = context;
  let areSizesTrue = true;
  for await (const chunk of chunks) {
    for (let left = chunk; left.length > 0; ) {
      const batch: readonly SizedMessage[] = areSizesTrue ? firstBatch(left, limits.batch) : left.slice(0, 1);
      const passesGate = !areSizesTrue || isLarge(batch, limits);
      if (!(await mayFetch(passesGate, gate, stop))) return;
      isolation.attempt = { ...isolation.attempt, requested: batch };
      const fetched = await fetchBatch(context, batch);
      const { length } = fetched.messages;
      areSizesTrue = areSizesTrue && length === batch.length;
      if (length > 0) yield { ...fetched, isLarge: passesGate };
      if (fetched.error !== undefined) throw fetched.error;
      left = left.slice(length);
    }
  }
}

async function mayFetch(passesGate: boolean, gate: Gate, stop: AbortSignal): Promise<boolean> {
  return (!passesGate || (await gate.enter())) && !stop.aborted;
}

/** The whole batch, or its beginning where the server sent far more than it had announced, or failed. */
async function fetchBatch(context: FetchContext, batch: readonly SizedMessage[]): Promise<FetchedBatch> {
  const results: ParseResults = new Map();
  try {
    const isCut = await withTransferDeadline(context, wholeOf(batch), () => fetchSources(context, batch, results));
    return { messages: isCut ? answeredFirst(batch, results) : batch, results };
  } catch (error) {
    const answered = answeredFirst(batch, results);
    // The header of a message that is too large is fetched later, on the connection that failed.
    const end = answered.findIndex(({ disposition }) => disposition === 'too_large');
    return { messages: end < 0 ? answered : answered.slice(0, end), results, error };
  } finally {
    context.parser.flush(context.lane);
  }
}

/**
 * Requests the sources and passes each to a parse thread as it arrives. An answer without content is requested again,
 * a few times. True: far more bytes arrived than were announced, and the rest of the answer is skipped.
 */
async function fetchSources(
  { session, parser, lane, limits }: FetchContext,
  batch: readonly SizedMessage[],
  results: ParseResults,
): Promise<boolean> {
  const whole = wholeOf(batch);
  const bytesMax = sizeErrorMax * Math.max(limits.batch.bytesMax, bytesOf(whole));
  let bytes = 0;
  for (let attempt = 0; attempt < emptyAnswersMax; attempt += 1) {
    const missing = whole.map(({ uid }) => uid).filter((uid) => !results.has(uid));
    const wanted = results.size + missing.length;
    if (missing.length === 0) break;
    for await (const { uid, source } of session.fetch(missing)) {
      if (source === null || source.length === 0) continue;
      bytes += source.length;
      results.set(uid, rejectionObservedLater(parser.parse(source, lane, true)));
      if (bytes > bytesMax && results.size < wanted) return true;
    }
  }
  return false;
}

/** Messages up to the first without an answer: these can be committed, since the cursor passes over no message. */
function answeredFirst(batch: readonly SizedMessage[], results: ParseResults): readonly SizedMessage[] {
  const end = batch.findIndex(({ uid, disposition }) => disposition === 'whole' && !results.has(uid));
  return end < 0 ? batch : batch.slice(0, end);
}

function wholeOf(batch: readonly SizedMessage[]): readonly SizedMessage[] {
  return batch.filter(({ disposition }) => disposition === 'whole');
}

// Stage 4: parse

const headerBytesMax = 256 * 1024;

async function parseBatch(context: FetchContext, { messages, results }: FetchedBatch): Promise<FetchedMessage[]> {
  const parsed: FetchedMessage[] = [];
  for (const message of messages) parsed.push(await parsedMessage(context, message, results.get(message.uid)));
  return parsed;
}

async function parsedMessage(
  context: FetchContext,
  { disposition, ...listed }: SizedMessage,
  result: Promise<ParseResult> | undefined,
): Promise<FetchedMessage> {
  const vanished = { ...listed, what: 'vanished' } as const;
  if (disposition === 'gone') return vanished;
  const quarantined = { ...listed, what: 'quarantined' } as const;
  if (disposition === 'too_large')
    return { ...quarantined, reason: 'too_large', ...(await headerOnly(context, listed.uid)) };
  if (result === undefined) {
    const isGone = (await sizesOf(context.session, [listed.uid]))?.length === 0;
    return isGone ? vanished : { ...quarantined, reason: 'source_empty', ...(await headerOnly(context, listed.uid)) };
  }
  const done = await result;
  const raw = { compressed: done.compressed, sha256: done.sha256 };
  if (!done.ok) return { ...quarantined, reason: done.reason, raw };
  const { parsed, threadKeys, dedupKey } = done;
  return { ...listed, what: 'parsed', parsed, threadKeys, dedupKey, raw };
}

/** The header of a message that is too large to fetch or has no content, as its raw source. */
async function headerOnly(
  { session, parser }: FetchContext,
  uid: number,
): Promise<{ readonly raw: CompressedSource | null; readonly headMessageId?: string | undefined }> {
  const header = await session.fetchHeader(uid, headerBytesMax);
  if (header === null || header.length === 0) return { raw: null };
  const headMessageId = messageIdIn(header) ?? undefined;
  return { raw: await parser.compress(header), headMessageId };
}

// Stage 5, store files, is in store-files.ts. Stage 6: commit
async function commitAndReport(round: RoundContext, batch: readonly StoredMessage[]): Promise<readonly Decision[]> {
  const { mailbox, lease, ports, settings, folderEpoch } = round;
  const batchContext = batchContextOf(mailbox, ports, settings().rules);
  const onCommitted = (decisions: readonly Decision[], replacedUids: readonly number[]) => {
    const fields = { mailbox: mailbox.name, poll: round.roundId, uid: replacedUids[0], count: replacedUids.length };
    if (fields.count > 0) ports.log.warn(fields, events.outcomeReplaced);
    for (const decision of decisions) reportCommitted(round, decision);
  };
  const sealOutcome = (outcome: PendingAction) => ports.postActionGuard.sealOutcome(mailbox, outcome);
  return await commitMessages(batch, { lease, folderEpoch, batchContext, sealOutcome, onCommitted }, ports.store);
}

const eventOf: Readonly<Record<Outcome, EventName>> = {
  ticket_opened: events.messageTicketOpened,
  reply_added: events.messageReplyAdded,
  recorded: events.messageRecorded,
  duplicate: events.messageDuplicate,
  quarantined: events.messageQuarantined,
  vanished: events.messageVanished,
};

/** Counts and logs what is committed. */
function reportCommitted(round: RoundContext, { outcome, ref, changes }: Decision): void {
  const { mailbox, session, ports, outcomes, roundId } = round;
  outcomes[outcome.outcome] += 1;
  ports.meter.outcome(mailbox.name, outcome.outcome);
  const fields = {
    mailbox: mailbox.name,
    poll: roundId,
    uid_validity: session.folder.uidValidity,
    uid: outcome.uid,
    size_bytes: outcome.sizeBytes,
    ...(outcome.messageId === null ? {} : { message: outcome.messageId }),
    ...(ref === null ? {} : { ticket: ref }),
    ...(outcome.reason === null ? {} : { reason: outcome.reason }),
  };
  if (outcome.outcome === 'quarantined') ports.log.warn(fields, eventOf.quarantined);
  else ports.log.info(fields, eventOf[outcome.outcome]);
  for (const change of changes) {
    const about = { mailbox: mailbox.name, poll: roundId, message: outcome.messageId, ticket: change.ref };
    if (change.what === 'reopened') ports.log.info(about, events.ticketReopened);
    else ports.log.info({ ...about, into: change.into }, events.ticketMerged);
  }
}

// Stage 7: post-actions

function pendingOf(decisions: readonly Decision[]): readonly number[] {
  return decisions.flatMap(({ outcome: { uid, actionPending } }) => (actionPending ? [uid] : []));
}

/** Runs the post-actions of `uids`, or all pending ones. The next round runs last what broke the session. */
async function runPostActions(round: RoundContext, uids?: readonly number[]): Promise<Failure | null> {
  const { isolation } = round;
  try {
    return await applyPostActions(round, uids);
  } catch (error) {
    if (breaksSession(error)) {
      isolation.deferPostActions();
      isolation.changesCourse ||= !isolation.runsPostActionsLast;
    }
    throw error;
  }
}
