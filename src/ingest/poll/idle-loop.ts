/**
 * A visit that stays: the connection rests until the server announces mail, then does a round, and rests again.
 *
 * Polls stay as the safety net: after the poll interval (five minutes at most) a round is done without any announcement,
 * which also finds a connection that is dead without anybody having said so. A connection that ends while it rests is no
 * failure: no mail was under way, and the mailbox is visited anew. A server that announces without end what is not there
 * is believed more and more slowly.
 */
import { asFailure, type Failure, isFailure } from '../../errors.ts';
import { events } from '../../events.ts';
import { intervalOf } from './backoff.ts';
import type { PollReport, PushPlace } from './poll-context.ts';
import { hadMail, leaseLost, type Visit } from './poll-context.ts';

const quietMsMax = 5 * 60_000;
/** A server that ends connections again and again is not asked in the same moment. */
const brokenMs = 1000;
/** A rest that the server ends sooner than this, and sooner than asked, is no rest. */
const restMsMin = 5000;
const falseAlarmMs = 100;

type Heard = 'news' | 'quiet' | 'stopped' | Failure;

/** Resolves with the time until the mailbox is due again. Throws what a round throws, and `lease_lost`. */
export async function rest(visit: Visit, place: PushPlace, round: () => Promise<PollReport>): Promise<number> {
  const { mailbox, session, settings, context, lease, lost, ports } = visit;
  const { clock, store } = ports;
  const end = AbortSignal.any([context.stop, place.end, lost]);
  let falseAlarms = 0;
  // The round before was the visit: it went well, whatever the rest brings.
  await store.noteVisit(lease, intervalOf(mailbox, settings()));
  for (;;) {
    const intervalMs = intervalOf(mailbox, settings());
    const quietMs = Math.min(intervalMs, quietMsMax);
    const sinceMs = clock.monotonicMs();
    const heard = await heardOf(() => session.watch(quietMs, end));
    if (lost.aborted) throw leaseLost(mailbox);
    if (heard === 'stopped') return place.isDueAfter() ? 0 : intervalMs;
    const isCutShort = heard === 'quiet' && clock.monotonicMs() - sinceMs < Math.min(restMsMin, quietMs / 2);
    if (isFailure(heard) || isCutShort) return mayRestAgain(heard, visit, place) ? brokenMs : intervalMs;
    const isMail = await roundAfter(heard, visit, place, round);
    await store.noteVisit(lease, intervalOf(mailbox, settings()));
    falseAlarms = heard === 'quiet' || isMail ? 0 : falseAlarms + 1;
    await clock.sleep(Math.min(falseAlarmPause(falseAlarms), quietMs), end);
  }
}

/** The first one may be a mail that another reader has taken away. */
function falseAlarmPause(falseAlarms: number): number {
  return falseAlarms < 2 ? 0 : falseAlarmMs * 2 ** Math.min(falseAlarms, 16);
}

/** After a rest that the server ended. Throws `server_busy`, which may say how long to wait. */
function mayRestAgain(heard: Heard, { mailbox, ports: { log, meter } }: Visit, place: PushPlace): boolean {
  if (!isFailure(heard)) return place.broke();
  if (heard.code === 'server_busy') throw heard;
  const { name, connection } = mailbox;
  // That a server goes is told by the visit after it, if it stays away.
  if (heard.code === 'connection_lost') log.debug({ mailbox: name, error: heard }, events.pushEnded);
  else log.info({ mailbox: name, error: heard }, events.pushEnded);
  meter.visit({ mailbox: name, host: connection.host, result: heard.code, durationMs: 0, lagMs: null });
  return place.broke(heard.code === 'server_refused');
}

async function roundAfter(
  heard: 'news' | 'quiet',
  { ports: { clock, meter } }: Visit,
  place: PushPlace,
  round: () => Promise<PollReport>,
): Promise<boolean> {
  const heardAtMs = clock.monotonicMs();
  const done = await place.round(async () => ({ hadMail: hadMail(await round()) }));
  if (heard === 'news' && done.hadMail) meter.pushed(clock.monotonicMs() - heardAtMs);
  return done.hadMail;
}

/** What the server said, or how the connection ended. */
async function heardOf<T extends string>(watch: () => Promise<T>): Promise<T | Failure> {
  try {
    return await watch();
  } catch (error) {
    if (isFailure(error) && error.code !== 'unexpected') return asFailure(error);
    throw error;
  }
}
