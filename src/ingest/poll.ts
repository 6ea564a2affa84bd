/**
 * One visit to one mailbox: the way of a message, from the lease to the action on the server.
 *
 * lease -> session -> round, and where the connection may stay: rest -> round -> rest … A round is: cursor -> actions left
 * over from a crash -> windows of arrivals -> commit -> actions. The cursor moves only in the transaction that stores the
 * outcomes, and the server is touched only after it, so that this may end anywhere: the next visit goes on from what the
 * database says. `stop` lets the window under way finish; a lost lease, or a stop during the login, ends at once. Throws
 * the failure of the visit after it is written down.
 */
import { asFailure, Failure, isFailure } from '../errors.ts';
import { type EventName, events } from '../events.ts';
import { arrivals } from './arrivals.ts';
import { type CommitPlace, commitWindow } from './commit.ts';
import { startCursor } from './cursor.ts';
import type { Decision } from './decide.ts';
import { keepFiles } from './keep.ts';
import type { Mailbox } from './mailbox.ts';
import { makerOf } from './maker.ts';
import { failedResult, intervalOf } from './next-poll.ts';
import type { PollContext, PollPorts, PollReport, PollSettings } from './poll-ports.ts';
import type { Lease } from './ports.ts';
import { readAhead, watched } from './read-ahead.ts';
import { renumberingsMax, unstableMs } from './renumberings.ts';
import { rest } from './rest.ts';
import type { Outcome, PollResult } from './rows.ts';
import { inTurns } from './turns.ts';
import { hadMail, leaseLost, type Visit } from './visit.ts';
import { chunksOf } from './window.ts';

type Round = Visit & {
  readonly poll: string;
  readonly counts: Record<Outcome, number>;
  /** Of its session. */
  readonly isFirst: boolean;
};

const actionsAtOnce = 500;

/**
 * Visits `mailbox`. `settings` is asked anew in every round, since a visit may stay for days. Throws `lease_taken` when another
 * worker is there, else the failure of the visit.
 */
export async function pollMailbox(
  mailbox: Mailbox,
  ports: PollPorts,
  settings: () => PollSettings,
  context: PollContext,
): Promise<void> {
  const lease = await takeLease(mailbox, ports, settings(), context.due?.epoch);
  const poll = begin(ports, context);
  let nextPollAfterMs: number;
  try {
    nextPollAfterMs = await visit({ mailbox, lease, ports, settings, context }, poll);
  } catch (error) {
    const failure = asFailure(error);
    await letGo(lease, failedResult(failure, mailbox, settings(), context.due, ports.random()), ports);
    throw failure;
  }
  await ports.store.releaseLease(lease, { ok: true, nextPollAfterMs: context.stop.aborted ? 0 : nextPollAfterMs });
}

function noOutcomes(): Record<Outcome, number> {
  return { ticket_opened: 0, reply_added: 0, recorded: 0, duplicate: 0, quarantined: 0, vanished: 0 };
}

/**
 * Takes over at once from a process of this machine that is known to be dead, else only when the lease has run out. Not when
 * somebody has visited the mailbox since it was found due: what that visit found (a refused password, a server that asks for
 * rest) is not known here.
 */
async function takeLease(
  mailbox: Mailbox,
  ports: PollPorts,
  settings: PollSettings,
  seenEpoch?: number,
): Promise<Lease> {
  const take = (dead: string | null) =>
    ports.store.takeLease(mailbox.id, ports.workers.me, settings.leaseMs, dead, seenEpoch);
  const lease = (await take(null)) ?? (await takeFromDead(mailbox, ports, take));
  if (lease === null) throw new Failure('lease_taken', `mailbox ${mailbox.name} is visited by another worker`);
  return lease;
}

/** Asked only where somebody has it: most leases are free. */
async function takeFromDead(
  mailbox: Mailbox,
  { store, workers }: PollPorts,
  take: (dead: string) => Promise<Lease | null>,
): Promise<Lease | null> {
  const owner = await store.leaseOwner(mailbox.id);
  return owner !== null && workers.isDead(owner) ? await take(owner) : null;
}

/** The failure of the visit is what matters; that it could not be written down as well is no news. */
async function letGo(lease: Lease, result: PollResult, ports: PollPorts): Promise<void> {
  try {
    await ports.store.releaseLease(lease, result);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

/** Names a round for the log. */
function begin(ports: PollPorts, context: PollContext): string {
  const poll = ports.newId();
  context.onBegun?.(poll);
  return poll;
}

/** Resolves with the time until the mailbox is due again. `poll` names the first round. */
async function visit(given: Omit<Visit, 'session' | 'lost'>, poll: string): Promise<number> {
  const { mailbox, lease, ports, settings, context } = given;
  const connecting = new AbortController();
  using kept = ports.leases.keep(lease);
  const endConnecting = () => connecting.abort();
  kept.lost.addEventListener('abort', endConnecting, { once: true });
  context.stop.addEventListener('abort', endConnecting, { once: true });
  if (context.stop.aborted) connecting.abort();
  await using session = await ports.passwords.lend(mailbox, (password) =>
    ports.sessions.open(mailbox.connection, password, connecting.signal),
  );
  context.stop.removeEventListener('abort', endConnecting);
  context.onOpened?.(session);
  const open = { ...given, session: inTurns(session), lost: kept.lost };
  const report = await round(open, poll, true);
  const isOver = context.stop.aborted || !session.canWatch;
  using place = isOver ? null : (context.stay?.(hadMail(report)) ?? null);
  return place === null
    ? Math.max(intervalOf(mailbox, settings()), isUnstable(context) ? unstableMs : 0)
    : await rest(open, place, () => round(open, begin(ports, context), false));
}

/** Its folder is numbered anew again and again: each time all its mail is fetched to be recognised. */
function isUnstable({ renumberings }: PollContext): boolean {
  return (renumberings?.count() ?? 0) > renumberingsMax;
}

async function round(open: Visit, poll: string, isFirst: boolean): Promise<PollReport> {
  const { mailbox, ports, context } = open;
  const startedAtMs = ports.clock.monotonicMs();
  const current = { ...open, poll, isFirst, counts: noOutcomes() };
  await work(current);
  const durationMs = ports.clock.monotonicMs() - startedAtMs;
  const report = { poll: current.poll, mailbox: mailbox.name, outcomes: current.counts, durationMs };
  context.onRound?.(report);
  return report;
}

/** Everything that is new, once. A refused action does not keep new mail out; it is thrown at the end. */
async function work(round: Round): Promise<void> {
  const { session, ports, context, settings, mailbox } = round;
  const cursor = await startCursor(round, session, ports);
  const { uidValidity: numbering } = cursor;
  let refusal = await driveActions(round, numbering, await leftOver(round, numbering));
  let driving: Promise<Failure | null> = Promise.resolve(null);
  const uids = await session.listAbove(cursor.uid);
  ports.log.debug({ mailbox: mailbox.name, poll: round.poll, new_mails: uids.length }, events.pollStarted);
  let done = 0;
  context.onProgress?.({ done, total: uids.length });
  const { digester, clock } = ports;
  const from = { session, digester, clock, lane: mailbox.id, limits: settings().limits, stop: context.stop };
  try {
    for await (const window of readAhead(keepFiles(arrivals(from, uids), ports))) {
      if (round.lost.aborted) throw leaseLost(mailbox);
      const decisions = await commitWindow(window, placeOf(round, numbering), ports.store);
      record(round, decisions);
      const refused = await driving;
      refusal ??= refused;
      // Beside the commit of the next window: both wait for others most of the time.
      driving = watched(driveActions(round, numbering, pendingOf(decisions)));
      done += window.length;
      context.onProgress?.({ done, total: uids.length });
    }
  } finally {
    await Promise.allSettled([driving]);
  }
  const refused = await driving;
  refusal ??= refused;
  if (refusal !== null) throw refusal;
}

function placeOf({ mailbox, lease, ports, settings }: Round, numbering: number): CommitPlace {
  return { lease, uidValidity: numbering, maker: makerOf(mailbox, ports, settings().desk) };
}

/**
 * Does on the server what is still to be done for stored mails. Repeating it does no harm. A refusal by the server is
 * returned; a broken connection is thrown.
 */
async function driveActions(round: Round, numbering: number, pending: readonly number[]): Promise<Failure | null> {
  const { mailbox, session, ports, lease, poll } = round;
  try {
    for (const uids of chunksOf(pending, actionsAtOnce)) {
      await session.apply(mailbox.after, uids);
      await ports.store.actionsDone(lease, numbering, uids);
    }
    return null;
  } catch (error) {
    if (!isFailure(error, 'server_refused', 'folder_missing')) throw error;
    round.context.onRefused?.({ poll, action: mailbox.after.kind, count: pending.length, failure: error });
    return error;
  }
}

/** Of an earlier crash, of actions that were refused, and of mails that came out of quarantine. */
function leftOver({ mailbox, ports }: Round, numbering: number): Promise<readonly number[]> {
  return ports.store.pendingActions(mailbox.id, numbering, 100_000);
}

function pendingOf(decisions: readonly Decision[]): readonly number[] {
  return decisions.flatMap(({ outcome: { uid, actionPending } }) => (actionPending ? [uid] : []));
}

const eventOf: Record<Outcome, EventName> = {
  ticket_opened: events.messageTicketOpened,
  reply_added: events.messageReplyAdded,
  recorded: events.messageRecorded,
  duplicate: events.messageDuplicate,
  quarantined: events.messageQuarantined,
  vanished: events.messageVanished,
};

/** Counts and logs what is committed. */
function record(round: Round, decisions: readonly Decision[]): void {
  const { mailbox, session, ports, counts, poll } = round;
  for (const { outcome, ref, changes } of decisions) {
    counts[outcome.outcome] += 1;
    ports.meter.outcome(mailbox.name, outcome.outcome);
    const fields = {
      mailbox: mailbox.name,
      poll,
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
      const about = { mailbox: mailbox.name, poll, message: outcome.messageId, ticket: change.ref };
      if (change.what === 'reopened') ports.log.info(about, events.ticketReopened);
      else ports.log.info({ ...about, into: change.into }, events.ticketMerged);
    }
  }
}
