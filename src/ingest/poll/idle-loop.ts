/**
 * IDLE loop (RFC 2177) of a poll: the connection idles until the server announces messages, runs a round, and idles
 * again.
 *
 * Polling stays as the safety net: after the poll interval, five minutes at most, a round runs without an announcement,
 * which also detects a dead connection, and a folder that was replaced under its name. A connection that ends while it
 * idles is no failure: no message was in transit, and the mailbox is polled again. A server that is silent is one. A
 * session by access token is left before the token ends: the mailbox is due at once and gets a session with a new one,
 * also where the server ended the session first. Announcements without a message behind them are followed at growing
 * intervals.
 */
import { asFailure, type Failure, isFailure } from '../../errors.ts';
import { events } from '../../events.ts';
import { intervalOf, type PollEnd, waitAfterPollMs } from '../polling-policy.ts';
import type { IdleEnd } from '../ports.ts';
import { leaseLost } from '../stores.ts';
import { hadMessages, type IdleSlot, type OpenPoll, type RoundReport } from './poll-context.ts';
import { isUnstable } from './uidvalidity-changes.ts';

const idleMsMax = 5 * 60_000;
/** An IDLE that the server ends sooner than this, and sooner than requested, counts as a broken connection. */
const idleMsMin = 5000;
const falseAlarmMs = 100;
/** A session that must end sooner is followed less quickly: repeating it at once would be a busy loop. */
const tokenMsMin = 5000;

/** Resolves with the time until the mailbox is due again. Throws what a round throws, and `lease_lost`. */
export async function idle(open: OpenPoll, slot: IdleSlot, runRound: () => Promise<RoundReport>): Promise<number> {
  const { mailbox, session, settings, options, lease, lost, ports } = open;
  const { clock, store } = ports;
  const end = AbortSignal.any([options.stop, slot.end, lost]);
  const wait = (end: PollEnd) => waitAfterPollMs(end, mailbox, settings());
  const beganAtMs = clock.monotonicMs();
  const tokenEnd = () => (clock.monotonicMs() - beganAtMs < tokenMsMin ? 'token_ended' : 'token_ending');
  let falseAlarms = 0;
  // The first round has succeeded, however the IDLE ends.
  await store.recordPollSuccess(lease, wait('finished'));
  for (;;) {
    const endsInMs = session.endsInMs ?? Number.POSITIVE_INFINITY;
    if (endsInMs <= 0) return wait(tokenEnd());
    const idleMs = Math.min(intervalOf(mailbox, settings()), idleMsMax, endsInMs);
    const sinceMs = clock.monotonicMs();
    const ended = await endOf(() => session.idle(idleMs, end));
    if (lost.aborted) throw leaseLost(mailbox.name);
    const isCutShort = wasCutShort(ended, clock.monotonicMs() - sinceMs, idleMs);
    const pollEnd = endAfter(ended, isCutShort, open, slot);
    if (isEndOfToken(ended, pollEnd, idleMs === endsInMs)) return wait(tokenEnd());
    if (pollEnd !== null) return wait(pollEnd);
    const foundMessages = await roundAfter(ended === 'new_messages', open, slot, runRound);
    if (isUnstable(open)) return wait('folder_unstable');
    await store.recordPollSuccess(lease, wait('finished'));
    falseAlarms = ended === 'timed_out' || foundMessages ? 0 : falseAlarms + 1;
    await clock.sleep(Math.min(falseAlarmPause(falseAlarms), idleMs), end);
  }
}

/** True for an IDLE that the server ended sooner than it was asked to. */
function wasCutShort(ended: IdleEnd | Failure, lastedMs: number, idleMs: number): boolean {
  return ended === 'timed_out' && lastedMs < Math.min(idleMsMin, idleMs / 2);
}

/** How an IDLE ends the poll; null: it does not. */
function endAfter(ended: IdleEnd | Failure, isCutShort: boolean, open: OpenPoll, slot: IdleSlot): PollEnd | null {
  if (ended === 'stopped') return slot.isDueAtOnce() ? 'idle_slot_ended' : 'finished';
  if (!isFailure(ended) && !isCutShort) return null;
  return mayIdleAgain(ended, open, slot) ? 'idle_connection_ended' : 'finished';
}

/** True where the server ended the session of an access token, or its time is over. */
function isEndOfToken(ended: IdleEnd | Failure, pollEnd: PollEnd | null, wasForToken: boolean): boolean {
  return isFailure(ended, 'session_expired') || (pollEnd === null && ended === 'timed_out' && wasForToken);
}

/** The first false alarm has no pause: another client may have removed the message. */
function falseAlarmPause(falseAlarms: number): number {
  return falseAlarms < 2 ? 0 : falseAlarmMs * 2 ** Math.min(falseAlarms, 16);
}

/** After an IDLE that the server ended. Throws `server_busy`, which may say how long to wait, and `server_timeout`. */
function mayIdleAgain(ended: IdleEnd | Failure, { mailbox, ports: { log, meter } }: OpenPoll, slot: IdleSlot): boolean {
  if (!isFailure(ended)) return slot.connectionEnded();
  if (ended.code === 'server_busy' || ended.code === 'server_timeout') throw ended;
  const { name, connection } = mailbox;
  // A server that is gone is reported by the next poll, if it stays away.
  if (ended.code === 'connection_lost' || ended.code === 'session_expired')
    log.debug({ mailbox: name, error: ended }, events.idleEnded);
  else log.info({ mailbox: name, error: ended }, events.idleEnded);
  if (ended.code === 'session_expired') return true;
  meter.poll({ mailbox: name, host: connection.host, result: ended.code, durationMs: 0, lagMs: null });
  return slot.connectionEnded(ended.code === 'server_refused');
}

/** True when the round found messages. */
async function roundAfter(
  isAnnounced: boolean,
  { ports: { clock, meter } }: OpenPoll,
  slot: IdleSlot,
  runRound: () => Promise<RoundReport>,
): Promise<boolean> {
  const announcedAtMs = clock.monotonicMs();
  const found = await slot.runRound(async () => ({ hadMessages: hadMessages(await runRound()) }));
  if (isAnnounced && found.hadMessages) meter.idleDelivery(clock.monotonicMs() - announcedAtMs);
  return found.hadMessages;
}

/** A failure of the connection is a value here; a defect is thrown. */
async function endOf<T extends string>(idling: () => Promise<T>): Promise<T | Failure> {
  try {
    return await idling();
  } catch (error) {
    if (isFailure(error) && error.code !== 'unexpected') return asFailure(error);
    throw error;
  }
}
