/**
 * Push suspension: a mailbox whose server rejects IDLE, or ends three idle connections in a row within a minute each,
 * is only polled for an hour.
 *
 * Logged per server at its 1st, 2nd, 4th, 8th … suspension, and once when a mailbox there has idled for a minute again:
 * a server with hundreds of mailboxes fills no log. Uses the monotonic clock.
 */
import type { Clock } from '../../async/clock.ts';
import { events, type Log } from '../../events.ts';
import { createLogThrottle } from '../health/log-throttle.ts';
import { type Mailbox, serverKey } from '../model.ts';

export type SuspensionCode = 'idle_refused' | 'idle_broken_off';

/** `untilMs`: on the monotonic clock. */
export type Suspension = { readonly code: SuspensionCode; readonly untilMs: number };

export type PushSuspensions = ReturnType<typeof createPushSuspensions>;

/** An IDLE shorter than this counts as broken off; a longer one, or an hour without, clears earlier ones. */
export const shortIdleMs = 60_000;
const brokenOffMax = 3;
const suspendMs = 3_600_000;

export function createPushSuspensions({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
  const counts = new Map<string, Suspension & { readonly count: number }>();
  /** Mailboxes whose suspension was reported and that have not idled for a minute since. */
  const reported = new Set<string>();
  const throttle = createLogThrottle();

  const counted = (mailboxId: string) => {
    const found = counts.get(mailboxId);
    if (found === undefined || clock.monotonicMs() < found.untilMs) return found ?? null;
    counts.delete(mailboxId);
    return null;
  };

  const reportSuspension = ({ id, name, connection }: Mailbox, { code, untilMs }: Suspension): void => {
    reported.add(id);
    const { shouldLog, count } = throttle.record(serverKey(connection), code);
    const until = new Date(clock.nowMs() + untilMs - clock.monotonicMs()).toISOString();
    const fields = { mailbox: name, server: `${connection.host}:${connection.port}`, code, until, suspensions: count };
    if (shouldLog) log.warn(fields, events.pushSuspended);
    else log.debug(fields, events.pushSuspended);
  };

  return {
    /** null: it may idle. */
    of: (mailboxId: string): Suspension | null => {
      const found = counted(mailboxId);
      return found !== null && found.count >= brokenOffMax ? found : null;
    },
    /** The server ended the connection soon, or rejected IDLE. False: the mailbox is suspended now. */
    count: (mailbox: Mailbox, code: SuspensionCode): boolean => {
      const times = code === 'idle_refused' ? brokenOffMax : 1;
      const count = (counted(mailbox.id)?.count ?? 0) + times;
      const suspension = { code, count, untilMs: clock.monotonicMs() + suspendMs };
      counts.set(mailbox.id, suspension);
      if (count < brokenOffMax) return true;
      reportSuspension(mailbox, suspension);
      return false;
    },
    /** A person asked for another try. */
    end: (mailboxId: string): void => void counts.delete(mailboxId),
    /** The mailbox has idled for longer than `shortIdleMs`. */
    clear: ({ id, name, connection }: Mailbox): void => {
      counts.delete(id);
      if (!reported.delete(id) || !throttle.record(serverKey(connection), null).shouldLog) return;
      log.info({ mailbox: name, server: `${connection.host}:${connection.port}` }, events.pushResumed);
    },
  };
}
