/**
 * Polling policy: how long a mailbox waits for its next poll, by how the last one ended, and the longest legitimate
 * wait.
 *
 * A way to end that is added to `PollEnd` does not compile until the table here gives its wait, and the bound follows
 * from the table. A mailbox that waits longer at a start was put off by a wrong clock (scheduler/clock-skew.ts). The
 * backoff of failed polls is in poll/backoff.ts. Pure.
 */
import type { Mailbox } from './model.ts';

type PollInterval = { readonly intervalMs: number };

/** How a poll without a failure ended. */
export type PollEnd =
  | 'finished'
  /** Its UIDVALIDITY keeps changing, so that all messages are fetched each time. */
  | 'folder_unstable'
  /** A message was given up; the next poll continues with a new session. */
  | 'message_given_up'
  /** The IDLE slot ended because the row changed, or another worker is preferred. */
  | 'idle_slot_ended'
  /** The server ended the connection in IDLE. */
  | 'idle_connection_ended';

/** `waitMs`: by the interval of the mailbox. `isExpectedAtStart` false: a start does not wait for the rest of it. */
type WaitRule = { readonly waitMs: (intervalMs: number) => number; readonly isExpectedAtStart: boolean };

const unstableFolderMs = 60 * 60_000;
/** A server that keeps ending connections is not contacted again immediately. */
const reconnectMs = 1000;

const waits = {
  finished: { waitMs: (intervalMs) => intervalMs, isExpectedAtStart: true },
  // Changes of the UIDVALIDITY are counted in memory: after a start the folder is polled once.
  folder_unstable: { waitMs: (intervalMs) => Math.max(intervalMs, unstableFolderMs), isExpectedAtStart: false },
  message_given_up: { waitMs: () => 0, isExpectedAtStart: true },
  idle_slot_ended: { waitMs: () => 0, isExpectedAtStart: true },
  idle_connection_ended: { waitMs: () => reconnectMs, isExpectedAtStart: true },
} as const satisfies Readonly<Record<PollEnd, WaitRule>>;

/** The interval of the mailbox, or the configured one. */
export function intervalOf({ pollIntervalMs }: Pick<Mailbox, 'pollIntervalMs'>, { intervalMs }: PollInterval): number {
  return pollIntervalMs ?? intervalMs;
}

/** Milliseconds from a successful poll until the mailbox is due again. */
export function waitAfterPollMs(
  end: PollEnd,
  mailbox: Pick<Mailbox, 'pollIntervalMs'>,
  settings: PollInterval,
): number {
  return waits[end].waitMs(intervalOf(mailbox, settings));
}

/** The longest suspension of logins ([poll] login_suspend_h), and a day: no failed mailbox waits longer. */
const failedWaitMsMax = 31 * 86_400_000;

/** What decides how long a mailbox may wait; `failures` is the number of failed polls in a row. */
export type WaitingMailbox = Pick<Mailbox, 'pollIntervalMs'> & { readonly failures: number };

/** Milliseconds that a mailbox may still have to wait at a start; clocks aside, none waits longer. */
export function longestWaitMs(mailbox: WaitingMailbox, settings: PollInterval): number {
  if (mailbox.failures > 0) return failedWaitMsMax;
  const rules: readonly WaitRule[] = Object.values(waits);
  const expected = rules.filter(({ isExpectedAtStart }) => isExpectedAtStart);
  return Math.max(...expected.map(({ waitMs }) => waitMs(intervalOf(mailbox, settings))));
}
