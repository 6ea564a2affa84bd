/**
 * Polling policy: how long a mailbox waits for its next poll, by how the last one ended, and the longest legitimate
 * wait.
 *
 * A way to end that is added to `PollEnd` does not compile until the table here gives its wait, and the bound follows
 * from the table. Each rule sees the mailbox; that of failed polls receives the backoff (poll/backoff.ts). A mailbox
 * that waits longer than the bound was put off by a wrong clock or another program (scheduler/clock-skew.ts).
 *
 * The policy only sets due times. A connection in IDLE runs a round at each announcement (poll/idle-loop.ts), and
 * `makeDue` ends waits when a server or the disk works again. A rule about the time of day takes the moment as a
 * parameter of every wait, the bound included, and has to decide for IDLE as well. Pure.
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
  | 'idle_connection_ended'
  /** IDLE ended since the access token of the login ends soon. */
  | 'token_ending'
  /** The end of the token ended the session, in the middle of what it did. */
  | 'token_ended'
  /** It was long, and ended for others that waited: the mailbox waits behind these. */
  | 'preempted';

/** What a rule sees of a mailbox. The bound needs it as well, so `makeStrandedDue` reads the same columns. */
type PolledMailbox = Pick<Mailbox, 'pollIntervalMs'>;

type WaitRule = {
  /** `backoffMs`: that of a failed poll, else 0. */
  readonly waitMs: (mailbox: PolledMailbox, settings: PollInterval, backoffMs: number) => number;
  /** False: a start does not wait for the rest of it. */
  readonly isExpectedAtStart: boolean;
};

const unstableFolderMs = 60 * 60_000;
/** A server that keeps ending connections is not contacted again immediately. */
const reconnectMs = 1000;

const waits: Readonly<Record<PollEnd | 'failed', WaitRule>> = {
  finished: { waitMs: intervalOf, isExpectedAtStart: true },
  // Changes of the UIDVALIDITY are counted in memory: after a start the folder is polled once.
  folder_unstable: {
    waitMs: (mailbox, settings) => Math.max(intervalOf(mailbox, settings), unstableFolderMs),
    isExpectedAtStart: false,
  },
  message_given_up: { waitMs: () => 0, isExpectedAtStart: true },
  idle_slot_ended: { waitMs: () => 0, isExpectedAtStart: true },
  idle_connection_ended: { waitMs: () => reconnectMs, isExpectedAtStart: true },
  token_ending: { waitMs: () => 0, isExpectedAtStart: true },
  token_ended: { waitMs: () => reconnectMs, isExpectedAtStart: true },
  preempted: { waitMs: () => 0, isExpectedAtStart: true },
  failed: { waitMs: (_mailbox, _settings, backoffMs) => backoffMs, isExpectedAtStart: true },
};

/** The interval of the mailbox, or the configured one. */
export function intervalOf({ pollIntervalMs }: PolledMailbox, { intervalMs }: PollInterval): number {
  return pollIntervalMs ?? intervalMs;
}

/** Milliseconds from a successful poll until the mailbox is due again. */
export function waitAfterPollMs(end: PollEnd, mailbox: PolledMailbox, settings: PollInterval): number {
  return waits[end].waitMs(mailbox, settings, 0);
}

/** The same after a failed poll. */
export function waitAfterFailureMs(backoffMs: number, mailbox: PolledMailbox, settings: PollInterval): number {
  return waits.failed.waitMs(mailbox, settings, backoffMs);
}

/** The longest suspension of logins ([poll] login_suspend_h), and a day: no backoff is longer. */
const backoffMsMax = 31 * 86_400_000;

/** What decides how long a mailbox may wait; `failures` is the number of failed polls in a row. */
export type WaitingMailbox = PolledMailbox & { readonly failures: number };

/** Milliseconds that a mailbox may still have to wait, at a start or later; clocks aside, none waits longer. */
export function longestWaitMs(mailbox: WaitingMailbox, settings: PollInterval, isStart: boolean): number {
  const { failed, ...successful } = waits;
  const possible = mailbox.failures > 0 ? [failed] : Object.values(successful);
  const expected = possible.filter(({ isExpectedAtStart }) => isExpectedAtStart || !isStart);
  return Math.max(...expected.map(({ waitMs }) => waitMs(mailbox, settings, backoffMsMax)));
}
