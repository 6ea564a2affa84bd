/**
 * Reporter: writes polls, database and disk to log, health and metrics; deduplicates repeated failures
 * (log-throttle.ts).
 *
 * A failing poll is logged when its reason changes, and at its 2nd, 4th, 8th … repetition; a silent server, a failing
 * database or disk once, and once when it recovers. Failures of polls that one of them explains are left to its line.
 */
import type { Clock } from '../../async/clock.ts';
import type { Failure, FailureCode } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { hints } from '../../text/hints.ts';
import type { ActionRefusal } from '../fetch/round-context.ts';
import { isInvalid, type Mailbox } from '../model.ts';
import type { RoundReport } from '../poll/poll-context.ts';
import type { Endpoint } from '../poll/server-failures.ts';
import type { Meter, PostActionGuard } from '../ports.ts';
import type { DueMailbox, MailboxStore } from '../stores.ts';
import type { HealthRecorder } from './health.ts';
import { createLogThrottle } from './log-throttle.ts';

type ReporterPorts = {
  readonly log: Log;
  readonly health: HealthRecorder;
  readonly meter: Meter;
  /** True for a failure of the database that the failing disk explains. */
  readonly hasDiskAsCause: (failure: Failure) => boolean;
};

type FailedPoll = {
  readonly durationMs: number;
  /** That of its last round; null: it had none. */
  readonly roundId: string | null;
  /** The line about its server or the disk is enough: it is not repeated for each mailbox. */
  readonly isReported: boolean;
};

export interface Reporter {
  /**
   * One round of a poll. `lagMs`: how long after the mailbox was due it began; null for a round after an announcement.
   */
  roundFinished(mailbox: Mailbox, report: RoundReport, lagMs: number | null): void;
  pollFailed(mailbox: Mailbox, failure: Failure, poll: FailedPoll): void;
  /** A long poll ended for others that waited, and continues later. */
  pollPreempted(mailbox: Mailbox, durationMs: number, roundId: string | null): void;
  /** Its login was refused so often that it is not polled for `ms`, or until its row changes. */
  loginsSuspended(mailbox: DueMailbox, ms: number): void;
  /** The server refused a post-action; the poll fails for it at its end. */
  actionRefused(mailbox: Mailbox, refusal: ActionRefusal): void;
  /** null: it works. */
  databaseState(failure: Failure | null): void;
  /** null: it answers again. */
  serverSilence(server: Endpoint, failure: Failure | null): void;
  diskState(failure: Failure | null): void;
}

export function createReporter(ports: ReporterPorts): Reporter {
  const { log, health, meter } = ports;
  const [troubles, refusals] = [createLogThrottle(), createLogThrottle()];

  return {
    roundFinished: (mailbox, report, lagMs) => {
      health.recordPoll(mailbox.id, null);
      refusals.record(mailbox.id, null);
      const { outcomes, durationMs, roundId } = report;
      const { shouldLog: isRecovered, count } = troubles.record(mailbox.id, null);
      if (isRecovered) log.info({ mailbox: mailbox.name, poll: roundId, after_failures: count }, events.pollRecovered);
      meter.poll({ mailbox: mailbox.name, host: mailbox.connection.host, result: 'ok', durationMs, lagMs });
      const fields = { mailbox: mailbox.name, poll: roundId, duration_ms: Math.round(durationMs) };
      const handled = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
      if (handled > 0) log.info({ ...fields, ...outcomes }, events.pollFinished);
      else log.debug(fields, events.pollEmpty);
    },
    pollFailed: (mailbox, failure, { durationMs, roundId, isReported }) => {
      if (failure.code === 'lease_taken' || failure.code === 'interrupted') return;
      const { id, name, connection } = mailbox;
      meter.poll({ mailbox: name, host: connection.host, result: failure.code, durationMs, lagMs: null });
      const poll = roundId === null ? {} : { poll: roundId };
      if (failure.code === 'lease_revoked')
        return log.info({ mailbox: name, ...poll, duration_ms: Math.round(durationMs) }, events.pollRestarted);
      // Another worker polls it, and its row has how that ends.
      if (failure.code !== 'lease_lost') health.recordPoll(id, failure);
      const about = { mailbox: name, server: `${connection.host}:${connection.port}`, ...poll };
      if (isReported) return log.debug({ ...about, failures: 1, error: failure }, events.pollFailed);
      const { shouldLog, count } = troubles.record(id, failure.code);
      const fields = { ...about, failures: count, error: failure };
      if (shouldLog) logFailure(log, failure.code, fields);
      else log.debug(fields, events.pollFailed);
    },
    pollPreempted: ({ name, connection: { host } }, durationMs, roundId) => {
      meter.poll({ mailbox: name, host, result: 'preempted', durationMs, lagMs: null });
      const poll = roundId === null ? {} : { poll: roundId };
      log.info({ mailbox: name, ...poll, duration_ms: Math.round(durationMs) }, events.pollPreempted);
    },
    loginsSuspended: ({ name, connection, due }, ms) => {
      const server = `${connection.host}:${connection.port}`;
      const fields = { mailbox: name, server, login_failures: due.loginFailures + 1, suspended_h: ms / 3_600_000 };
      log.warn(fields, events.loginSuspended);
    },
    actionRefused: ({ id, name }, { roundId, action, count, failure }) => {
      const { shouldLog, count: failures } = refusals.record(id, failure.code);
      const fields = { mailbox: name, poll: roundId, action, count, failures, error: failure };
      if (shouldLog) log.warn(fields, events.actionFailed);
      else log.debug(fields, events.actionFailed);
    },
    databaseState: (failure) => {
      if (failure !== null && ports.hasDiskAsCause(failure)) return;
      if (!health.recordDatabase(failure)) return;
      if (failure === null) log.info({}, events.databaseRecovered);
      else if (failure.code === 'unexpected') log.error({ error: failure }, events.schedulerFailed);
      else log.error({ error: failure }, events.databaseUnavailable);
    },
    serverSilence: (server, failure) => logSilence(log, server, failure),
    diskState: (failure) => {
      health.changed();
      if (failure === null) log.info({}, events.diskRecovered);
      else log.error({ error: failure }, events.diskFailed);
    },
  };
}

function logSilence(log: Log, { host, port, tls }: Endpoint, failure: Failure | null): void {
  if (failure === null) log.info({ host, port, tls }, events.serverAnswering);
  else log.warn({ host, port, tls, error: failure }, events.serverSilent);
}

function logFailure(log: Log, code: FailureCode, fields: Parameters<Log['warn']>[0]): void {
  if (code === 'mailbox_flooding') log.warn(fields, events.mailboxFlooding);
  else if (code === 'unexpected') log.error(fields, events.pollFailed);
  else log.warn(fields, events.pollFailed);
}

type RowReporterPorts = {
  readonly store: Pick<MailboxStore, 'listMailboxes'>;
  readonly postActionGuard: Pick<PostActionGuard, 'isUnconfirmed'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
};

const rowsMs = 30_000;

/**
 * Logs rows of the table of mailboxes that no poll would report, invalid ones and those whose post-action is not
 * confirmed: each once, and again only after it was right. Called on every tick, reads the table every 30 s.
 */
export function createRowReporter({ store, postActionGuard, clock, log }: RowReporterPorts): () => Promise<void> {
  let logged: ReadonlySet<string> = new Set();
  let nextAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonicMs() < nextAtMs) return;
    nextAtMs = clock.monotonicMs() + rowsMs;
    const all = await store.listMailboxes();
    const invalid = all.filter(isInvalid);
    for (const { id, name, health } of invalid) {
      const { code, message, hint } = health.lastError ?? { code: '', message: '', hint: '' };
      if (!logged.has(id)) log.warn({ mailbox: name, code, reason: message, hint }, events.mailboxInvalid);
    }
    const unconfirmed = all.filter((one) => postActionGuard.isUnconfirmed(one, one.health.settingsSeal));
    for (const { id, name, postAction } of unconfirmed) {
      const fields = { mailbox: name, action: postAction.kind, hint: hints.mailboxUnconfirmed };
      if (!logged.has(id)) log.warn(fields, events.mailboxUnconfirmed);
    }
    logged = new Set([...invalid, ...unconfirmed].map(({ id }) => id));
  };
}
