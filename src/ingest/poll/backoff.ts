/**
 * Exponential backoff with jitter: how long a mailbox waits after a failed poll.
 *
 * A server that says how long to wait is obeyed. A refused access token is no refused password: no number of them locks
 * an account, and a new one is requested, so that logins are never suspended. Where the server itself is at fault, the
 * circuit breaker spaces the attempts and a mailbox waits for a minute at most. After a few refused logins in a row,
 * logins are suspended for hours, so that the account is not locked; a change of the mailbox's row ends that (the query
 * for due mailboxes sees to it). Pure; randomness is passed in.
 */
import type { Failure } from '../../errors.ts';
import type { Mailbox, PollResult } from '../model.ts';
import { intervalOf, waitAfterFailureMs } from '../polling-policy.ts';
import type { DueMailbox } from '../stores.ts';
import type { PollSettings } from './poll-context.ts';
import { isServerFailure, serverRetryMsMax } from './server-failures.ts';

/** The first wait, where the poll interval is not shorter. */
const firstMsMax = 15_000;
const doublingsMax = 20;
/** Jitter only shortens a wait: mailboxes of one server must not be due in the same second. */
const jitterMax = 0.25;

/** Milliseconds to wait after `failures` failed polls in a row (1 or more). `random` is from 0 to 1. */
export function backoffMs(failures: number, intervalMs: number, waitMsMax: number, random: number): number {
  const doublings = Math.min(Math.max(failures, 1) - 1, doublingsMax);
  const first = Math.max(1000, Math.min(intervalMs, firstMsMax));
  const full = Math.min(first * 2 ** doublings, Math.max(waitMsMax, first));
  return Math.round(full * (1 - jitterMax * random));
}

/** The result of a failed poll for the schedule. `due`: its entry there; null: a command started the poll. */
export function failedResult(
  failure: Failure,
  mailbox: Mailbox,
  settings: PollSettings,
  due: DueMailbox['due'] | null,
  random: number,
): PollResult {
  const { code, message, hint } = failure;
  const refusedVersion = isRefusedPassword(failure) ? (due?.version ?? null) : null;
  const isSuspended = due !== null && suspendsLogins(failure, due, settings);
  const { backoffMsMax } = settings;
  const waitMsMax = isServerFailure(failure) ? Math.min(backoffMsMax, serverRetryMsMax) : backoffMsMax;
  const waitMs = backoffMs((due?.failures ?? 0) + 1, intervalOf(mailbox, settings), waitMsMax, random);
  const suspendMs = isSuspended ? settings.loginSuspendMs : 0;
  return {
    ok: false,
    nextPollAfterMs: waitAfterFailureMs(Math.max(waitMs, requestedWaitMs(failure), suspendMs), mailbox, settings),
    error: { code, message, hint },
    refusedVersion,
  };
}

/** True for the refused login after which logins are suspended. */
export function suspendsLogins(
  failure: Failure,
  { loginFailures }: Pick<DueMailbox['due'], 'loginFailures'>,
  { loginFailuresMax }: Pick<PollSettings, 'loginFailuresMax'>,
): boolean {
  return isRefusedPassword(failure) && loginFailures + 1 >= loginFailuresMax;
}

/** False for a token: the session marks its refusal by this field. */
function isRefusedPassword({ code, fields }: Failure): boolean {
  return code === 'login_refused' && fields['credential'] !== 'token';
}

/** The wait that the server asked for. */
function requestedWaitMs({ fields }: Failure): number {
  const ms = fields['retry_after_ms'];
  return typeof ms === 'number' ? ms : 0;
}
