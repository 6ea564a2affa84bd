/**
 * One poll of one mailbox: lease, session, a round, and further rounds while the connection idles.
 *
 * A round is: cursor, then the fetch pipeline with its commits and post-actions. The cursor moves only in the
 * transaction that stores the outcomes, and the server is changed only after it, so that a poll may end anywhere: the
 * next one continues from what the database says, or proceeds in another way where this one broke at a message or a
 * post-action (poison-message.ts). `stop` lets the batch in progress finish; a lost lease, preemption, or a stop during
 * the login, ends at once.
 */
import { asFailure, Failure, isFailure } from '../../errors.ts';
import { runPipeline } from '../fetch/pipeline.ts';
import type { Mailbox, PollResult } from '../model.ts';
import { noOutcomes } from '../model.ts';
import { waitAfterPollMs } from '../polling-policy.ts';
import { type Lease, leaseLost } from '../stores.ts';
import { failedResult } from './backoff.ts';
import { startCursor } from './cursor.ts';
import { idle } from './idle-loop.ts';
import {
  hadMessages,
  type OpenPoll,
  type PollObserver,
  type PollOptions,
  type PollPorts,
  type PollSettings,
  type PollSummary,
  type RoundReport,
} from './poll-context.ts';
import { serialized } from './serialized-session.ts';
import { isUnstable } from './uidvalidity-changes.ts';

/** What is filled in as the poll proceeds: its summary is known also where it fails. */
type PollRecord = { -readonly [K in Exclude<keyof PollSummary, 'failure' | 'durationMs'>]: PollSummary[K] };

type StartedPoll = Omit<OpenPoll, 'session' | 'lost' | 'folderVerification'> & { readonly record: PollRecord };

/**
 * Polls `mailbox`. Never rejects: every failure, `lease_taken` among them, is in the summary. `settings` is read in
 * every round, since a connection may idle for days.
 */
export async function pollMailbox(
  mailbox: Mailbox,
  ports: PollPorts,
  settings: () => PollSettings,
  options: PollOptions,
  observe: PollObserver = () => undefined,
): Promise<PollSummary> {
  const { clock } = ports;
  const startedAtMs = clock.monotonicMs();
  const nothing = { roundId: null, wasConnected: false, lastRound: null, changesCourse: false, dueAfterMs: null };
  const record: PollRecord = nothing;
  let failure: Failure | null = null;
  try {
    const lease = await acquireLease(mailbox, ports, settings(), options);
    await pollWithLease({ mailbox, lease, ports, settings, options, observe, record });
  } catch (error) {
    failure = asFailure(error);
  }
  return { ...record, failure, durationMs: clock.monotonicMs() - startedAtMs };
}

/**
 * Takes over at once from a process of this machine that is known to be dead, otherwise only an expired lease. Not when
 * the mailbox was polled since it was found due: what that poll found (a refused password, a server that asks to wait)
 * is not known here.
 */
async function acquireLease(
  mailbox: Mailbox,
  { store, worker }: PollPorts,
  { leaseMs }: PollSettings,
  { due }: PollOptions,
): Promise<Lease> {
  const acquire = (deadOwner: string | null) =>
    store.acquireLease(mailbox.id, worker.name, leaseMs, deadOwner, due?.epoch);
  const lease = await acquire(null);
  if (lease !== null) return lease;
  const owner = await store.leaseOwner(mailbox.id);
  const takenOver = owner !== null && worker.isDead(owner) ? await acquire(owner) : null;
  if (takenOver === null) throw new Failure('lease_taken', `another worker is polling mailbox ${mailbox.name}`);
  return takenOver;
}

/** Polls, and releases the lease with the result. Throws the failure of the poll. */
async function pollWithLease(poll: StartedPoll): Promise<void> {
  const { mailbox, lease, ports, settings, options } = poll;
  const { due, stop } = options;
  let nextPollAfterMs: number;
  try {
    nextPollAfterMs = await untilCutOff(poll, () => pollWithSession(poll));
  } catch (error) {
    const failure = asFailure(error);
    // A stop says nothing about the mailbox.
    const isCutOff = failure.code === 'interrupted' && stop.aborted;
    await releaseFailed(poll, isCutOff ? null : failedResult(failure, mailbox, settings(), due, ports.random()));
    throw failure.code === 'lease_lost' ? await explainLeaseLost(poll, failure) : failure;
  }
  await ports.store.releaseLease(
    lease,
    { ok: true, nextPollAfterMs: stop.aborted ? 0 : nextPollAfterMs },
    due?.version,
  );
  if (!stop.aborted) poll.record.dueAfterMs = nextPollAfterMs;
}

/** With the name of the mailbox in place of its id. Without an answer of the database, another worker is the cause. */
async function explainLeaseLost({ mailbox, lease, ports }: StartedPoll, cause: Failure): Promise<Failure> {
  const isRevoked = await ports.store.isLeaseRevoked(lease).catch(() => false);
  if (!isRevoked) return leaseLost(mailbox.name);
  const message = `the poll of mailbox ${mailbox.name} ended, since another folder of its account was added`;
  return new Failure('lease_revoked', message, { cause });
}

/**
 * The end of an access token is no failure: what is not committed is fetched in the next session. Neither is
 * preemption, where anything was committed.
 */
async function untilCutOff(
  { mailbox, settings, record, options: { preemption } }: StartedPoll,
  work: () => Promise<number>,
): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (isFailure(error, 'interrupted') && preemption?.signal.aborted === true) {
      if (!preemption.hasCommitted) throw noProgress(error);
      return waitAfterPollMs('preempted', mailbox, settings());
    }
    if (!isFailure(error, 'session_expired') || !record.wasConnected) throw error;
    return waitAfterPollMs('token_ended', mailbox, settings());
  }
}

function noProgress(cause: Failure): Failure {
  const message = 'The server is too slow: no message was fetched so far, and other mailboxes waited.';
  return new Failure('server_timeout', message, { cause });
}

/** A database failure here is not reported: the failure of the poll is. */
async function releaseFailed({ lease, ports, options }: StartedPoll, result: PollResult | null): Promise<void> {
  try {
    await ports.store.releaseLease(lease, result, options.due?.version);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

/** Resolves with the time until the mailbox is due again. */
async function pollWithSession(poll: StartedPoll): Promise<number> {
  const { mailbox, lease, ports, settings, options, record } = poll;
  record.roundId = ports.newId();
  using renewed = ports.leases.autoRenew(lease);
  await using session = await login(poll, renewed.lost);
  record.wasConnected = true;
  poll.observe({ what: 'connected', certificateEndsAtMs: session.certificateEndsAtMs });
  const open = {
    ...poll,
    session: serialized(session, options.preemption?.signal),
    lost: renewed.lost,
    folderVerification: { isVerified: false },
  };
  const { report, hasGivenUp } = await runRounds(open, record.roundId, true);
  if (hasGivenUp) return waitAfterPollMs('message_given_up', mailbox, settings());
  const request = { hadMessages: hadMessages(report), isOffered: session.supportsIdle };
  using slot = options.stop.aborted || isUnstable(poll) ? null : (options.requestIdleSlot?.(request) ?? null);
  using _verified = slot === null ? undefined : options.watch?.idles(() => session.verify());
  if (slot !== null) return await idle(open, slot, async () => (await runRounds(open, ports.newId(), false)).report);
  return waitAfterPollMs(isUnstable(poll) ? 'folder_unstable' : 'finished', mailbox, settings());
}

/**
 * A stop ends the login, but not the session that it leads to; a lost lease and preemption end both. `stop` outlives
 * the poll.
 */
async function login({ mailbox, ports, options: { stop, preemption, watch } }: StartedPoll, lost: AbortSignal) {
  const ending = new AbortController();
  const end = () => ending.abort();
  lost.addEventListener('abort', end, { once: true });
  preemption?.signal.addEventListener('abort', end, { once: true });
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  try {
    return await ports.credentials.withCredential(mailbox, (credential, connection) =>
      ports.sessions.open(connection, credential, ending.signal, watch === undefined ? {} : { watch }),
    );
  } finally {
    stop.removeEventListener('abort', end);
  }
}

type RoundEnd = {
  readonly report: RoundReport;
  readonly hasGivenUp: boolean;
  /** The folder has more messages than this round listed. */
  readonly hasMore: boolean;
};

/** Rounds until the folder has no more messages, as one listing names 250,000 at most. The first one's `RoundEnd`. */
async function runRounds(open: OpenPoll & StartedPoll, roundId: string, isFirst: boolean): Promise<RoundEnd> {
  const first = await runRound(open, roundId, isFirst);
  for (let last = first; last.hasMore && hadMessages(last.report); ) {
    if (last.hasGivenUp || open.options.stop.aborted || open.lost.aborted) return last;
    last = await runRound(open, open.ports.newId(), false);
  }
  return first;
}

/** A refused post-action is thrown at the end, when everything new is committed. */
async function runRound(open: OpenPoll & StartedPoll, roundId: string, isFirst: boolean): Promise<RoundEnd> {
  const { mailbox, ports, record } = open;
  const { clock } = ports;
  const startedAtMs = clock.monotonicMs();
  const outcomes = noOutcomes();
  record.roundId = roundId;
  const cursor = await startCursor({ ...open, roundId, isFirst }, open.session, ports);
  const isolation = ports.isolations.begin(mailbox.id, cursor);
  try {
    const refusal = await runPipeline({ ...open, roundId, folderEpoch: cursor.folderEpoch, isolation, outcomes });
    if (refusal !== null) throw refusal;
  } finally {
    const durationMs = clock.monotonicMs() - startedAtMs;
    record.lastRound = { roundId, mailbox: mailbox.name, outcomes, durationMs };
    record.changesCourse = isolation.changesCourse;
  }
  open.observe({ what: 'round_finished', report: record.lastRound });
  return { report: record.lastRound, hasGivenUp: isolation.hasGivenUp, hasMore: isolation.hasMore };
}
