/**
 * Whether files can be written under the data folder, looked at every ten seconds, and every two while they cannot.
 *
 * While they cannot, no visit begins: what it fetched could not be kept, and would be fetched again and again. A probe that
 * does not come back (a disk that hangs) counts as failing. Little space left is a warning.
 */

import type { Clock } from '../../async/clock.ts';
import { asFailure, Failure } from '../../errors.ts';
import { type Server, serverKey } from '../model.ts';
import type { Disk } from '../ports.ts';
import type { CertificateCheck, Check, Readiness } from '../readiness.ts';

export interface DiskWatch {
  /** Begins a probe when it is time for one; waits for none but the first. */
  refresh(): Promise<void>;
  /** A file could not be written: the next `refresh` probes. */
  suspect(): void;
  readonly isFailing: boolean;
  check(): Readiness['checks']['disk'];
}

const everyMs = 10_000;
const whileFailingMs = 2000;
const hangsMs = 10_000;
const freeBytesMin = 512 * 1024 * 1024;

type State = { readonly failure: Failure | null; readonly freeBytes: number | null; readonly sinceMs: number | null };

/** `told` hears of every change. */
export function createDiskWatch(disk: Disk, clock: Clock, told: (failure: Failure | null) => void): DiskWatch {
  let state: State = { failure: null, freeBytes: null, sinceMs: null };
  let probedAtMs = Number.NEGATIVE_INFINITY;
  let probing: Promise<void> | null = null;

  const enter = (failure: Failure | null, freeBytes: number | null): void => {
    const isChange = failure?.code !== state.failure?.code;
    const isFirst = state.sinceMs === null;
    state = { failure, freeBytes, sinceMs: isChange || isFirst ? clock.nowMs() : state.sinceMs };
    if (isChange) told(failure);
  };

  const probe = async (): Promise<void> => {
    try {
      const { freeBytes } = await disk.probe();
      enter(null, freeBytes);
    } catch (error) {
      enter(asFailure(error), state.freeBytes);
    } finally {
      probing = null;
    }
  };

  return {
    refresh: async () => {
      const agoMs = clock.monotonicMs() - probedAtMs;
      if (probing !== null) {
        if (agoMs > hangsMs) enter(new Failure('disk_failed', 'writing a small file takes longer than 10 s'), null);
        return;
      }
      if (agoMs < (state.failure === null ? everyMs : whileFailingMs)) return;
      const isFirst = probedAtMs === Number.NEGATIVE_INFINITY;
      probedAtMs = clock.monotonicMs();
      probing = probe();
      if (isFirst) await Promise.race([probing, clock.sleep(1000, new AbortController().signal)]);
    },
    suspect: () => {
      if (state.failure === null && clock.monotonicMs() - probedAtMs > whileFailingMs) probedAtMs = -everyMs;
    },
    get isFailing() {
      return state.failure !== null;
    },
    check: () => diskCheck(state),
  };
}

function diskCheck({ failure, freeBytes, sinceMs }: State): Readiness['checks']['disk'] {
  const since = sinceMs === null ? null : new Date(sinceMs).toISOString();
  const common = { since, free_bytes: freeBytes };
  if (failure !== null)
    return { ...common, status: 'failing', reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
  if (sinceMs === null) return { ...common, status: 'unknown', reason: 'not looked at yet', hint: null };
  if (freeBytes !== null && freeBytes < freeBytesMin) {
    const reason = `only ${Math.floor(freeBytes / 1024 / 1024)} MB are free under data_dir`;
    return { ...common, status: 'warning', reason, hint: 'Free some space before it runs out.' };
  }
  return { ...common, status: 'ok', reason: null, hint: null };
}

/** Whether the database answers, since when that is so, and how quickly. */

const startReason = 'it has not answered yet: connecting, or bringing its tables up to date';

interface DatabaseCheck {
  /** null: it answered. True when that is news. */
  tell(failure: Failure | null): boolean;
  /** How long a small question took. */
  answered(ms: number): void;
  check(): Omit<Readiness['checks']['database'], 'pool'>;
}

export function createDatabaseCheck(clock: Pick<Clock, 'nowMs'>): DatabaseCheck {
  let now: Check = { status: 'unknown', since: null, reason: startReason, hint: null };
  let answerMs: number | null = null;
  return {
    tell: (failure) => {
      const next = failure === null ? okSince(clock.nowMs()) : failing(failure, clock.nowMs());
      const before = now;
      const isChange = next.status !== before.status || next.reason !== before.reason;
      if (isChange) now = next;
      // That a database answers at the start is what everybody expects.
      return isChange && !(before.status === 'unknown' && next.status === 'ok');
    },
    answered: (ms) => {
      answerMs = Math.round(ms);
    },
    check: () => ({ ...now, answer_ms: answerMs }),
  };
}

export function okSince(sinceMs: number): Check {
  return { status: 'ok', since: new Date(sinceMs).toISOString(), reason: null, hint: null };
}

function failing(failure: Failure, sinceMs: number): Check {
  const since = new Date(sinceMs).toISOString();
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
}

/**
 * When the certificates end that mail servers showed: told before they do, and only as long as somebody goes there.
 */

const daysMin = 14;
const keptMax = 1000;
const dayMs = 86_400_000;
/** A little more than the longest interval: who has not seen it for so long knows nothing of its successor. */
const seenMsMax = 25 * 3_600_000;

interface Certificates {
  /** A server has just shown one. */
  note(host: string, port: number, endsAtMs: number): void;
  /** Those of servers that are used. */
  check(isUsed: (server: Server) => boolean): Readiness['checks']['certificates'];
}

type Seen = Server & { readonly endsAtMs: number; readonly seenAtMs: number };

export function createCertificates(clock: Clock): Certificates {
  const seen = new Map<string, Seen>();
  return {
    note: (host, port, endsAtMs) => {
      const key = serverKey({ host, port });
      seen.delete(key);
      seen.set(key, { host, port, endsAtMs, seenAtMs: clock.monotonicMs() });
      const [oldest] = seen.keys();
      if (seen.size > keptMax && oldest !== undefined) seen.delete(oldest);
    },
    check: (isUsed) => {
      const sinceMs = clock.monotonicMs() - seenMsMax;
      return checkOf(
        [...seen.values()].filter((one) => one.seenAtMs >= sinceMs && isUsed(one)),
        clock.nowMs(),
      );
    },
  };
}

function checkOf(known: readonly Seen[], nowMs: number): Readiness['checks']['certificates'] {
  const list: readonly CertificateCheck[] = known
    .map(({ host, port, endsAtMs }) => ({
      ...{ host, port, valid_until: new Date(endsAtMs).toISOString() },
      days_left: Math.floor((endsAtMs - nowMs) / dayMs),
    }))
    .sort((a, b) => a.days_left - b.days_left);
  const [first] = list;
  if (first === undefined || first.days_left >= daysMin)
    return { status: 'ok', since: null, reason: null, hint: null, list };
  const reason = `the certificate of ${first.host}:${first.port} ends in ${first.days_left} days`;
  return { status: 'warning', since: null, reason, hint: 'Have it renewed on the mail server.', list };
}

/**
 * Whether the scheduler turns: wakes come, and the one that asks the database comes back.
 *
 * Waiting for a database within the deadlines of its statements is turning, too; a wake that does not come, or that is
 * lost in a question for minutes, is not. Goes by the monotonic clock: a step of the time of day is no stand-still.
 */

export interface Turning {
  /** A wake came. */
  woke(): void;
  /** A wake asks what is due, and has been told. `mayTakeLong` is for bringing the tables up to date. */
  asking(mayTakeLong?: boolean): void;
  asked(): void;
  check(): Check & { readonly lag_ms: number | null };
  /** False when only a new start can help. */
  readonly isTurning: boolean;
}

/** A wake that is later than this means that the loop does not turn. */
const lagMsMax = 15_000;
/** Statements have a deadline of 30 s each, and a few of them make a question. */
const askMsMax = 5 * 60_000;
const hint = 'The process is stuck or starved: see its CPU use and log.';

export function turning(clock: Clock): Turning {
  let wokeAtMs: number | null = null;
  let firstAtMs: number | null = null;
  let asking: { readonly sinceMs: number; readonly mayTakeLong: boolean } | null = null;

  const isLost = () => asking !== null && !asking.mayTakeLong && clock.monotonicMs() - asking.sinceMs > askMsMax;
  const lagMs = () => (wokeAtMs === null ? null : clock.monotonicMs() - wokeAtMs);

  return {
    woke: () => {
      wokeAtMs = clock.monotonicMs();
      firstAtMs ??= clock.nowMs();
    },
    asking: (mayTakeLong = false) => {
      asking = { sinceMs: clock.monotonicMs(), mayTakeLong };
    },
    asked: () => {
      asking = null;
    },
    get isTurning() {
      return (lagMs() ?? 0) <= lagMsMax && !isLost();
    },
    check: () => {
      const lag = lagMs();
      if (lag === null || firstAtMs === null)
        return { status: 'unknown', since: null, reason: 'starting', hint: null, lag_ms: null };
      const lagging = { hint, lag_ms: Math.round(lag) };
      const since = new Date(clock.nowMs() - lag).toISOString();
      if (lag > lagMsMax)
        return { status: 'failing', since, reason: `no wake for ${Math.round(lag / 1000)} s`, ...lagging };
      if (isLost()) return { status: 'failing', since, reason: 'a question to the database is lost', ...lagging };
      return {
        ...{ status: 'ok', since: new Date(firstAtMs).toISOString(), reason: null, hint: null },
        lag_ms: Math.round(lag),
      };
    },
  };
}
