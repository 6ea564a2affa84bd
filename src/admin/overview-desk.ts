/**
 * The overview and the quarantine of the admin page: what they show, and what can be done with a mail there.
 *
 * Nobody waits long for an answer: what was known a moment ago is shown while it is looked at anew (fresh.ts), and a database
 * that is away shows as wrong. Where nothing is known yet it is `database_unavailable`.
 */

import { inTime, within } from '../async/deadline.ts';
import { createFresh, type Fresh } from '../async/single-flight.ts';
import type { Failure } from '../errors.ts';
import { isFailure } from '../errors.ts';
import type { QuarantineReader, RawSources } from '../ingest/ports.ts';
import { headOf, heldId } from '../ingest/quarantine/read.ts';
import { knownReasons, reasonMeaning } from '../ingest/quarantine/reasons.ts';
import type { HeldMail } from '../ingest/stores.ts';
import type { MailHead } from '../mail/mime/structured-fields.ts';
import type { Activity, AdminDesk, HeldLine, OverviewView, QuarantineView, ReasonLine } from './desk.ts';
import { everyHour, firstHourMs } from './hours.ts';
import { chosenMailboxes, placeOf } from './mailbox-lines.ts';
import type { AdminStore } from './ports.ts';
import { createSettleDesk, type SettleDeskPorts } from './settle-desk.ts';
import { type Survey, type SurveyPorts, surveyor } from './survey.ts';

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
