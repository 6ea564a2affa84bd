/**
 * Mailbox checks: the verdict on each mailbox, from its row and from what this worker recorded, failing ones first.
 *
 * A mailbox is ok when a message would come in now: where its mail server is away (server-outages.ts), it fails like
 * all others there. A failure recorded here counts even when it could not be stored, until any worker polls the mailbox
 * successfully. Every surface takes the verdict from here.
 */

import { Failure, type FailureCode } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { printableLine } from '../../text/printable.ts';
import { shellCommand } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../model.ts';
import { serverFailureCodes } from '../poll/server-failures.ts';
import { type UidValidityChanges, uidValidityChangesMax } from '../poll/uidvalidity-changes.ts';
import type { PostActionGuard } from '../ports.ts';
import type { Check, CheckStatus, MailboxCheck, OAuthGrantCheck, PushState, Readiness } from '../readiness.ts';
import { endpointName, reasonCode } from './describe.ts';
import type { PollRecord } from './poll-records.ts';
import { outageLookup, outagesInRows, type ServerOutage } from './server-outages.ts';

export type MailboxFacts = {
  /** How polls of this worker ended, by the id of the mailbox. */
  readonly records: ReadonlyMap<string, PollRecord>;
  /** Those that this worker knows; more are in the rows. */
  readonly outages: readonly ServerOutage[];
  readonly vault: Pick<Readiness['checks']['vault'], 'since' | 'hint' | 'key_ids'>;
  /** Grants that are not ready: their mailboxes are not polled. */
  readonly grants: readonly OAuthGrantCheck[];
  readonly uidValidityChanges: Pick<UidValidityChanges, 'count'>;
  /** Since when the connection of the mailbox awaits an answer in vain; null: it does not, or there is none. */
  readonly silentSinceMs: (mailboxId: string) => number | null;
  /** The last byte on a connection of the mailbox in IDLE; null: there is none. */
  readonly heardAtMs: (mailboxId: string) => number | null;
  readonly isUnconfirmed: PostActionGuard['isUnconfirmed'];
  readonly loginFailuresMax: number;
  /** No worker is live: a mailbox that is due is not polled soon. */
  readonly isUnattended?: true;
  /** By the clock of the database. */
  readonly nowMs: number;
  /** How long that clock has not stepped: nothing is overdue for longer. Left out: it never did. */
  readonly steadyMs?: number;
};

/** A mailbox fails when no poll of it has finished for so long after it was due, whatever the reason. */
const overdueMsMax = 15 * 60_000;
const unattendedMsMax = 60_000;
/** Clocks of nodes of one database may differ by so much. */
const skewMsMax = 60_000;
const unconfirmedCode = 'post_action_unconfirmed';
const rank: Readonly<Record<CheckStatus, number>> = { failing: 0, waiting: 1, warning: 2, unknown: 3, ok: 4 };

export const noMailboxes: Readiness['checks']['mailboxes'] = {
  ...{ status: 'unknown', since: null, reason: 'the database does not answer', hint: null },
  ...{ ok: 0, failing: 0, waiting: 0, paused: 0, list: [] },
};

/** Fine for a new installation; later it may be the wrong database. */
const emptyTable: Check = {
  ...{ status: 'warning', since: null, reason: 'no_mailboxes: there is no mailbox in this database' },
  hint: hints.mailboxesMissing,
};

type MailboxWithHealth = Mailbox & { readonly health: MailboxHealth };

export function mailboxChecks(
  all: readonly MailboxWithHealth[],
  facts: MailboxFacts,
  pushOf: (mailbox: Mailbox) => PushState,
): Readiness['checks']['mailboxes'] {
  const active = all.filter((mailbox) => mailbox.state === 'active' || isInvalid(mailbox));
  const verdict = mailboxVerdicts(active, facts);
  const list = active
    .map((mailbox) => mailboxCheck(mailbox, verdict(mailbox), pushOf(mailbox), facts))
    .sort((a, b) => rank[a.status] - rank[b.status]);
  const of = (status: CheckStatus) => list.filter((check) => check.status === status);
  const [failed, waiting] = [of('failing'), of('waiting')];
  const counts = {
    ok: list.length - failed.length - waiting.length,
    failing: failed.length,
    waiting: waiting.length,
    paused: all.length - list.length,
    list,
  };
  if (all.length === 0) return { ...emptyTable, ...counts };
  const first = failed[0] ?? waiting[0];
  if (first === undefined) return { ...unconfirmedCheck(list), ...counts };
  const reason = [
    failed.length > 0 ? failedText(failed, list.length) : '',
    waiting.length > 0 ? `${waiting.length} of ${list.length} wait for a key` : '',
  ];
  const { since, hint } = first;
  return { status: 'failing', since, reason: reason.filter((part) => part !== '').join(', '), hint, ...counts };
}

/** `50 of 50 fail: server mail.example.org:993 with implicit TLS (connect_refused)`. */
function failedText(failed: readonly MailboxCheck[], total: number): string {
  const share = `${failed.length} of ${total} fail`;
  const byServer = [...Map.groupBy(failed, ({ server }) => server ?? '')].filter(([server]) => server !== '');
  const [largest] = byServer.sort(([, a], [, b]) => b.length - a.length);
  if (largest === undefined) return share;
  const [server, concerned] = largest;
  const some = concerned.length === failed.length ? '' : `${concerned.length} of them by `;
  return `${share}: ${some}server ${server} (${reasonCode(concerned[0]?.reason ?? null) ?? 'unreachable'})`;
}

/** Nothing fails: a warning where post-actions wait for a confirmation. */
function unconfirmedCheck(list: readonly MailboxCheck[]): Check {
  const count = list.filter(({ isUnconfirmed }) => isUnconfirmed === true).length;
  if (count === 0) return { status: 'ok', since: null, reason: null, hint: null };
  const reason = `${unconfirmedCode}: messages of ${count} of ${list.length} stay on the server, as delete or move is not confirmed`;
  return { status: 'warning', since: null, reason, hint: hints.mailboxUnconfirmed };
}

function mailboxCheck(
  mailbox: MailboxWithHealth,
  verdict: MailboxVerdict,
  push: PushState,
  facts: MailboxFacts,
): MailboxCheck {
  const { name, connection, health } = mailbox;
  return {
    ...verdict,
    mailbox: name,
    host: connection.host,
    last_success: isoTime(health.lastSuccessAtMs),
    // None begins while the grant gives no tokens.
    next_poll: grantCheckOf(mailbox, facts.grants) === null ? isoTime(health.nextPollAtMs) : null,
    failures: health.failures,
    push,
  };
}

export type MailboxVerdict = Check & Pick<MailboxCheck, 'server' | 'stored' | 'isUnconfirmed'>;

/** `all`: the rows in which outages of mail servers show. */
export function mailboxVerdicts(
  all: readonly MailboxWithHealth[],
  facts: MailboxFacts,
): (mailbox: MailboxWithHealth) => MailboxVerdict {
  const outageOf = outageLookup([...facts.outages, ...outagesInRows(all.map((one) => asOf(one, facts.nowMs)))]);
  return (mailbox) => {
    const row = asOf(mailbox, facts.nowMs);
    return verdictOf(row, outageOf(row), facts);
  };
}

/** A success in the time to come, by a clock that was ahead then, says nothing about what failed since. */
function asOf(mailbox: MailboxWithHealth, nowMs: number): MailboxWithHealth {
  const { health } = mailbox;
  if ((health.lastSuccessAtMs ?? 0) <= nowMs + skewMsMax) return mailbox;
  return { ...mailbox, health: { ...health, lastSuccessAtMs: null } };
}

function verdictOf(mailbox: MailboxWithHealth, outage: ServerOutage | null, facts: MailboxFacts): MailboxVerdict {
  const { id, health, postAction } = mailbox;
  const { nowMs, steadyMs = Number.POSITIVE_INFINITY } = facts;
  const { nextPollAtMs } = health;
  const locked = keyCheckOf(mailbox, facts.vault) ?? grantCheckOf(mailbox, facts.grants);
  if (locked !== null) return locked;
  const own = ownFailure(mailbox, facts);
  // A refused password is refused as well when the server is back.
  if (outage !== null && (own === null || isOfServer(own)) && !isHeardSince(outage, id, facts))
    return { ...failing(outage, null), server: endpointName(outage) };
  const silentSinceMs = facts.silentSinceMs(id);
  if (own === null && silentSinceMs !== null) return failing({ failure: silent, sinceMs: silentSinceMs }, null);
  if (own !== null) return failing(own, health.loginFailures >= facts.loginFailuresMax ? health.loginFailures : null);
  const waitMsMax = facts.isUnattended === true ? unattendedMsMax : overdueMsMax;
  if (nextPollAtMs !== null && Math.min(nowMs - nextPollAtMs, steadyMs) > waitMsMax) {
    const reason = 'overdue: no poll has finished since it was due';
    return { status: 'failing', since: isoTime(nextPollAtMs), reason, hint: hints.mailboxOverdue };
  }
  if (facts.isUnconfirmed(mailbox, health.settingsSeal)) {
    const reason = `${unconfirmedCode}: ${postAction.kind} waits, since no command has confirmed these settings`;
    return { status: 'warning', since: null, reason, hint: hints.mailboxUnconfirmed, isUnconfirmed: true };
  }
  const changes = facts.uidValidityChanges.count(id);
  if (changes > uidValidityChangesMax) return { status: 'warning', since: null, ...unstable(changes) };
  return { status: 'ok', since: null, reason: null, hint: null };
}

type ShownFailure = Pick<ServerOutage, 'failure' | 'sinceMs' | 'isStored'>;

/** Of the last poll, as this worker recorded or any worker stored it; null: it succeeded. */
function ownFailure({ id, health }: MailboxWithHealth, { records }: MailboxFacts): ShownFailure | null {
  const { lastError, failures, failingSinceMs, lastSuccessAtMs } = health;
  const record = records.get(id);
  // A newer success is that of another worker.
  if (record !== undefined && record.failure !== null && record.atMs >= (lastSuccessAtMs ?? 0))
    return { failure: record.failure, sinceMs: failingSinceMs ?? record.sinceMs };
  if (failures === 0 || lastError === null) return null;
  const { code, message, hint, atMs } = lastError;
  // The row follows a moment after the success.
  if (record !== undefined && record.failure === null && record.atMs >= atMs) return null;
  return { failure: { code: code as FailureCode, message, hint }, sinceMs: failingSinceMs ?? atMs, isStored: true };
}

const silent = new Failure('server_timeout', 'The server does not answer.');

/** The server refuses new connections, as when it has too many, and serves the one in IDLE. */
function isHeardSince({ sinceMs }: ServerOutage, id: string, facts: MailboxFacts): boolean {
  return facts.silentSinceMs(id) === null && (facts.heardAtMs(id) ?? 0) > sinceMs;
}

function isOfServer({ failure }: ShownFailure): boolean {
  return serverFailureCodes.includes(failure.code);
}

/** null: the key of its password is open, or it needs none. */
function keyCheckOf({ health: { password } }: MailboxWithHealth, vault: MailboxFacts['vault']): Check | null {
  const { form, keyId } = password;
  if (form !== 'sealed' || keyId === null || vault.key_ids.includes(keyId)) return null;
  const reason = `waiting: its password is sealed under ${keyText(keyId)}, which is not open here`;
  return { status: 'waiting', since: vault.since, reason, hint: vault.hint ?? hints.mailboxWaiting };
}

/** The failure of the grant, with the name of this mailbox in the command. A session that was open then continues. */
function grantCheckOf({ name, grant, health }: MailboxWithHealth, grants: readonly OAuthGrantCheck[]): Check | null {
  if (grant === null) return null;
  const check = grants.find((one) => one.grant === printableLine(grant));
  if (check === undefined) return null;
  const { status, since, state } = check;
  const command = state === 'needs_consent' ? shellCommand('mailbox authorize', name) : null;
  const isReadSince = since !== null && (health.lastSuccessAtMs ?? 0) > Date.parse(since);
  const reason = isReadSince ? `${check.reason}; it was read since, over a connection that was open` : check.reason;
  return { status, since, reason, hint: command === null ? check.hint : `Sign in again: ${command}` };
}

/** The column may hold anything. */
function keyText(keyId: string): string {
  return /^[0-9a-f]{16}$/.test(keyId) ? `key ${keyId}` : 'a key with an invalid id';
}

/** A warning only: nothing is lost, but every message is fetched again each time. */
function unstable(count: number): Pick<Check, 'reason' | 'hint'> {
  return {
    reason: `uidvalidity_unstable: the UIDVALIDITY of the folder changed ${countText(count, 'time')} within a day`,
    hint: hints.mailboxUnstable,
  };
}

/** `refusals`: the number of refused logins after which logins are suspended. */
function failing({ failure, sinceMs, isStored }: ShownFailure, refusals: number | null): MailboxVerdict {
  const { code, message, hint } = failure;
  const suspended =
    refusals === null
      ? ''
      : ` Logins are suspended after ${refusals} refused logins, so that the account is not locked.`;
  const stored = isStored === true ? { stored: { code, message } } : {};
  return { status: 'failing', since: isoTime(sinceMs), reason: `${code}: ${message}${suspended}`, hint, ...stored };
}
