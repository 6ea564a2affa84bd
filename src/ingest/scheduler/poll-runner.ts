/**
 * Poll runner: starts polls, holds those in progress, and acts on how they end.
 *
 * A poll whose connection idles (idle-slots.ts) uses no concurrency slot, nor does a long one with a place in the pool
 * of these (long-polls.ts). A lease that a poll could not release because the database was unavailable or the disk full
 * is reclaimed as soon as the database answers and files can be written.
 */
import { asFailure, type Failure } from '../../errors.ts';
import { events } from '../../events.ts';
import type { DiskWatch } from '../health/disk-watch.ts';
import type { HealthRecorder } from '../health/health.ts';
import type { Reporter } from '../health/reporter.ts';
import { suspendsLogins } from '../poll/backoff.ts';
import { pollMailbox } from '../poll/poll.ts';
import type {
  PollEvent,
  PollOptions,
  PollPorts,
  PollSettings,
  PollSummary,
  ServerWatch,
} from '../poll/poll-context.ts';
import { endpointKey, serverFailureCodes } from '../poll/server-failures.ts';
import type { DatabaseHealth } from '../ports.ts';
import type { DueMailbox, MailboxStore } from '../stores.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { IdleLimits, IdleSlots } from './idle-slots.ts';
import { reclaimUnusedLeases } from './lease-renewal.ts';
import { type ConcurrencyLimits, longPollMs, type PollInProgress } from './long-polls.ts';
import type { ServerSilence } from './server-silence.ts';
import type { LiveWorkers } from './workers.ts';

export type SchedulerSettings = PollSettings & ConcurrencyLimits & { readonly idle: Omit<IdleLimits, 'rounds'> };

export type SchedulerPorts = PollPorts & {
  readonly store: PollPorts['store'] &
    Pick<MailboxStore, 'listMailboxes' | 'leasedMailboxes' | 'scheduleNewMailboxes'> &
    Pick<DatabaseHealth, 'databaseNowMs' | 'pool'>;
  /** Migrates the database; called until it succeeds once. */
  readonly prepare: () => Promise<void>;
  readonly health: HealthRecorder;
  readonly reporter: Reporter;
  readonly workers: LiveWorkers;
  readonly circuitBreaker: CircuitBreaker;
  readonly idleSlots: IdleSlots;
  readonly silence: ServerSilence;
  readonly disk: DiskWatch;
};

export interface PollRunner {
  /** By mailbox id. */
  readonly inProgress: ReadonlyMap<string, PollInProgress>;
  start(mailbox: DueMailbox): void;
  /** Ends a poll that others wait for (preemption). */
  end(poll: PollInProgress): void;
  /** Polls that do not idle, and how many of them are long. */
  activity(): { readonly polls: number; readonly pollsLong: number };
  /** Resolves when no poll is in progress. */
  drained(): Promise<void>;
  /** From now on failures are not reported: the shutdown timeout is over, and polls are being cut off. */
  suppressReports(): void;
  /** Reclaims leases that no poll of this process uses, if there may be any. */
  reclaimUnusedLeases(): Promise<void>;
}

/** The database is a file, on the disk that the disk watch probes, or beside it: it fails together with that one. */
export function isEmbedded({ store }: { readonly store: Pick<DatabaseHealth, 'pool'> }): boolean {
  return store.pool() === null;
}

export function isRetry({ due }: DueMailbox): boolean {
  return due.failures > 0;
}

type RunningPoll = PollInProgress & {
  readonly mailbox: DueMailbox;
  readonly ending: AbortController;
  isIdling: boolean;
  hasCommitted: boolean;
  ended: Promise<void>;
};

/**
 * `slotFreed` is called whenever a concurrency slot becomes free: a poll has ended, or its connection idles. `dueAgain`
 * is called with the time until a mailbox is due again whose connection idled, or whose lease was revoked.
 */
export function createPollRunner(
  ports: SchedulerPorts,
  settings: () => SchedulerSettings,
  stop: AbortSignal,
  slotFreed: () => void,
  dueAgain: (afterMs: number) => void,
): PollRunner {
  const { disk, circuitBreaker, reporter, clock } = ports;
  const running = new Map<string, RunningPoll>();
  let isSuppressed = false;
  // At the start those of a process that died; later those of a poll that lost the database or the disk.
  let mayHoldLeases = true;

  const ended = async ({ mailbox, isEnding }: RunningPoll, summary: PollSummary): Promise<void> => {
    const { failure, roundId, wasConnected, durationMs } = summary;
    if (failure === null) return isEnding ? reporter.pollPreempted(mailbox, durationMs, roundId) : undefined;
    // How an open session ends says nothing about its server now: that may have gone away and come back meanwhile.
    if (!wasConnected) attemptEnded(mailbox, failure, ports);
    if (isSuppressed) return;
    if (failure.domain === 'database' || failure.domain === 'disk') mayHoldLeases = true;
    const isReported = (await disk.confirmPollFailure(failure)) || isOfOutage(mailbox, failure, ports);
    reporter.pollFailed(mailbox, failure, { durationMs, roundId, isReported });
    reportSuspension(mailbox, failure, ports, settings());
  };

  const start = (mailbox: DueMailbox): void => {
    const { id, connection } = mailbox;
    const entry = newEntry(mailbox, clock, settings);
    running.set(id, entry);
    circuitBreaker.attemptStarted(connection, id);
    if (mailbox.due.retryRequestedMs !== null) ports.idleSlots.endSuspension(id);
    const watch = ports.silence.watch(connection, id);
    const options = optionsOf(entry, watch, ports, stop, slotFreed);
    entry.ended = pollMailbox(mailbox, ports, settings, options, observerOf(entry, ports))
      .then(async (summary) => {
        await ended(entry, summary);
        if (summary.failure?.code === 'lease_revoked') dueAgain(0);
        else if (entry.isIdling && summary.dueAfterMs !== null) dueAgain(summary.dueAfterMs);
      })
      .finally(() => {
        running.delete(id);
        // After the failure is recorded, so that the mailbox is not ok in between.
        watch[Symbol.dispose]();
        slotFreed();
      });
  };

  return {
    inProgress: running,
    start,
    end: (poll) => [...running.values()].find((one) => one === poll)?.ending.abort(),
    activity: () => activityOf([...running.values()]),
    drained: () => allEnded(running),
    suppressReports: () => {
      isSuppressed = true;
    },
    reclaimUnusedLeases: async () => {
      // On SQLite a full disk would refuse the write.
      if (!mayHoldLeases || disk.isFailing) return;
      // A poll may leave a lease behind during the query: then the next tick reclaims it.
      mayHoldLeases = false;
      try {
        await reclaimUnusedLeases(ports, (id) => running.has(id));
      } catch (error) {
        mayHoldLeases = true;
        throw error;
      }
    },
  };
}

async function allEnded(running: ReadonlyMap<string, RunningPoll>): Promise<void> {
  while (running.size > 0) await Promise.all([...running.values()].map(({ ended }) => ended));
}

function newEntry(mailbox: DueMailbox, clock: SchedulerPorts['clock'], settings: () => SchedulerSettings): RunningPoll {
  const startedAtMs = clock.monotonicMs();
  const entry: RunningPoll = {
    ...{ mailbox, host: mailbox.connection.host, isRetry: isRetry(mailbox), isIdling: false, hasCommitted: false },
    ...{ ending: new AbortController(), ended: Promise.resolve() },
    get isLong() {
      return !entry.isIdling && clock.monotonicMs() - startedAtMs >= longPollMs(settings().intervalMs);
    },
    get isEnding() {
      return entry.ending.signal.aborted;
    },
  };
  return entry;
}

/** `idles` is called when the connection of the poll got an IDLE slot. */
function optionsOf(
  entry: RunningPoll,
  watch: ServerWatch,
  { health, idleSlots, log }: SchedulerPorts,
  stop: AbortSignal,
  idles: () => void,
): PollOptions {
  const { mailbox } = entry;
  const { due, name } = mailbox;
  const preemption = {
    signal: entry.ending.signal,
    get hasCommitted() {
      return entry.hasCommitted;
    },
  };
  return {
    ...{
      due,
      stop,
      watch,
      preemption,
      uidValidityChanges: health.uidValidityChanges,
      folderCheckSchedule: health.folderCheckSchedule,
    },
    handledCounts: health.handledCounts,
    requestIdleSlot: (request) => {
      const slot = idleSlots.request(mailbox, due.version, request);
      if (slot === null) return null;
      entry.isIdling = true;
      idles();
      log.debug({ mailbox: name }, events.idleStarted);
      return slot;
    },
  };
}

function activityOf(running: readonly PollInProgress[]): ReturnType<PollRunner['activity']> {
  const active = running.filter(({ isIdling }) => !isIdling);
  return { polls: active.length, pollsLong: active.filter(({ isLong }) => isLong).length };
}

/** Passes what happens in the poll to health and reporter. */
function observerOf(entry: RunningPoll, ports: SchedulerPorts): (event: PollEvent) => void {
  const { mailbox } = entry;
  const { host, port, fingerprint } = mailbox.connection;
  let lagMs: number | null = mailbox.due.overdueMs;
  return (event) => {
    if (event.what === 'connected') {
      attemptEnded(mailbox, null, ports);
      // A pinned certificate is accepted whatever its dates.
      if (event.certificateEndsAtMs !== null && fingerprint === null)
        ports.health.recordCertificate(host, port, event.certificateEndsAtMs);
    } else if (event.what === 'round_finished') {
      ports.reporter.roundFinished(mailbox, event.report, lagMs);
      lagMs = null;
    } else if (event.what === 'progress') entry.hasCommitted ||= event.done > 0;
    else if (event.what === 'action_refused') ports.reporter.actionRefused(mailbox, event);
  };
}

function reportSuspension(
  mailbox: DueMailbox,
  failure: Failure,
  { reporter }: SchedulerPorts,
  settings: SchedulerSettings,
): void {
  if (suspendsLogins(failure, mailbox.due, settings)) reporter.loginsSuspended(mailbox, settings.loginSuspendMs);
}

/** True for a failure that the log has already, as one of the server. */
function isOfOutage(
  { connection }: DueMailbox,
  { code }: Failure,
  { circuitBreaker, silence }: SchedulerPorts,
): boolean {
  if (!serverFailureCodes.includes(code)) return false;
  const key = endpointKey(connection);
  return silence.isServerSilent(connection) || circuitBreaker.openCircuits().some((one) => endpointKey(one) === key);
}

/** A refused certificate is the one that the server presents now. */
function recordRefusedCertificate(
  { host, port, fingerprint }: DueMailbox['connection'],
  failure: Failure | null,
  { health }: SchedulerPorts,
): void {
  const endsAtMs = Date.parse(String(failure?.fields['valid_until']));
  if (fingerprint === null && !Number.isNaN(endsAtMs)) health.recordCertificate(host, port, endsAtMs);
}

/** Passes the result of a connection attempt to the circuit breaker; null: the session is open. */
function attemptEnded({ id, connection }: DueMailbox, failure: Failure | null, ports: SchedulerPorts): void {
  const change = ports.circuitBreaker.attemptEnded(connection, id, failure);
  const { host, port, tls } = connection;
  recordRefusedCertificate(connection, failure, ports);
  if (change !== null) ports.health.changed();
  if (change === 'opened') {
    ports.log.warn({ host, port, tls, error: failure }, events.serverCircuitOpen);
    ports.silence.verifyAll(connection);
  }
  if (change !== 'closed') return;
  ports.log.info({ host, port, tls }, events.serverCircuitClosed);
  // Mailboxes that failed may have long waits. If the database is unavailable, they are polled when their wait ends.
  ports.store
    .makeDue(serverFailureCodes, host)
    .catch((error: unknown) => ports.reporter.databaseState(asFailure(error)));
}
