/**
 * When a mailbox is due again: after its interval when all is well, later and later while it fails.
 *
 * A server that says how long to wait is obeyed. Where nobody could reach the server, hosts.ts spaces the visits, and each
 * mailbox waits for a minute at most. After a few refused logins in a row the mailbox is left alone for hours, so
 * that its account is not locked; a change of its row ends that at once (the query for what is due sees to it). Pure;
 * randomness comes in.
 */
import type { Failure } from '../errors.ts';
import { holdMsMax, isHostTrouble } from './hosts.ts';
import type { Mailbox } from './mailbox.ts';
import type { PollSettings } from './poll-ports.ts';
import type { DueMailbox } from './ports.ts';
import type { PollResult } from './rows.ts';

/**
 * Milliseconds to wait after `failures` failed polls in a row (1 or more): doubling from the interval, or 15 s if that is
 * shorter, up to a limit. `random` is from 0 to 1: jitter takes away up to a quarter, never adds, so that fifty mailboxes of
 * one server do not come back in the same second.
 */
export function backOffMs(failures: number, intervalMs: number, waitMsMax: number, random: number): number {
  const doublings = Math.min(Math.max(failures, 1) - 1, 20);
  const first = Math.max(1000, Math.min(intervalMs, 15_000));
  const full = Math.min(first * 2 ** doublings, Math.max(waitMsMax, first));
  return Math.round(full * (1 - 0.25 * random));
}

export function intervalOf(mailbox: Mailbox, { intervalMs }: Pick<PollSettings, 'intervalMs'>): number {
  return mailbox.pollIntervalMs ?? intervalMs;
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
  const isPaused = due !== null && pausesLogins(failure, due, settings);
  const waitMsMax = isHostTrouble(failure) ? Math.min(settings.backOffMsMax, holdMsMax) : settings.backOffMsMax;
  const waitMs = backOffMs((due?.failures ?? 0) + 1, intervalOf(mailbox, settings), waitMsMax, random);
  return {
    ok: false,
    nextPollAfterMs: Math.max(waitMs, askedToWaitMs(failure), isPaused ? settings.loginPauseMs : 0),
    error: { code, message, hint },
    refusedVersion,
  };
}

/** True for the refused login after which a mailbox is left alone for long. */
export function pausesLogins(
  { code }: Failure,
  { loginRefusals }: Pick<DueMailbox['due'], 'loginRefusals'>,
  { loginRefusalsMax }: Pick<PollSettings, 'loginRefusalsMax'>,
): boolean {
  return code === 'login_refused' && loginRefusals + 1 >= loginRefusalsMax;
}

/** How long the server has asked to be left alone. */
function askedToWaitMs({ fields }: Failure): number {
  const askedMs = fields['retry_after_ms'];
  return typeof askedMs === 'number' ? askedMs : 0;
}
