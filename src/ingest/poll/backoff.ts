/**
 * When a mailbox is due again: after its interval when all is well, later and later while it fails.
 *
 * A server that says how long to wait is obeyed. Where nobody could reach the server, hosts.ts spaces the visits, and each
 * mailbox waits for a minute at most. After a few refused logins in a row the mailbox is left alone for hours, so
 * that its account is not locked; a change of its row ends that at once (the query for what is due sees to it). Pure;
 * randomness comes in.
 */

import type { Failure, FailureCode } from '../../errors.ts';
import type { Mailbox, PollResult } from '../model.ts';
import { intervalOf } from '../polling-policy.ts';
import type { DueMailbox } from '../stores.ts';
import type { PollSettings } from './poll-context.ts';

/**
 * Milliseconds to wait after `failures` failed polls in a row (1 or more): doubling from the interval, or 15 s if that is
 * shorter, up to a limit. `random` is from 0 to 1: jitter takes away up to a quarter, never adds, so that fifty mailboxes of
 * one server do not come back in the same second.
 */
export function backoffMs(failures: number, intervalMs: number, waitMsMax: number, random: number): number {
  const doublings = Math.min(Math.max(failures, 1) - 1, 20);
  const first = Math.max(1000, Math.min(intervalMs, 15_000));
  const full = Math.min(first * 2 ** doublings, Math.max(waitMsMax, first));
  return Math.round(full * (1 - 0.25 * random));
}

/** What a failed visit writes down. `due` is how the schedule had it; null: somebody asked for the visit. */
export function failedResult(
  failure: Failure,
  mailbox: Mailbox,
  settings: PollSettings,
  due: DueMailbox['due'] | null,
  random: number,
): PollResult {
  const { code, message, hint } = failure;
  const refusedVersion = code === 'login_refused' ? (due?.version ?? null) : null;
  const isPaused = due !== null && suspendsLogins(failure, due, settings);
  const waitMsMax = isServerFailure(failure)
    ? Math.min(settings.backoffMsMax, serverRetryMsMax)
    : settings.backoffMsMax;
  const waitMs = backoffMs((due?.failures ?? 0) + 1, intervalOf(mailbox, settings), waitMsMax, random);
  return {
    ok: false,
    nextPollAfterMs: Math.max(waitMs, askedToWaitMs(failure), isPaused ? settings.loginSuspendMs : 0),
    error: { code, message, hint },
    refusedVersion,
  };
}

/** True for the refused login after which a mailbox is left alone for long. */
export function suspendsLogins(
  { code }: Failure,
  { loginFailures }: Pick<DueMailbox['due'], 'loginFailures'>,
  { loginFailuresMax }: Pick<PollSettings, 'loginFailuresMax'>,
): boolean {
  return code === 'login_refused' && loginFailures + 1 >= loginFailuresMax;
}

/** How long the server has asked to be left alone. */
function askedToWaitMs({ fields }: Failure): number {
  const askedMs = fields['retry_after_ms'];
  return typeof askedMs === 'number' ? askedMs : 0;
}

/**
 * Leaves a mail server (a host and a port) alone while nothing there can be reached, for all its mailboxes together.
 *
 * After two visits in a row that found nobody, its mailboxes are not visited; one of them tries after 2 s, 4 s, 8 s … up to
 * a minute, and when that one gets through, all are visited again. So an outage costs one connection at a time and not
 * one of every mailbox, and ends everywhere within a minute.
 */

/** Nobody was reached who could have said something about one mailbox. */
const unreached: readonly FailureCode[] = ['name_not_found', 'connect_refused', 'connect_timeout', 'not_imap'];
/** Before the user plays a part, a server that breaks off or says nothing does so to everybody. */
const brokenOff: readonly FailureCode[] = ['connection_lost', 'server_timeout', 'tls_failed'];

/**
 * All that host trouble is stored as, and some that is none: to visit those at once when their server is back does no harm.
 * Without `server_busy`: that is mostly a server that asks one user for rest.
 */
export const serverFailureCodes: readonly FailureCode[] = [...unreached, ...brokenOff];

/** A lack on this machine. */
const ownLack = /^(EMFILE|ENFILE|ENOBUFS|ENOMEM|EAI_SYSTEM|EAI_MEMORY)$/;

const beforeUser: readonly unknown[] = ['name', 'connect', 'tls', 'greeting'];

/** True for a failure that says something about all mailboxes of the server. */
export function isServerFailure(failure: Failure): boolean {
  const { code, fields } = failure;
  if (isUnrelatedToServer(failure)) return false;
  if (code === 'server_busy') return fields['stage'] === 'greeting';
  return unreached.includes(code) || (brokenOff.includes(code) && beforeUser.includes(fields['stage']));
}

/** No mailbox waits for longer after host trouble: somebody has to be due when a try is allowed. */
export const serverRetryMsMax = 60_000;

export function isUnrelatedToServer({ domain, fields }: Failure): boolean {
  return (domain !== 'server' && domain !== 'login') || ownLack.test(`${fields['cause']}`);
}
