/**
 * Push check (IDLE, RFC 2177), and the wording of the push state of a mailbox.
 *
 * A warning at most: where push is suspended, polls fetch the messages, up to one interval later.
 */
import { hints } from '../../text/hints.ts';
import { printableLine } from '../../text/printable.ts';
import { spanText } from '../../text/units.ts';
import type { PushState, Readiness } from '../readiness.ts';

export type IdleConnections = { readonly open: number; readonly max: number };

const listedMax = 200;

export function pushCheck(
  { status, list }: Pick<Readiness['checks']['mailboxes'], 'status' | 'list'>,
  { open, max }: IdleConnections,
): Readiness['checks']['push'] {
  const suspended = list
    .filter(({ push }) => push.state === 'suspended')
    .map(({ mailbox, push }) => ({ mailbox: printableLine(mailbox), ...push }))
    .sort((a, b) => Date.parse(a.until ?? '') - Date.parse(b.until ?? ''));
  const facts = { open, max, suspended: suspended.length, list: suspended.slice(0, listedMax) };
  const [first] = suspended;
  const quiet = { since: null, reason: null, hint: null };
  if (first === undefined) return { status: status === 'unknown' ? 'unknown' : 'ok', ...quiet, ...facts };
  const reason = `${first.code}: push is suspended for ${suspended.length} of ${list.length} mailboxes, as ${reasonOf(first)}`;
  return { status: 'warning', since: null, reason, hint: hints.pushSuspended, ...facts };
}

const reasons: Readonly<Record<NonNullable<PushState['code']>, string>> = {
  idle_off: '[idle] limits are 0',
  other_worker: 'another worker is preferred for it',
  idle_unsupported: 'its server does not offer IDLE',
  idle_slots_taken: 'all connections of [idle] are taken',
  not_connected: 'no session is open',
  idle_refused: 'the server rejects IDLE',
  idle_broken_off: 'the server ended three idle connections within a minute each',
};

function reasonOf({ code }: PushState): string {
  return code === null ? '' : reasons[code];
}

/** `polled (its server does not offer IDLE)`. */
export function pushText(push: PushState, nowMs: number): string {
  const { state, code, until } = push;
  if (code === null) return state;
  const untilMs = until === null ? Number.NaN : Date.parse(until);
  const rest = Number.isNaN(untilMs) ? '' : ` for another ${spanText(Math.max(0, untilMs - nowMs))}`;
  return `${state}${rest} (${reasons[code]})`;
}
