/**
 * The visits under way: begins them, and does what follows from how they end.
 *
 * A visit that rests (push.ts) takes no place of the limits. A lease that a visit could not let go of, because the
 * database was away, is freed as soon as that answers again.
 */

import { asFailure, type Failure } from '../../errors.ts';
import { events } from '../../events.ts';
import type { DiskWatch } from '../health/checks.ts';
import type { Vitals } from '../health/health.ts';
import type { Teller } from '../health/reporter.ts';
import { hostTroubleCodes, pausesLogins } from '../poll/backoff.ts';
import { pollMailbox } from '../poll/poll.ts';
import type { PollContext, PollPorts, PollSettings } from '../poll/poll-context.ts';
import type { DatabaseHealth } from '../ports.ts';
import type { DueMailbox, MailboxStore } from '../stores.ts';
import type { Hosts } from './circuit-breaker.ts';
import type { Push, PushLimits } from './idle-slots.ts';
import { recoverLeases } from './leases.ts';
import type { Fleet } from './workers.ts';

export interface Visits {
  /** By mailbox id. */
  readonly inProgress: ReadonlyMap<string, UnderWay>;
  start(mailbox: DueMailbox): void;
  /** Those that do not rest. */
  busy(): number;
  /** Resolves when no visit is under way. */
  idle(): Promise<void>;
  /** What visits that are cut off have to say from now on is no news. */
  abandon(): void;
  /** Frees mailboxes whose lease nobody uses, if there may be such. */
  recoverLeases(): Promise<void>;
}

type Running = UnderWay & { poll: string | null; isOpen: boolean; isResting: boolean; ended: Promise<void> };

/** `freed` is called whenever a visit leaves its place: it has ended, or rests. */
export function createVisits(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  stop: AbortSignal,
  freed: () => void,
): Visits {
  const { disk, clock, hosts, teller } = ports;
  const running = new Map<string, Running>();
  let isAbandoned = false;
  // At the start those of a process that died; later our own, of a visit that the database left alone.
  let mayHoldLeases = true;

  const failed = (mailbox: DueMailbox, failure: Failure, durationMs: number, poll: string | null): void => {
    if (isAbandoned) return;
    if (failure.code.startsWith('database_')) mayHoldLeases = true;
    if (failure.code.startsWith('disk_')) disk.suspect();
    teller.failed(mailbox, failure, durationMs, poll);
    const { loginPauseMs } = settings();
    if (pausesLogins(failure, mailbox.due, settings())) teller.paused(mailbox, loginPauseMs);
  };

  const start = (mailbox: DueMailbox): void => {
    const { id, connection } = mailbox;
    const entry: Running = {
      ...{ host: connection.host, isRetry: isRetryOf(mailbox), isOpen: false, isResting: false },
      ...{ poll: null, ended: Promise.resolve() },
    };
    const startedAtMs = clock.monotonicMs();
    running.set(id, entry);
    hosts.began(connection, id);
    entry.ended = pollMailbox(mailbox, ports, settings, contextOf(mailbox, ports, stop, entry, freed))
      .catch((error: unknown) => {
        const failure = asFailure(error);
        // How an open session ends tells nothing new of its server: that may have gone, and come back, meanwhile.
        if (!entry.isOpen) reached(mailbox, failure, ports);
        failed(mailbox, failure, clock.monotonicMs() - startedAtMs, entry.poll);
      })
      .finally(() => {
        running.delete(id);
        freed();
      });
  };

  return {
    inProgress: running,
    start,
    busy: () => [...running.values()].filter(({ isResting }) => !isResting).length,
    idle: async () => {
      while (running.size > 0) await Promise.all([...running.values()].map(({ ended }) => ended));
    },
    abandon: () => {
      isAbandoned = true;
    },
    recoverLeases: async () => {
      if (!mayHoldLeases) return;
      // A visit may leave a lease behind while this looks: then it is for the next wake.
      mayHoldLeases = false;
      try {
        await recoverLeases(ports, (id) => running.has(id));
      } catch (error) {
        mayHoldLeases = true;
        throw error;
      }
    },
  };
}

/** What the visit tells goes into `entry`. */
function contextOf(
  mailbox: DueMailbox,
  ports: SchedulerPorts,
  stop: AbortSignal,
  entry: Running,
  freed: () => void,
): PollContext {
  const { due, connection, name } = mailbox;
  let lagMs: number | null = due.overdueMs;
  return {
    due,
    stop,
    onBegun: (poll) => {
      entry.poll = poll;
    },
    renumberings: {
      note: () => ports.vitals.renumberings.note(mailbox.id),
      count: () => ports.vitals.renumberings.count(mailbox.id),
    },
    looks: {
      isDue: () => ports.vitals.looks.isDue(mailbox.id),
      note: () => ports.vitals.looks.note(mailbox.id),
    },
    onRefused: (refusal) => ports.teller.refused(mailbox, refusal),
    onOpened: ({ certificateEndsAtMs: endsAtMs }) => {
      entry.isOpen = true;
      reached(mailbox, null, ports);
      // A pinned one is taken whatever its dates.
      if (endsAtMs !== null && connection.fingerprint === null)
        ports.vitals.certificate(connection.host, connection.port, endsAtMs);
    },
    onRound: (report) => {
      ports.teller.round(mailbox, report, lagMs);
      lagMs = null;
    },
    stay: (hadMail) => {
      const place = ports.push.admit(mailbox, due.version, hadMail);
      if (place === null) return null;
      entry.isResting = true;
      freed();
      ports.log.debug({ mailbox: name }, events.pushStarted);
      return place;
    },
  };
}

/** What a visit tells about its server; null: it was reached. */
function reached({ id, connection }: DueMailbox, failure: Failure | null, ports: SchedulerPorts): void {
  const news = ports.hosts.ended(connection, id, failure);
  const { host, port } = connection;
  if (news === 'held') ports.log.warn({ host, port, error: failure }, events.hostHeld);
  if (news !== 'back') return;
  ports.log.info({ host, port }, events.hostRecovered);
  // Those that failed may have to wait for long. If the database is away, they come when their time has come.
  ports.store.hurry(hostTroubleCodes, host).catch((error: unknown) => ports.teller.database(asFailure(error)));
}

/**
 * Of the mailboxes that are due, those that are visited now: what the limits leave room for, and what is ours to visit.
 *
 * Each mailbox has a home among the live workers, which visits it first; one that has waited for some seconds, or that
 * fails (perhaps only from there), is anybody's. Mailboxes that fail get half of the places at most: a hundred servers that
 * never answer do not keep the others waiting. Pure.
 */

export type Limits = { readonly concurrencyMax: number; readonly concurrencyPerHostMax: number };

/** A visit under way; one that rests takes no place. `isRetry`: the visit before it failed. */
export type UnderWay = { readonly host: string; readonly isRetry: boolean; readonly isResting: boolean };

export function isRetryOf({ due }: DueMailbox): boolean {
  return due.failures > 0;
}

/**
 * The scheduler: every wake asks the database which mailboxes are due, and visits as many of them as the limits allow.
 *
 * Due times live in the database, so that a wake is only a wake: missed, late or doubled ones do no harm. A database
 * that cannot be reached is a state, not an end: it is told once when it goes and once when it comes back. While files
 * cannot be written, or nothing at a mail server can be reached, no visit begins that could only fail.
 */

export type SchedulerSettings = PollSettings & Limits & { readonly push: Omit<PushLimits, 'rounds'> };

export type SchedulerPorts = PollPorts & {
  readonly store: PollPorts['store'] &
    Pick<MailboxStore, 'listMailboxes' | 'leasedMailboxes' | 'adoptMailboxes'> &
    Pick<DatabaseHealth, 'databaseNowMs'>;
  /** Brings the tables up to date; called until it succeeds once. */
  readonly prepare: () => Promise<void>;
  readonly vitals: Vitals;
  readonly teller: Teller;
  readonly fleet: Fleet;
  readonly hosts: Hosts;
  readonly push: Push;
  readonly disk: DiskWatch;
};
