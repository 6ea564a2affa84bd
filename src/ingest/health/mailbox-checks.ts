/**
 * Mailbox checks: one for each mailbox, from its row and from what this worker recorded, failing ones first.
 *
 * A failure recorded here counts even when it could not be stored, until any worker polls the mailbox successfully.
 */
import type { Failure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { printableLine } from '../../text/printable.ts';
import { shellCommand } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../model.ts';
import { type UidValidityChanges, uidValidityChangesMax } from '../poll/uidvalidity-changes.ts';
import type { PostActionGuard } from '../ports.ts';
import type { Check, CheckStatus, MailboxCheck, OAuthGrantCheck, Readiness } from '../readiness.ts';

/** The last failure of this worker at a mailbox, and since when it has failed there; milliseconds since 1970. */
export type MailboxTrouble = { readonly failure: Failure; readonly sinceMs: number; readonly atMs: number };

export type MailboxFacts = {
  readonly troubles: ReadonlyMap<string, MailboxTrouble>;
  readonly vault: Readiness['checks']['vault'];
  /** Grants that are not ready: their mailboxes are not polled. */
  readonly grants: readonly OAuthGrantCheck[];
  readonly uidValidityChanges: Pick<UidValidityChanges, 'count'>;
  readonly isIdling: (mailboxId: string) => boolean;
  readonly isUnconfirmed: PostActionGuard['isUnconfirmed'];
  readonly loginFailuresMax: number;
  readonly nowMs: number;
};

/** A mailbox fails when no poll of it has finished for so long after it was due, whatever the reason. */
const overdueMsMax = 15 * 60_000;
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
): Readiness['checks']['mailboxes'] {
  const active = all.filter((mailbox) => mailbox.state === 'active' || isInvalid(mailbox));
  const list = active.map((mailbox) => mailboxCheck(mailbox, facts)).sort((a, b) => rank[a.status] - rank[b.status]);
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
    failed.length > 0 ? `${failed.length} of ${list.length} fail` : '',
    waiting.length > 0 ? `${waiting.length} of ${list.length} wait for a key` : '',
  ];
  const { since, hint } = first;
  return { status: 'failing', since, reason: reason.filter((part) => part !== '').join(', '), hint, ...counts };
}

/** Nothing fails: a warning where post-actions wait for a confirmation. */
function unconfirmedCheck(list: readonly MailboxCheck[]): Check {
  const count = list.filter(({ isUnconfirmed }) => isUnconfirmed === true).length;
  if (count === 0) return { status: 'ok', since: null, reason: null, hint: null };
  const reason = `${unconfirmedCode}: messages of ${count} of ${list.length} stay on the server, as delete or move is not confirmed`;
  return { status: 'warning', since: null, reason, hint: hints.mailboxUnconfirmed };
}

function mailboxCheck(mailbox: MailboxWithHealth, facts: MailboxFacts): MailboxCheck {
  const { id, name, connection, health } = mailbox;
  return {
    ...stateOf(mailbox, facts),
    mailbox: name,
    host: connection.host,
    last_success: isoTime(health.lastSuccessAtMs),
    // None begins while the grant gives no tokens.
    next_poll: grantCheckOf(mailbox, facts.grants) === null ? isoTime(health.nextPollAtMs) : null,
    failures: health.failures,
    idling: facts.isIdling(id),
  };
}

type StateCheck = Check & Pick<MailboxCheck, 'stored' | 'isUnconfirmed'>;

function stateOf(mailbox: MailboxWithHealth, facts: MailboxFacts): StateCheck {
  const { id, health, postAction } = mailbox;
  const { troubles, nowMs, loginFailuresMax } = facts;
  const { lastError, failures, failingSinceMs, lastSuccessAtMs, nextPollAtMs, loginFailures } = health;
  const locked = keyCheckOf(mailbox, facts.vault) ?? grantCheckOf(mailbox, facts.grants);
  if (locked !== null) return locked;
  const isSuspended = loginFailures >= loginFailuresMax;
  const trouble = troubles.get(id);
  // A newer success is that of another worker.
  if (trouble !== undefined && trouble.atMs >= (lastSuccessAtMs ?? 0)) {
    const { code, message, hint } = trouble.failure;
    return failing(code, message, hint, failingSinceMs ?? trouble.sinceMs, isSuspended ? loginFailures : null);
  }
  if (failures > 0 && lastError !== null) {
    const { code, message, hint, atMs } = lastError;
    const check = failing(code, message, hint, failingSinceMs ?? atMs, isSuspended ? loginFailures : null);
    return { ...check, stored: { code, message } };
  }
  if (nextPollAtMs !== null && nowMs - nextPollAtMs > overdueMsMax) {
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
    reason: `uidvalidity_unstable: the UIDVALIDITY of the folder changed ${count} times within a day`,
    hint: hints.mailboxUnstable,
  };
}

function failing(code: string, message: string, hint: string, sinceMs: number, refusals: number | null): Check {
  const suspended =
    refusals === null
      ? ''
      : ` Logins are suspended after ${refusals} refused logins, so that the account is not locked.`;
  return { status: 'failing', since: isoTime(sinceMs), reason: `${code}: ${message}${suspended}`, hint };
}
