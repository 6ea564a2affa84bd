/**
 * View models of the overview and the quarantine.
 *
 * Data are cached for 1 s and looked up by one query at a time (stale-while-revalidate): no request waits long, and
 * older data show with a failing check while the database is unavailable. Throws `database_unavailable` while there are
 * no data at all.
 */
import type { Clock } from '../../async/clock.ts';
import { withDatabaseDeadline, within } from '../../async/deadline.ts';
import { type StaleWhileRevalidate, staleWhileRevalidate } from '../../async/single-flight.ts';
import { type Failure, hintOf, isFailure } from '../../errors.ts';
import { describeChecks } from '../../ingest/health/describe.ts';
import type { Mailbox, MailboxHealth } from '../../ingest/model.ts';
import type { QuarantineReader, RawSources } from '../../ingest/ports.ts';
import { headerOf, quarantineId } from '../../ingest/quarantine/read.ts';
import { describeReason, isQuarantineReason } from '../../ingest/quarantine/reasons.ts';
import type { CheckStatus, MailboxCheck, Readiness } from '../../ingest/readiness.ts';
import type { MailboxStore, QuarantinedMessage, QuarantineStore } from '../../ingest/stores.ts';
import { withMailboxName } from '../../text/hints.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';
import type { AdminStore } from '../ports.ts';
import type {
  AdminService,
  FailingCheck,
  HourlyActivity,
  ListPage,
  MailboxLine,
  OverviewQuery,
  OverviewView,
  QuarantinedLine,
  ReasonLine,
  WorkerLine,
} from '../service.ts';

/** `readiness`: what `/readyz` is made of. */
export type OverviewPorts = OverviewDataPorts & {
  readonly store: QuarantineReader & QuarantineStore & Pick<AdminStore, 'activitySince'>;
  readonly raw: Pick<RawSources, 'read'>;
  /** Size limit of a message. */
  readonly sizeBytesMax: number;
};

export type OverviewViews = Pick<AdminService, 'overview' | 'quarantine'> & {
  /** A message left quarantine: the cached counts are outdated. */
  quarantineChanged(): void;
  /** A mailbox was added, changed or removed. */
  mailboxesChanged(): void;
};

type ReasonCounts = Awaited<ReturnType<QuarantineReader['quarantineCounts']>>['reasons'];

const mailboxesPerPage = 50;
const messagesPerPage = 25;
const cache = { freshMs: 1000, usableMs: 30_000, quickMs: 25, waitMs: 3000 };
/**
 * Counting a day of outcomes may be slow: it takes at most 1/400 of the time, and the page shows without it meanwhile.
 */
const activityCache = {
  ...{ freshMs: (tookMs: number) => Math.max(cache.freshMs, 400 * tookMs), usableMs: 10 * 60_000 },
  ...{ quickMs: cache.quickMs, waitMs: cache.quickMs },
};
/** Headers of messages are read from the disk. */
const headerWaitMs = 1000;

export function createOverviewViews(ports: OverviewPorts): OverviewViews {
  const { clock, store } = ports;
  const data = staleWhileRevalidate(overviewDataReader(ports), clock, cache);
  const reasons = staleWhileRevalidate(async () => (await store.quarantineCounts()).reasons, clock, cache);
  const activity = staleWhileRevalidate(() => store.activitySince(firstHourMs(clock.nowMs())), clock, activityCache);
  return {
    overview: async (query) => {
      const { value, trouble } = await data.get();
      return overviewView(value, trouble, query, await readActivity(activity, clock.nowMs()));
    },
    quarantine: async (query) => {
      const { value } = await reasons.get();
      const { from, ...bounds } = pageBounds(totalOf(value, query.reason), query.page, messagesPerPage);
      const stored = store.quarantinePage(query.reason, from, messagesPerPage);
      const messages = await withDatabaseDeadline(stored, cache.waitMs, clock);
      const list = await Promise.all(messages.map((message) => quarantinedLine(message, ports)));
      return { query, reasons: value.map(reasonLine), messages: { ...bounds, list }, sizeBytesMax: ports.sizeBytesMax };
    },
    quarantineChanged: reasons.invalidate,
    mailboxesChanged: data.invalidate,
  };
}

function overviewView(
  data: OverviewData,
  trouble: Failure | null,
  query: OverviewView['query'],
  activity: HourlyActivity | null,
): OverviewView {
  const selected = selectMailboxes(data.mailboxes, query);
  const { from, ...bounds } = pageBounds(selected.length, query.page, mailboxesPerPage);
  const { counts, quarantine, workers, atMs, isReady, failingChecks } = data;
  return {
    ...{ atMs, query, counts, workers, activity },
    isReady: isReady && trouble === null,
    failingChecks: trouble === null ? failingChecks : [staleDataCheck(trouble), ...failingChecks],
    mailboxes: { ...bounds, list: selected.slice(from, from + mailboxesPerPage).map(({ line }) => line) },
    quarantine: { count: quarantine.count, reasons: quarantine.reasons.map(reasonLine) },
  };
}

/** Everything on the page is older than it should be. */
function staleDataCheck({ code, message, hint }: Failure): FailingCheck {
  return { check: 'overview', isWarning: false, reason: `${code}: ${message}; the data below are older`, hint };
}

/** null: not counted yet, or too long ago. */
async function readActivity(
  activity: StaleWhileRevalidate<HourlyActivity>,
  nowMs: number,
): Promise<HourlyActivity | null> {
  try {
    const { value, atMs } = await activity.get();
    return nowMs - atMs < activityCache.usableMs ? everyHour(value, nowMs) : null;
  } catch (error) {
    if (isFailure(error)) return null;
    throw error;
  }
}

function totalOf(reasons: ReasonCounts, reason: string | null): number {
  const counted = reason === null ? reasons : reasons.filter((one) => one.reason === reason);
  return counted.reduce((sum, { count }) => sum + count, 0);
}

function reasonLine({ reason, count }: ReasonCounts[number]): ReasonLine {
  const { meaning, hint } = describeReason(reason);
  // An unknown code may be any text of the table: it shows as a code, never inside a sentence.
  const isKnown = isQuarantineReason(reason);
  return { reason, count, meaning: isKnown ? meaning : 'This version does not know that reason.', hint };
}

async function quarantinedLine(
  message: QuarantinedMessage,
  { raw, clock }: Pick<OverviewPorts, 'raw' | 'clock'>,
): Promise<QuarantinedLine> {
  const header = (await within(headerOf(raw, message), headerWaitMs, clock))?.value ?? null;
  const { mailbox, reason, quarantinedAtMs: sinceMs, sizeBytes } = message;
  return {
    ...{ id: quarantineId(message), mailbox, reason, sinceMs, sizeBytes },
    from: header?.from ?? null,
    subject: header?.subject ?? null,
  };
}

// Data of the overview: readiness, and the mailboxes that are not polled. While the database is unavailable, mailboxes
// and quarantine show as read last, and the check says when that was.

export type OverviewDataPorts = {
  readonly readiness: () => Promise<Readiness>;
  readonly store: Pick<MailboxStore, 'listMailboxes'>;
  readonly clock: Clock;
};

type DatabaseData = {
  readonly atMs: number;
  readonly mailboxes: readonly ListedMailbox[];
  readonly counts: OverviewView['counts'];
  readonly quarantine: Readiness['checks']['quarantine'];
};

type OverviewData = DatabaseData & {
  readonly isReady: boolean;
  readonly failingChecks: OverviewView['failingChecks'];
  readonly workers: readonly WorkerLine[];
};

/** Each lookup remembers the data of the database, for the next one. */
function overviewDataReader({ readiness, store, clock }: OverviewDataPorts): () => Promise<OverviewData> {
  let last: DatabaseData | null = null;
  let unpolled: UnpolledMailboxes = { readMs: Number.NEGATIVE_INFINITY, list: [] };
  return async () => {
    const atMs = clock.nowMs();
    const current = await readiness();
    const { mailboxes, quarantine } = current.checks;
    if (mailboxes.status === 'unknown' && last !== null) return overviewData(current, last, last.atMs);
    const { failing, waiting, paused } = mailboxes;
    const polled = new Set(mailboxes.list.map(({ mailbox }) => mailbox));
    if (isOutdated(unpolled, clock.monotonicMs(), paused, polled)) {
      const readMs = clock.monotonicMs();
      unpolled = { readMs, list: (await store.listMailboxes()).filter(({ name }) => !polled.has(name)) };
    }
    const lines = listedMailboxes(mailboxes.list, unpolled.list);
    const unknown = lines.filter(({ line }) => line.state === 'unknown').length;
    const counts = { ok: mailboxes.ok - unknown, failing, waiting, paused, unknown };
    const data = { atMs, counts, quarantine, mailboxes: lines };
    if (mailboxes.status !== 'unknown') last = data;
    return overviewData(current, data, null);
  };
}

/** Mailboxes that have no check. They change rarely, and reading all mailboxes is slow. */
type UnpolledMailboxes = { readonly readMs: number; readonly list: readonly StoredMailbox[] };

const unpolledAgeMsMax = 60_000;

function isOutdated(
  { readMs, list }: UnpolledMailboxes,
  nowMs: number,
  paused: number,
  polled: ReadonlySet<string>,
): boolean {
  if (paused === 0 && list.length === 0) return false;
  return list.length !== paused || nowMs - readMs > unpolledAgeMsMax || list.some(({ name }) => polled.has(name));
}

/** `staleSinceMs`: when mailboxes and quarantine were read, if not now. */
function overviewData(
  { ready, worker, checks }: Readiness,
  data: DatabaseData,
  staleSinceMs: number | null,
): OverviewData {
  return {
    ...data,
    isReady: ready,
    failingChecks: failingChecks(checks, staleSinceMs),
    workers: checks.workers.list.map(({ host, pid, live, seen_at }) => ({
      ...{ host, pid, isLive: live, seenAtMs: timestampMs(seen_at) },
      isThisOne: host === worker.host && pid === worker.pid,
    })),
  };
}

function failingChecks(checks: Readiness['checks'], staleSinceMs: number | null): readonly FailingCheck[] {
  return describeChecks({ ...checks, ...withoutTableTexts(checks) }).flatMap(
    ({ name: check, status, reason, hint }) => {
      if (status === 'ok' || reason === null) return [];
      const isStale = staleSinceMs !== null && (check === 'mailboxes' || check === 'quarantine');
      const text = isStale ? `${reason}: the data are from ${isoTime(staleSinceMs)}` : reason;
      return [{ check, isWarning: status === 'warning', hint, reason: text }];
    },
  );
}

/**
 * Hints of stored errors and unknown reasons are texts of the tables: sentences of this program do not contain them.
 */
function withoutTableTexts({ mailboxes, quarantine }: Pick<Readiness['checks'], 'mailboxes' | 'quarantine'>) {
  const { count, reasons } = quarantine;
  const isFailing = mailboxes.status === 'failing';
  return {
    mailboxes: isFailing ? { ...mailboxes, hint: 'They are listed first below, each with its hint.' } : mailboxes,
    quarantine: count === 0 ? quarantine : { ...quarantine, reason: quarantineSummary(count, reasons) },
  };
}

function quarantineSummary(count: number, reasons: Readiness['checks']['quarantine']['reasons']): string {
  const known = reasons.filter(({ reason }) => isQuarantineReason(reason));
  const rest = known.reduce((left, one) => left - one.count, count);
  const each = [
    ...known.map((one) => `${one.count} ${one.reason}`),
    ...(rest > 0 ? [`${rest} for other reasons`] : []),
  ];
  return `${count} ${count === 1 ? 'message' : 'messages'} in quarantine: ${each.join(', ')}`;
}

const hourMs = 3_600_000;
const hours = 24;

/** Start of the first hour that the chart shows at `nowMs`. */
function firstHourMs(nowMs: number): number {
  return Math.floor(nowMs / hourMs) * hourMs - (hours - 1) * hourMs;
}

/** All hours of the chart; those that `counted` lacks have zeros. */
function everyHour(counted: HourlyActivity, nowMs: number): HourlyActivity {
  const byStart = new Map(counted.map((hour) => [hour.startMs, hour]));
  const first = firstHourMs(nowMs);
  return Array.from({ length: hours }, (_, index) => {
    const startMs = first + index * hourMs;
    return byStart.get(startMs) ?? { startMs, messages: 0, tickets: 0 };
  });
}

// Mailbox list: failing mailboxes first, then by name; filter, search and pagination.

/** `words`: searched, lower-case. */
type ListedMailbox = { readonly line: MailboxLine; readonly words: readonly [name: string, host: string] };

type StoredMailbox = Mailbox & { readonly health: MailboxHealth };

const order: readonly CheckStatus[] = ['failing', 'waiting', 'warning', 'unknown', 'ok'];
const collator = new Intl.Collator('en');

/** `unpolled`: mailboxes that have no check. */
export function listedMailboxes(
  checks: readonly MailboxCheck[],
  unpolled: readonly StoredMailbox[],
): readonly ListedMailbox[] {
  const active = checks.map((check) => ({ rank: order.indexOf(check.status), line: checkedLine(check) }));
  const paused = unpolled.map((mailbox) => ({ rank: order.indexOf('ok'), line: pausedLine(mailbox) }));
  return [...active, ...paused]
    .sort((a, b) => a.rank - b.rank || collator.compare(a.line.name, b.line.name))
    .map(({ line }) => ({ line, words: [line.name.toLowerCase(), line.host.toLowerCase()] }));
}

function checkedLine(check: MailboxCheck): MailboxLine {
  const { mailbox, host, last_success: success } = check;
  return {
    name: mailbox,
    host,
    state: stateOf(check),
    lastSuccessMs: timestampMs(success),
    nextPollMs: timestampMs(check.next_poll),
    push: check.push,
    isUnconfirmed: check.isUnconfirmed === true,
    needsConsent: (check.stored?.code ?? check.reason?.split(':', 1)[0]) === 'oauth_needs_consent',
    error: errorOf(check),
  };
}

/** A mailbox with a warning is polled like any other. */
function stateOf({ status, last_success: success }: MailboxCheck): MailboxLine['state'] {
  if (status !== 'ok' && status !== 'warning') return status;
  return success === null ? 'unknown' : 'ok';
}

const unknownError = 'an error that this version does not know';

/**
 * A stored error: its hint is one of this program, and its message is quoted, because the table may be forged. An
 * error of this worker since its start contains texts of this program only. Commands of a hint name the mailbox.
 */
function errorOf({ mailbox, reason, hint, since, stored }: MailboxCheck): MailboxLine['error'] {
  if (reason === null) return null;
  const sinceMs = timestampMs(since);
  const named = (text: string): string => withMailboxName(text, mailbox);
  if (stored === undefined) return { reason, storedMessage: null, hint: hint === null ? null : named(hint), sinceMs };
  const { code, message } = stored;
  const known = hintOf(code);
  // The check appends its own text to the stored message.
  const added = reason.slice(`${code}: ${message}`.length).trim();
  const advice = [added, known === null ? '' : (hint ?? known)].filter((part) => part !== '').join(' ');
  return {
    ...{ reason: known === null ? unknownError : code, storedMessage: message === '' ? null : message },
    ...{ hint: advice === '' ? null : named(advice), sinceMs },
  };
}

function pausedLine({ name, connection, state, health }: StoredMailbox): MailboxLine {
  const reason = 'its removal was interrupted';
  const hint = `Remove it again: ${commandOrNotice(shellCommand('mailbox remove', name))}`;
  return {
    ...{ name, host: connection.host, state: 'paused', lastSuccessMs: health.lastSuccessAtMs },
    ...{ nextPollMs: null, push: null, isUnconfirmed: false, needsConsent: false },
    error: state === 'removing' ? { reason, storedMessage: null, hint, sinceMs: null } : null,
  };
}

/** From ISO 8601; null for anything else. */
function timestampMs(iso: string | null): number | null {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  return Number.isNaN(ms) ? null : ms;
}

function selectMailboxes(all: readonly ListedMailbox[], { show, search }: OverviewQuery): readonly ListedMailbox[] {
  if (show === 'all' && search === '') return all;
  return all.filter(
    ({ line, words }) => (show === 'all' || line.state === show) && words.some((word) => word.includes(search)),
  );
}

/** Pages count from 1; a page after the last is the last. `from`: index of its first entry, from 0. */
function pageBounds(
  total: number,
  page: number,
  size: number,
): Omit<ListPage<never>, 'list'> & { readonly from: number } {
  const pages = Math.max(1, Math.ceil(total / size));
  const shown = Math.min(Math.max(1, Math.trunc(page) || 1), pages);
  return { page: shown, pages, total, from: (shown - 1) * size };
}
