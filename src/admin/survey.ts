/**
 * How the daemon fares, in one look: what `/readyz` tells, and the mailboxes that nobody visits.
 *
 * While the database is away nothing is known of mailboxes and quarantine: what was known last is kept, and told as such.
 */

import type { Clock } from '../async/clock.ts';
import { knownReasons } from '../ingest/quarantine/reasons.ts';
import type { Check, Readiness } from '../ingest/readiness.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import { isoTime } from '../text/time.ts';
import type { OverviewView, WorkerLine } from './desk.ts';
import { type ListedMailbox, listedMailboxes, type StoredMailbox, timeOf } from './mailbox-lines.ts';

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
export function surveyor({ readiness, store, clock }: SurveyPorts): () => Promise<Survey> {
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
