/**
 * One visit to one mailbox: the way of a message, from the lease to the action on the server.
 *
 * lease -> session -> cursor -> actions left over from a crash -> windows of arrivals -> commit -> actions. The cursor
 * moves only in the transaction that stores the outcomes, and the server is touched only after it, so that this may
 * end anywhere: the next visit goes on from what the database says. `stop` lets the window under way finish; a lost
 * lease, or a stop during the login, ends at once. Throws the failure of the visit after it is written down.
 */
import { asFailure, Failure, isFailure } from '../errors.ts';
import { type EventName, events } from '../events.ts';
import { arrivals } from './arrivals.ts';
import { backOffMs } from './backoff.ts';
import { type CommitPlace, commitWindow } from './commit.ts';
import { startCursor } from './cursor.ts';
import type { Decision } from './decide.ts';
import { keepFiles } from './keep.ts';
import { keepLease } from './lease.ts';
import type { Mailbox } from './mailbox.ts';
import type { PollContext, PollPorts, PollReport, PollSettings } from './poll-ports.ts';
import type { Lease, Session } from './ports.ts';
import { readAhead } from './read-ahead.ts';
import type { Outcome, PollResult } from './rows.ts';
import { inTurns } from './turns.ts';
import { chunksOf } from './window.ts';

type Visit = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly session: Session;
  readonly counts: Record<Outcome, number>;
  readonly context: PollContext;
  readonly ports: PollPorts;
  readonly settings: PollSettings;
  readonly lost: AbortSignal;
};

const actionsAtOnce = 500;

/** Visits `mailbox` once. Throws `lease_taken` when another worker is there, else the failure of the visit. */
export async function pollMailbox(
  mailbox: Mailbox,
  ports: PollPorts,
  settings: PollSettings,
  context: PollContext,
): Promise<PollReport> {
  const startedAtMs = ports.clock.nowMs();
  const lease = await takeLease(mailbox, ports, settings);
  const intervalMs = mailbox.pollIntervalMs ?? settings.intervalMs;
  const counts = noOutcomes();
  try {
    await visit(mailbox, lease, counts, ports, settings, context);
  } catch (error) {
    const failure = asFailure(error);
    const nextPollAfterMs = backOffMs(context.failures + 1, intervalMs, settings.backOffMsMax, ports.random());
    const { code, message, hint } = failure;
    await letGo(lease, { ok: false, nextPollAfterMs, error: { code, message, hint } }, ports);
    throw failure;
  }
  await ports.store.releaseLease(lease, { ok: true, nextPollAfterMs: context.stop.aborted ? 0 : intervalMs });
  return { mailbox: mailbox.name, outcomes: counts, durationMs: ports.clock.nowMs() - startedAtMs };
}

function noOutcomes(): Record<Outcome, number> {
  return { ticket_opened: 0, reply_added: 0, recorded: 0, duplicate: 0, quarantined: 0, vanished: 0 };
}

/** Takes over at once from a process of this machine that is known to be dead, else only when the lease has run out. */
async function takeLease(mailbox: Mailbox, ports: PollPorts, settings: PollSettings): Promise<Lease> {
  const owner = await ports.store.leaseOwner(mailbox.id);
  const dead = owner !== null && ports.workers.isDead(owner) ? owner : null;
  const lease = await ports.store.takeLease(mailbox.id, ports.workers.me, settings.leaseMs, dead);
  if (lease === null) throw new Failure('lease_taken', `mailbox ${mailbox.name} is visited by another worker`);
  return lease;
}

/** The failure of the visit is what matters; that it could not be written down as well is no news. */
async function letGo(lease: Lease, result: PollResult, ports: PollPorts): Promise<void> {
  try {
    await ports.store.releaseLease(lease, result);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

async function visit(
  mailbox: Mailbox,
  lease: Lease,
  counts: Record<Outcome, number>,
  ports: PollPorts,
  settings: PollSettings,
  context: PollContext,
): Promise<void> {
  const connecting = new AbortController();
  using kept = keepLease(lease, settings.leaseMs, ports);
  const endConnecting = () => connecting.abort();
  kept.lost.addEventListener('abort', endConnecting, { once: true });
  context.stop.addEventListener('abort', endConnecting, { once: true });
  if (context.stop.aborted) connecting.abort();
  await using session = await ports.passwords.lend(mailbox, (password) =>
    ports.sessions.open(mailbox.connection, password, connecting.signal),
  );
  context.stop.removeEventListener('abort', endConnecting);
  await work({ mailbox, lease, session: inTurns(session), counts, context, ports, settings, lost: kept.lost });
}

/** All that happens while the session is open. A refused action does not keep new mail out; it is thrown at the end. */
async function work(visit: Visit): Promise<void> {
  const { session, ports, context, settings } = visit;
  const cursor = await startCursor(visit.mailbox, visit.lease, session, ports);
  let refusal = await driveActions(visit);
  const uids = await session.listAbove(cursor.uid);
  ports.log.debug({ mailbox: visit.mailbox.name, new_mails: uids.length }, events.pollStarted);
  let done = 0;
  context.onProgress?.({ done, total: uids.length });
  const { digester, clock } = ports;
  const from = { session, digester, clock, lane: visit.mailbox.id, limits: settings.limits, stop: context.stop };
  for await (const window of readAhead(keepFiles(arrivals(from, uids), ports))) {
    if (visit.lost.aborted) {
      throw new Failure('lease_lost', `mailbox ${visit.mailbox.name} was taken over by another worker`);
    }
    const decisions = await commitWindow(window, placeOf(visit), ports.store);
    record(visit, decisions);
    refusal ??= await driveActions(visit);
    done += window.length;
    context.onProgress?.({ done, total: uids.length });
  }
  if (refusal !== null) throw refusal;
}

function placeOf({ mailbox, lease, session, ports }: Visit): CommitPlace {
  const acts = mailbox.after.kind !== 'leave';
  const { newId, newRef } = ports;
  const maker = { mailboxId: mailbox.id, nowMs: ports.clock.nowMs(), acts, newId, newRef };
  return { lease, uidValidity: session.folder.uidValidity, maker };
}

/**
 * Does on the server what is still to be done for stored mails, those of an earlier crash included. Repeating it does
 * no harm. A refusal by the server is returned; a broken connection is thrown.
 */
async function driveActions(visit: Visit): Promise<Failure | null> {
  const { mailbox, session, ports, lease } = visit;
  const { uidValidity } = session.folder;
  const pending = await ports.store.pendingActions(mailbox.id, uidValidity, 100_000);
  try {
    for (const uids of chunksOf(pending, actionsAtOnce)) {
      await session.apply(mailbox.after, uids);
      await ports.store.actionsDone(lease, uidValidity, uids);
    }
    return null;
  } catch (error) {
    if (!isFailure(error, 'server_refused', 'folder_missing')) throw error;
    ports.log.warn(
      { mailbox: mailbox.name, action: mailbox.after.kind, count: pending.length, error },
      events.actionFailed,
    );
    return error;
  }
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
function record(visit: Visit, decisions: readonly Decision[]): void {
  const { mailbox, session, ports, counts } = visit;
  for (const { outcome, ref } of decisions) {
    counts[outcome.outcome] += 1;
    const fields = {
      mailbox: mailbox.name,
      uid_validity: session.folder.uidValidity,
      uid: outcome.uid,
      size_bytes: outcome.sizeBytes,
      ...(outcome.messageId === null ? {} : { message: outcome.messageId }),
      ...(ref === null ? {} : { ticket: ref }),
      ...(outcome.reason === null ? {} : { reason: outcome.reason }),
    };
    if (outcome.outcome === 'quarantined') ports.log.warn(fields, eventOf.quarantined);
    else ports.log.info(fields, eventOf[outcome.outcome]);
  }
}
