/**
 * One visit to one mailbox: the way of a message, from the lease to the action on the server.
 *
 * lease -> session -> round, and where the connection may stay: rest -> round -> rest … A round is: cursor -> actions
 * left over from a crash -> windows of arrivals -> commit -> actions. The cursor moves only in the transaction that
 * stores the outcomes, and the server is touched only after it, so that this may end anywhere: the next visit goes on
 * from what the database says, and goes another way where this one broke at a mail or at an action (narrowing.ts).
 * `stop` lets the window under way finish; a lost lease, or a stop during the login, ends at once. Throws the failure
 * of the visit after it is written down.
 */

import { readAhead, watched } from '../../async/prefetch.ts';
import { asFailure, Failure, isFailure } from '../../errors.ts';
import { type EventName, events } from '../../events.ts';
import { makerOf } from '../decide/batch-context.ts';
import { type CommitPlace, commitWindow } from '../decide/commit.ts';
import type { Decision } from '../decide/decide.ts';
import { arrivals } from '../fetch/pipeline.ts';
import type { Narrowing } from '../fetch/poison-message.ts';
import { keepFiles } from '../fetch/store-files.ts';
import type { Mailbox, Outcome, PollResult } from '../model.ts';
import type { Lease } from '../stores.ts';
import { failedResult, intervalOf } from './backoff.ts';
import { renumberingsMax, startCursor, unstableMs } from './cursor.ts';
import { rest } from './idle-loop.ts';
import type { PollContext, PollPorts, PollReport, PollSettings } from './poll-context.ts';
import { hadMail, leaseLost, type Visit } from './poll-context.ts';
import { driveActions, leftOver } from './post-actions.ts';
import { inTurns } from './serialized-session.ts';

type Round = Visit & {
  readonly poll: string;
  readonly counts: Record<Outcome, number>;
  readonly narrowing: Narrowing;
};

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
    // A stop says nothing about the mailbox.
    const isCutOff = failure.code === 'interrupted' && context.stop.aborted;
    const result = isCutOff ? null : failedResult(failure, mailbox, settings(), context.due, ports.random());
    await letGo(lease, result, ports, context);
    throw failure;
  }
  const result = { ok: true as const, nextPollAfterMs: context.stop.aborted ? 0 : nextPollAfterMs };
  await ports.store.releaseLease(lease, result, context.due?.version);
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
async function letGo(lease: Lease, result: PollResult | null, ports: PollPorts, { due }: PollContext): Promise<void> {
  try {
    await ports.store.releaseLease(lease, result, due?.version);
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
async function visit(given: Omit<Visit, 'session' | 'lost' | 'found'>, poll: string): Promise<number> {
  const { mailbox, lease, ports, settings, context } = given;
  using kept = ports.leases.keep(lease);
  await using session = await login(given, kept.lost);
  context.onOpened?.(session);
  const open = { ...given, session: inTurns(session), lost: kept.lost, found: { isTheSame: false } };
  const { report, isSpent } = await round(open, poll, true);
  // The rest comes on a new one.
  if (isSpent) return 0;
  const isOver = context.stop.aborted || !session.canWatch;
  using place = isOver ? null : (context.stay?.(hadMail(report)) ?? null);
  return place === null
    ? Math.max(intervalOf(mailbox, settings()), isUnstable(context) ? unstableMs : 0)
    : await rest(open, place, async () => (await round(open, begin(ports, context), false)).report);
}

/** A stop ends the login, and not the session that it leads to; a lost lease ends both. `stop` outlives the visit by far. */
async function login({ mailbox, ports, context }: Pick<Visit, 'mailbox' | 'ports' | 'context'>, lost: AbortSignal) {
  const { stop } = context;
  const ending = new AbortController();
  const end = () => ending.abort();
  lost.addEventListener('abort', end, { once: true });
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  try {
    return await ports.passwords.lend(mailbox, (password) =>
      ports.sessions.open(mailbox.connection, password, ending.signal),
    );
  } finally {
    stop.removeEventListener('abort', end);
  }
}

/** Its folder is numbered anew again and again: each time all its mail is fetched to be recognised. */
function isUnstable({ renumberings }: PollContext): boolean {
  return (renumberings?.count() ?? 0) > renumberingsMax;
}

type Done = { readonly report: PollReport; readonly isSpent: boolean };

async function round(open: Visit, poll: string, isFirst: boolean): Promise<Done> {
  const { mailbox, ports, context } = open;
  const { clock } = ports;
  const startedAtMs = clock.monotonicMs();
  const counts = noOutcomes();
  const report = () => ({
    ...{ poll, mailbox: mailbox.name, outcomes: counts },
    durationMs: clock.monotonicMs() - startedAtMs,
  });
  const current = { ...open, poll, isFirst, counts };
  const cursor = await startCursor(current, open.session, ports);
  const narrowing = ports.narrowings.of(mailbox.id, cursor);
  try {
    await work({ ...current, narrowing }, cursor.uidValidity);
  } finally {
    if (narrowing.isSetBack) context.onSetBack?.(report());
  }
  const done = report();
  context.onRound?.(done);
  return { report: done, isSpent: narrowing.isSpent };
}

/** Everything that is new, once. A refused action does not keep new mail out; it is thrown at the end. */
async function work(round: Round, numbering: number): Promise<void> {
  const { narrowing, context } = round;
  const first = narrowing.actsLast ? null : await driveActions(round, numbering, await leftOver(round, numbering));
  const later = await takeNew(round, numbering);
  if (!narrowing.isSpent && !context.stop.aborted) narrowing.passed();
  const isDue = narrowing.actsLast && !narrowing.isSpent;
  const last = isDue ? await driveActions(round, numbering, await leftOver(round, numbering)) : null;
  const refusal = first ?? later ?? last;
  if (refusal !== null) throw refusal;
}

/** All new mail; the first refusal of what was to be done with it on the server. */
async function takeNew(round: Round, numbering: number): Promise<Failure | null> {
  const { session, ports, context, settings, mailbox, narrowing } = round;
  const uids = narrowing.newOf(await session.listAbove(narrowing.listFrom));
  ports.log.debug({ mailbox: mailbox.name, poll: round.poll, new_mails: uids.length }, events.pollStarted);
  let done = 0;
  context.onProgress?.({ done, total: uids.length });
  const { digester, clock } = ports;
  const lane = mailbox.id;
  const from = { session, digester, clock, lane, limits: settings().limits, narrowing, stop: context.stop };
  let refusal: Failure | null = null;
  let driving: Promise<Failure | null> = Promise.resolve(null);
  try {
    for await (const window of readAhead(keepFiles(arrivals(from, uids), ports), () => narrowing.isCareful)) {
      if (round.lost.aborted) throw leaseLost(mailbox);
      const decisions = await commitWindow(window, placeOf(round, numbering), ports.store);
      record(round, decisions);
      const refused = await driving;
      refusal ??= refused;
      // Beside the commit of the next window: both wait for others most of the time.
      if (!narrowing.actsLast) driving = watched(driveActions(round, numbering, pendingOf(decisions)));
      if (narrowing.isCareful) await driving;
      done += window.length;
      context.onProgress?.({ done, total: uids.length });
    }
  } finally {
    await Promise.allSettled([driving]);
  }
  const refused = await driving;
  return refusal ?? refused;
}

function placeOf({ mailbox, lease, ports, settings }: Round, numbering: number): CommitPlace {
  return { lease, uidValidity: numbering, maker: makerOf(mailbox, ports, settings().desk) };
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
