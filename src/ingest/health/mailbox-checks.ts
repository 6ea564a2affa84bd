/**
 * How the mailboxes fare, out of their rows and of what this worker has seen: one check each, those in trouble first.
 *
 * A failure here counts even when it could not be written down, and is forgotten when another worker succeeded after it.
 */
import type { Failure } from '../../errors.ts';
import { isoTime } from '../../text/time.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../model.ts';
import { type Renumberings, renumberingsMax } from '../poll/cursor.ts';
import type { Check, CheckStatus, MailboxCheck, Readiness } from '../readiness.ts';

export type Trouble = { readonly failure: Failure; readonly sinceMs: number; readonly atMs: number };

export type MailboxFacts = {
  readonly troubles: ReadonlyMap<string, Trouble>;
  readonly vault: Readiness['checks']['vault'];
  readonly renumberings: Pick<Renumberings, 'count'>;
  readonly isPushed: (mailboxId: string) => boolean;
  readonly loginRefusalsMax: number;
  readonly nowMs: number;
};

/** A mailbox that nobody could finish a visit to for so long after it was due is in trouble, whatever the reason. */
const overdueMsMax = 15 * 60_000;
const waitingHint = 'Put the key file with that key back from its backup, or set the password anew.';
const order: readonly CheckStatus[] = ['failing', 'waiting', 'warning', 'unknown', 'ok'];

export const noMailboxes: Readiness['checks']['mailboxes'] = {
  ...{ status: 'unknown', since: null, reason: 'the database does not answer', hint: null },
  ...{ ok: 0, failing: 0, waiting: 0, paused: 0, list: [] },
};

/** Nothing is wrong with that at the start; later it may be another database than the one that people think of. */
const nobody: Check = {
  ...{ status: 'warning', since: null, reason: 'no_mailboxes: there is no mailbox in this database' },
  hint: 'Add one: ticketmaild mailbox add. If there should be some: is it the right [database] url?',
};

type Listed = Mailbox & { readonly health: MailboxHealth };

export function mailboxChecks(all: readonly Listed[], facts: MailboxFacts): Readiness['checks']['mailboxes'] {
  const active = all.filter((mailbox) => mailbox.state === 'active' || isInvalid(mailbox));
  const list = active
    .map((mailbox) => mailboxCheck(mailbox, facts))
    .sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status));
  const of = (status: CheckStatus) => list.filter((check) => check.status === status);
  const [failed, waiting] = [of('failing'), of('waiting')];
  const counts = {
    ok: list.length - failed.length - waiting.length,
    failing: failed.length,
    waiting: waiting.length,
    paused: all.length - list.length,
    list,
  };
  if (all.length === 0) return { ...nobody, ...counts };
  const first = failed[0] ?? waiting[0];
  if (first === undefined) return { status: 'ok', since: null, reason: null, hint: null, ...counts };
  const reason = [
    failed.length > 0 ? `${failed.length} of ${list.length} fail` : '',
    waiting.length > 0 ? `${waiting.length} of ${list.length} wait for a key` : '',
  ];
  const { since, hint } = first;
  return { status: 'failing', since, reason: reason.filter((part) => part !== '').join(', '), hint, ...counts };
}

function mailboxCheck(mailbox: Listed, facts: MailboxFacts): MailboxCheck {
  const { id, name, connection, health } = mailbox;
  return {
    ...stateOf(mailbox, facts),
    mailbox: name,
    host: connection.host,
    last_success: isoTime(health.lastSuccessAtMs),
    next_poll: isoTime(health.nextPollAtMs),
    failures: health.failures,
    pushed: facts.isPushed(id),
  };
}

function stateOf({ id, health }: Listed, facts: MailboxFacts): Check & Pick<MailboxCheck, 'stored'> {
  const { troubles, vault, nowMs, loginRefusalsMax } = facts;
  const { lastError, failures, failingSinceMs, lastSuccessAtMs, nextPollAtMs, password, loginRefusals } = health;
  if (password.form === 'sealed' && password.keyId !== null && !vault.key_ids.includes(password.keyId)) {
    const reason = `waiting: its password is sealed by ${keyText(password.keyId)}, which is not open here`;
    return { status: 'waiting', since: vault.since, reason, hint: vault.hint ?? waitingHint };
  }
  const isPaused = loginRefusals >= loginRefusalsMax;
  const trouble = troubles.get(id);
  // A success that is newer was another worker's.
  if (trouble !== undefined && trouble.atMs >= (lastSuccessAtMs ?? 0)) {
    const { code, message, hint } = trouble.failure;
    return failing(code, message, hint, failingSinceMs ?? trouble.sinceMs, isPaused ? loginRefusals : null);
  }
  if (failures > 0 && lastError !== null) {
    const { code, message, hint, atMs } = lastError;
    const check = failing(code, message, hint, failingSinceMs ?? atMs, isPaused ? loginRefusals : null);
    return { ...check, stored: { code, message } };
  }
  if (nextPollAtMs !== null && nowMs - nextPollAtMs > overdueMsMax) {
    const reason = 'overdue: it was due, and no visit has been finished since';
    const hint = 'A visit is taking very long, or all places are taken: see the log and [poll] concurrency_max.';
    return { status: 'failing', since: isoTime(nextPollAtMs), reason, hint };
  }
  const renumbered = facts.renumberings.count(id);
  if (renumbered > renumberingsMax) return { status: 'warning', since: null, ...unstable(renumbered) };
  return { status: 'ok', since: null, reason: null, hint: null };
}

/** The column may hold anything. */
function keyText(keyId: string): string {
  return /^[0-9a-f]{16}$/.test(keyId) ? `key ${keyId}` : 'a key whose id is none';
}

/** Nothing is lost by it: it is told because every mail is fetched again each time. */
function unstable(count: number): Pick<Check, 'reason' | 'hint'> {
  return {
    reason: `folder_unstable: the server numbered the folder anew ${count} times within a day`,
    hint: 'Each time all its mail is fetched to be recognised, so it is visited once an hour. Have the server keep its UIDVALIDITY (its index files, or the storage of the folder).',
  };
}

function failing(code: string, message: string, hint: string, sinceMs: number, refusals: number | null): Check {
  const paused =
    refusals === null ? '' : ` It is left alone after ${refusals} refused logins, so that the account is not locked.`;
  return { status: 'failing', since: isoTime(sinceMs), reason: `${code}: ${message}${paused}`, hint };
}
