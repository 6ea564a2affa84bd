/**
 * The overview and the quarantine of the admin page: what they show, and what can be done with a mail there.
 *
 * Nobody waits long for an answer: what was known a moment ago is shown while it is looked at anew (fresh.ts), and a database
 * that is away shows as wrong. Where nothing is known yet it is `database_unavailable`.
 */

import type { Clock } from '../../async/clock.ts';
import { inTime, within } from '../../async/deadline.ts';
import { createFresh, type Fresh } from '../../async/single-flight.ts';
import { type Failure, isFailure } from '../../errors.ts';
import type { QuarantineReader, RawSources } from '../../ingest/ports.ts';
import { headOf, heldId } from '../../ingest/quarantine/read.ts';
import { knownReasons, reasonMeaning } from '../../ingest/quarantine/reasons.ts';
import type { Check, Readiness } from '../../ingest/readiness.ts';
import type { HeldMail, MailboxStore } from '../../ingest/stores.ts';
import type { MailHead } from '../../mail/mime/structured-fields.ts';
import { isoTime } from '../../text/time.ts';
import type { AdminStore } from '../ports.ts';
import type {
  Activity,
  AdminDesk,
  HeldLine,
  OverviewView,
  QuarantineView,
  ReasonLine,
  WorkerLine,
} from '../service.ts';
import {
  chosenMailboxes,
  type ListedMailbox,
  listedMailboxes,
  placeOf,
  type StoredMailbox,
  timeOf,
} from './mailboxes.ts';
import { createSettleDesk, type SettleDeskPorts } from './quarantine.ts';

/** `readiness`: what `/readyz` is made of. */
export type OverviewDeskPorts = SurveyPorts &
  SettleDeskPorts & {
    readonly store: QuarantineReader & Pick<AdminStore, 'activitySince'>;
    readonly raw: Pick<RawSources, 'read'>;
  };

/** Disposing waits for what is being taken out of quarantine. */
export type OverviewDesk = AsyncDisposable & Pick<AdminDesk, 'overview' | 'quarantine' | 'settle'>;

type Reasons = Awaited<ReturnType<QuarantineReader['quarantine']>>['reasons'];

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

export function createOverviewDesk(ports: OverviewDeskPorts): OverviewDesk {
  const { clock, store } = ports;
  const survey = createFresh(surveyor(ports), clock, surveySettings);
  const reasons = createFresh(async () => (await store.quarantine()).reasons, clock, reasonSettings);
  const activity = createFresh(() => store.activitySince(firstHourMs(clock.nowMs())), clock, activitySettings);
  const settling = createSettleDesk(ports, reasons.outdate);
  return {
    overview: async (query) => {
      const known = await survey.ask();
      return overviewOf(known.value, query, {
        trouble: known.trouble,
        activity: await knownActivity(activity, clock.nowMs()),
      });
    },
    quarantine: async (query) => {
      const known = await reasons.ask();
      const { from, ...place } = placeOf(totalOf(known.value, query.reason), query.page, mailsPerPage);
      const mails = await inTime(store.heldPage(query.reason, from, mailsPerPage), waitMs, clock);
      const list = await Promise.all(mails.map((mail) => heldLine(mail, ports)));
      return { query, reasons: known.value.map(reasonLine), mails: { ...place, list } } satisfies QuarantineView;
    },
    settle: settling.settle,
    [Symbol.asyncDispose]: () => settling[Symbol.asyncDispose](),
  };
}

function overviewOf(
  survey: Survey,
  query: OverviewView['query'],
  { trouble, activity }: { readonly trouble: Failure | null; readonly activity: Activity | null },
): OverviewView {
  const chosen = chosenMailboxes(survey.mailboxes, query);
  const { from, ...place } = placeOf(chosen.length, query.page, mailboxesPerPage);
  const { counts, quarantine, workers, atMs } = survey;
  return {
    ...{ atMs, query, counts, workers, activity },
    isReady: survey.isReady && trouble === null,
    wrongs: trouble === null ? survey.wrongs : [troubleLine(trouble), ...survey.wrongs],
    mailboxes: { ...place, list: chosen.slice(from, from + mailboxesPerPage).map(({ line }) => line) },
    quarantine: { count: quarantine.count, reasons: quarantine.reasons.map(reasonLine) },
  };
}

/** Everything below it is older than it should be. */
function troubleLine({ code, message, hint }: Failure): OverviewView['wrongs'][number] {
  return { check: 'overview', reason: `${code}: ${message}; shown is what was known before`, hint };
}

/** null: not known yet, or not since long. */
async function knownActivity(activity: Fresh<Activity>, nowMs: number): Promise<Activity | null> {
  try {
    const { value, atMs } = await activity.ask();
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
  const { meaning, hint } = reasonMeaning(reason);
  // A code that is not known may say anything: it is shown as a code, and not within a sentence of ours.
  const isKnown = knownReasons.includes(reason);
  return { reason, count, meaning: isKnown ? meaning : 'This version does not know that reason.', hint };
}

async function heldLine(mail: HeldMail, { raw, clock }: Pick<OverviewDeskPorts, 'raw' | 'clock'>): Promise<HeldLine> {
  const head: MailHead | null = (await within(headOf(raw, mail), headsMs, clock))?.value ?? null;
  const { mailbox, reason, sinceMs, sizeBytes } = mail;
  return {
    ...{ id: heldId(mail), mailbox, reason, sinceMs, sizeBytes },
    from: head?.from ?? null,
    subject: head?.subject ?? null,
  };
}

/**
 * How the daemon fares, in one look: what `/readyz` tells, and the mailboxes that nobody visits.
 *
 * While the database is away nothing is known of mailboxes and quarantine: what was known last is kept, and told as such.
 */

export type SurveyPorts = {
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

export type Survey = Stored & {
  readonly isReady: boolean;
  readonly wrongs: OverviewView['wrongs'];
  readonly workers: readonly WorkerLine[];
};

/** Each look remembers what the one before it found in the database. */
function surveyor({ readiness, store, clock }: SurveyPorts): () => Promise<Survey> {
  let last: Stored | null = null;
  let beside: Beside = { readMs: Number.NEGATIVE_INFINITY, list: [] };
  return async () => {
    const atMs = clock.nowMs();
    const seen = await readiness();
    const { mailboxes, quarantine } = seen.checks;
    if (mailboxes.status === 'unknown' && last !== null) return surveyOf(seen, last, last.atMs);
    const { failing, waiting, paused } = mailboxes;
    const listed = new Set(mailboxes.list.map(({ mailbox }) => mailbox));
    if (isOutdated(beside, { nowMs: clock.monotonicMs(), paused, listed }))
      beside = await readBeside(store, clock, listed);
    const lines = listedMailboxes(mailboxes.list, beside.list);
    const unknown = lines.filter(({ line }) => line.state === 'unknown').length;
    const counts = { ok: mailboxes.ok - unknown, failing, waiting, paused, unknown };
    const stored = { atMs, counts, quarantine, mailboxes: lines };
    if (mailboxes.status !== 'unknown') last = stored;
    return surveyOf(seen, stored, null);
  };
}

/** Mailboxes that are not among the checks. They are seldom others than before: to read all mailboxes is dear. */
type Beside = { readonly readMs: number; readonly list: readonly StoredMailbox[] };

const besideMsMax = 60_000;

function isOutdated(
  { readMs, list }: Beside,
  { nowMs, paused, listed }: { readonly nowMs: number; readonly paused: number; readonly listed: ReadonlySet<string> },
): boolean {
  if (paused === 0 && list.length === 0) return false;
  return list.length !== paused || nowMs - readMs > besideMsMax || list.some(({ name }) => listed.has(name));
}

async function readBeside(store: SurveyPorts['store'], clock: Clock, listed: ReadonlySet<string>): Promise<Beside> {
  const readMs = clock.monotonicMs();
  return { readMs, list: (await store.listMailboxes()).filter(({ name }) => !listed.has(name)) };
}

/** `oldMs`: when mailboxes and quarantine were read, when that is not now. */
function surveyOf({ ready, worker, checks }: Readiness, stored: Stored, oldMs: number | null): Survey {
  return {
    ...stored,
    isReady: ready,
    wrongs: wrongsOf(checks, oldMs),
    workers: checks.workers.list.map(({ host, pid, live, seen_at }) => ({
      ...{ host, pid, isLive: live, seenAtMs: timeOf(seen_at) },
      isThisOne: host === worker.host && pid === worker.pid,
    })),
  };
}

function wrongsOf({ push: _, ...checks }: Readiness['checks'], oldMs: number | null): OverviewView['wrongs'] {
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
    quarantine: count === 0 ? quarantine : { ...quarantine, reason: heldText(count, reasons) },
  };
}

function heldText(count: number, reasons: Readiness['checks']['quarantine']['reasons']): string {
  const known = reasons.filter(({ reason }) => knownReasons.includes(reason));
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
function everyHour(known: Activity, nowMs: number): Activity {
  const byStart = new Map(known.map((hour) => [hour.startMs, hour]));
  const first = firstHourMs(nowMs);
  return Array.from({ length: hours }, (_, index) => {
    const startMs = first + index * hourMs;
    return byStart.get(startMs) ?? { startMs, mails: 0, tickets: 0 };
  });
}
