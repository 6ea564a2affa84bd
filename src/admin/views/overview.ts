/**
 * The overview and the quarantine of the admin page: what they show, and what can be done with a mail there.
 *
 * Nobody waits long for an answer: what was known a moment ago is shown while it is looked at anew (fresh.ts), and a database
 * that is away shows as wrong. Where nothing is known yet it is `database_unavailable`.
 */

import type { Clock } from '../../async/clock.ts';
import { withDatabaseDeadline, within } from '../../async/deadline.ts';
import { type StaleWhileRevalidate, staleWhileRevalidate } from '../../async/single-flight.ts';
import { type Failure, isFailure } from '../../errors.ts';
import type { QuarantineReader, RawSources } from '../../ingest/ports.ts';
import { headerOf, quarantineId } from '../../ingest/quarantine/read.ts';
import { describeReason, quarantineReasons } from '../../ingest/quarantine/reasons.ts';
import type { Check, Readiness } from '../../ingest/readiness.ts';
import type { MailboxStore, QuarantinedMessage } from '../../ingest/stores.ts';
import type { HeaderSummary } from '../../mail/fallback-message.ts';
import { isoTime } from '../../text/time.ts';
import type { AdminStore } from '../ports.ts';
import type {
  AdminService,
  HourlyActivity,
  OverviewView,
  QuarantinedLine,
  QuarantineView,
  ReasonLine,
  WorkerLine,
} from '../service.ts';
import {
  chosenMailboxes,
  type ListedMailbox,
  listedMailboxes,
  pageBounds,
  type StoredMailbox,
  timestampMs,
} from './mailboxes.ts';
import { createQuarantineActions, type QuarantineActionPorts } from './quarantine.ts';

/** `readiness`: what `/readyz` is made of. */
export type OverviewServicePorts = OverviewDataPorts &
  QuarantineActionPorts & {
    readonly store: QuarantineReader & Pick<AdminStore, 'activitySince'>;
    readonly raw: Pick<RawSources, 'read'>;
  };

/** Disposing waits for what is being taken out of quarantine. */
export type OverviewService = AsyncDisposable & Pick<AdminService, 'overview' | 'quarantine' | 'resolveQuarantined'>;

type Reasons = Awaited<ReturnType<QuarantineReader['quarantineCounts']>>['reasons'];

const mailboxesPerPage = 50;
const mailsPerPage = 25;
const waitMs = 3000;
/** Heads of mails come from the disk. */
const headsMs = 1000;
const minuteMs = 60_000;
const surveySettings = { freshMs: 1000, usableMs: 30_000, quickMs: 25, waitMs };
const reasonSettings = { freshMs: 0, usableMs: 30_000, quickMs: 25, waitMs };
/** Mail that was just taken in is to be seen soon; where counting it is dear, it is not counted all the time. */
const activityFreshMs = (tookMs: number): number => (tookMs < 100 ? 10_000 : minuteMs);
const activitySettings = { freshMs: activityFreshMs, usableMs: 10 * minuteMs, quickMs: 25, waitMs: 25 };

export function createOverviewService(ports: OverviewServicePorts): OverviewService {
  const { clock, store } = ports;
  const survey = staleWhileRevalidate(overviewDataReader(ports), clock, surveySettings);
  const reasons = staleWhileRevalidate(async () => (await store.quarantineCounts()).reasons, clock, reasonSettings);
  const activity = staleWhileRevalidate(() => store.activitySince(firstHourMs(clock.nowMs())), clock, activitySettings);
  const settling = createQuarantineActions(ports, reasons.invalidate);
  return {
    overview: async (query) => {
      const known = await survey.get();
      return overviewOf(known.value, query, {
        trouble: known.trouble,
        activity: await knownActivity(activity, clock.nowMs()),
      });
    },
    quarantine: async (query) => {
      const known = await reasons.get();
      const { from, ...place } = pageBounds(totalOf(known.value, query.reason), query.page, mailsPerPage);
      const mails = await withDatabaseDeadline(store.quarantinePage(query.reason, from, mailsPerPage), waitMs, clock);
      const list = await Promise.all(mails.map((mail) => quarantinedLine(mail, ports)));
      return { query, reasons: known.value.map(reasonLine), messages: { ...place, list } } satisfies QuarantineView;
    },
    resolveQuarantined: settling.resolveQuarantined,
    [Symbol.asyncDispose]: () => settling[Symbol.asyncDispose](),
  };
}

function overviewOf(
  survey: OverviewData,
  query: OverviewView['query'],
  { trouble, activity }: { readonly trouble: Failure | null; readonly activity: HourlyActivity | null },
): OverviewView {
  const chosen = chosenMailboxes(survey.mailboxes, query);
  const { from, ...place } = pageBounds(chosen.length, query.page, mailboxesPerPage);
  const { counts, quarantine, workers, atMs } = survey;
  return {
    ...{ atMs, query, counts, workers, activity },
    isReady: survey.isReady && trouble === null,
    failingChecks: trouble === null ? survey.wrongs : [staleDataLine(trouble), ...survey.wrongs],
    mailboxes: { ...place, list: chosen.slice(from, from + mailboxesPerPage).map(({ line }) => line) },
    quarantine: { count: quarantine.count, reasons: quarantine.reasons.map(reasonLine) },
  };
}

/** Everything below it is older than it should be. */
function staleDataLine({ code, message, hint }: Failure): OverviewView['failingChecks'][number] {
  return { check: 'overview', reason: `${code}: ${message}; shown is what was known before`, hint };
}

/** null: not known yet, or not since long. */
async function knownActivity(
  activity: StaleWhileRevalidate<HourlyActivity>,
  nowMs: number,
): Promise<HourlyActivity | null> {
  try {
    const { value, atMs } = await activity.get();
    return nowMs - atMs < activitySettings.usableMs ? everyHour(value, nowMs) : null;
  } catch (error) {
    if (isFailure(error)) return null;
    throw error;
  }
}

function totalOf(reasons: Reasons, reason: string | null): number {
  const counted = reason === null ? reasons : reasons.filter((one) => one.reason === reason);
  return counted.reduce((sum, { count }) => sum + count, 0);
}

function reasonLine({ reason, count }: Reasons[number]): ReasonLine {
  const { meaning, hint } = describeReason(reason);
  // A code that is not known may say anything: it is shown as a code, and not within a sentence of ours.
  const isKnown = quarantineReasons.includes(reason);
  return { reason, count, meaning: isKnown ? meaning : 'This version does not know that reason.', hint };
}

async function quarantinedLine(
  mail: QuarantinedMessage,
  { raw, clock }: Pick<OverviewServicePorts, 'raw' | 'clock'>,
): Promise<QuarantinedLine> {
  const head: HeaderSummary | null = (await within(headerOf(raw, mail), headsMs, clock))?.value ?? null;
  const { mailbox, reason, quarantinedAtMs: sinceMs, sizeBytes } = mail;
  return {
    ...{ id: quarantineId(mail), mailbox, reason, sinceMs, sizeBytes },
    from: head?.from ?? null,
    subject: head?.subject ?? null,
  };
}

/**
 * How the daemon fares, in one look: what `/readyz` tells, and the mailboxes that nobody visits.
 *
 * While the database is away nothing is known of mailboxes and quarantine: what was known last is kept, and told as such.
 */

export type OverviewDataPorts = {
  readonly readiness: () => Promise<Readiness>;
  readonly store: Pick<MailboxStore, 'listMailboxes'>;
  readonly clock: Clock;
};

type Stored = {
  readonly atMs: number;
  readonly mailboxes: readonly ListedMailbox[];
  readonly counts: OverviewView['counts'];
  readonly quarantine: Readiness['checks']['quarantine'];
};

export type OverviewData = Stored & {
  readonly isReady: boolean;
  readonly wrongs: OverviewView['failingChecks'];
  readonly workers: readonly WorkerLine[];
};

/** Each look remembers what the one before it found in the database. */
function overviewDataReader({ readiness, store, clock }: OverviewDataPorts): () => Promise<OverviewData> {
  let last: Stored | null = null;
  let beside: UnpolledMailboxes = { readMs: Number.NEGATIVE_INFINITY, list: [] };
  return async () => {
    const atMs = clock.nowMs();
    const seen = await readiness();
    const { mailboxes, quarantine } = seen.checks;
    if (mailboxes.status === 'unknown' && last !== null) return overviewData(seen, last, last.atMs);
    const { failing, waiting, paused } = mailboxes;
    const listed = new Set(mailboxes.list.map(({ mailbox }) => mailbox));
    if (isOutdated(beside, { nowMs: clock.monotonicMs(), paused, listed }))
      beside = await readUnpolled(store, clock, listed);
    const lines = listedMailboxes(mailboxes.list, beside.list);
    const unknown = lines.filter(({ line }) => line.state === 'unknown').length;
    const counts = { ok: mailboxes.ok - unknown, failing, waiting, paused, unknown };
    const stored = { atMs, counts, quarantine, mailboxes: lines };
    if (mailboxes.status !== 'unknown') last = stored;
    return overviewData(seen, stored, null);
  };
}

/** Mailboxes that are not among the checks. They are seldom others than before: to read all mailboxes is dear. */
type UnpolledMailboxes = { readonly readMs: number; readonly list: readonly StoredMailbox[] };

const unpolledAgeMsMax = 60_000;

function isOutdated(
  { readMs, list }: UnpolledMailboxes,
  { nowMs, paused, listed }: { readonly nowMs: number; readonly paused: number; readonly listed: ReadonlySet<string> },
): boolean {
  if (paused === 0 && list.length === 0) return false;
  return list.length !== paused || nowMs - readMs > unpolledAgeMsMax || list.some(({ name }) => listed.has(name));
}

async function readUnpolled(
  store: OverviewDataPorts['store'],
  clock: Clock,
  listed: ReadonlySet<string>,
): Promise<UnpolledMailboxes> {
  const readMs = clock.monotonicMs();
  return { readMs, list: (await store.listMailboxes()).filter(({ name }) => !listed.has(name)) };
}

/** `oldMs`: when mailboxes and quarantine were read, when that is not now. */
function overviewData({ ready, worker, checks }: Readiness, stored: Stored, oldMs: number | null): OverviewData {
  return {
    ...stored,
    isReady: ready,
    wrongs: failingChecks(checks, oldMs),
    workers: checks.workers.list.map(({ host, pid, live, seen_at }) => ({
      ...{ host, pid, isLive: live, seenAtMs: timestampMs(seen_at) },
      isThisOne: host === worker.host && pid === worker.pid,
    })),
  };
}

function failingChecks(
  { idle: _, ...checks }: Readiness['checks'],
  oldMs: number | null,
): OverviewView['failingChecks'] {
  const told = Object.entries({ ...checks, ...tables(checks) }).map(([check, one]: [string, Check]) => ({
    check,
    ...one,
  }));
  return told.flatMap(({ check, status, reason, hint }) => {
    if (status === 'ok' || reason === null) return [];
    const isOld = oldMs !== null && (check === 'mailboxes' || check === 'quarantine');
    return [{ check, hint, reason: isOld ? `${reason}: shown is what was known at ${isoTime(oldMs)}` : reason }];
  });
}

/** Of what was read from these tables nothing is told here as words of ours: hint of a stored error, names of reasons. */
function tables({ mailboxes, quarantine }: Pick<Readiness['checks'], 'mailboxes' | 'quarantine'>) {
  const { count, reasons } = quarantine;
  const isFailing = mailboxes.status === 'failing';
  return {
    mailboxes: isFailing
      ? { ...mailboxes, hint: 'They are listed below, the first ones, each with its hint.' }
      : mailboxes,
    quarantine: count === 0 ? quarantine : { ...quarantine, reason: quarantineSummary(count, reasons) },
  };
}

function quarantineSummary(count: number, reasons: Readiness['checks']['quarantine']['reasons']): string {
  const known = reasons.filter(({ reason }) => quarantineReasons.includes(reason));
  const rest = known.reduce((left, one) => left - one.count, count);
  const each = [
    ...known.map((one) => `${one.count} ${one.reason}`),
    ...(rest > 0 ? [`${rest} for other reasons`] : []),
  ];
  return `${count} ${count === 1 ? 'mail waits' : 'mails wait'} in quarantine: ${each.join(', ')}`;
}

/** Mails and tickets of the last day, hour by hour. */

const hourMs = 3_600_000;
const hours = 24;

/** When the first of the hours began that are shown at `nowMs`. */
function firstHourMs(nowMs: number): number {
  return Math.floor(nowMs / hourMs) * hourMs - (hours - 1) * hourMs;
}

/** Every hour, also those without any. `known` may lack some, and may go further back. */
function everyHour(known: HourlyActivity, nowMs: number): HourlyActivity {
  const byStart = new Map(known.map((hour) => [hour.startMs, hour]));
  const first = firstHourMs(nowMs);
  return Array.from({ length: hours }, (_, index) => {
    const startMs = first + index * hourMs;
    return byStart.get(startMs) ?? { startMs, messages: 0, tickets: 0 };
  });
}
