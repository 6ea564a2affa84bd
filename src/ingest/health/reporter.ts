/**
 * What the log hears of visits, of the database and of the disk: news, and no repetition of what is known.
 *
 * A visit that fails is told when its reason changes and then at its 2nd, 4th, 8th … repetition; a database or a disk
 * that goes is told once, and once when it is back.
 */

import type { Clock } from '../../async/clock.ts';
import type { Failure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { isInvalid, type Mailbox } from '../model.ts';
import type { ActionRefusal, PollReport } from '../poll/poll-context.ts';
import type { Meter } from '../ports.ts';
import type { DueMailbox, MailboxStore } from '../stores.ts';
import type { Vitals } from './health.ts';
import { createRepetition } from './log-throttle.ts';

type TellPorts = { readonly log: Log; readonly vitals: Vitals; readonly meter: Meter };

export interface Teller {
  /** One round of a visit. `lagMs`: how long after it was due; null when nobody waited for it. */
  round(mailbox: Mailbox, report: PollReport, lagMs: number | null): void;
  /** The visit ended with `failure`; `poll` names its last round, null: it had none. */
  failed(mailbox: Mailbox, failure: Failure, durationMs: number, poll: string | null): void;
  /** Its login was refused so often that it is left alone for `ms`, unless somebody changes it. */
  paused(mailbox: DueMailbox, ms: number): void;
  /** The server refused an action; the visit fails for it at its end. */
  refused(mailbox: Mailbox, refusal: ActionRefusal): void;
  database(failure: Failure | null): void;
  disk(failure: Failure | null): void;
}

export function createTeller(ports: TellPorts): Teller {
  const { log, vitals, meter } = ports;
  const [troubles, refusals] = [createRepetition(), createRepetition()];

  return {
    round: (mailbox, report, lagMs) => {
      vitals.visited(mailbox.id, null);
      refusals.tell(mailbox.id, null);
      const { outcomes, durationMs, poll } = report;
      const { isNews: isRecovered, count } = troubles.tell(mailbox.id, null);
      if (isRecovered) log.info({ mailbox: mailbox.name, poll, after_failures: count }, events.pollRecovered);
      meter.visit({ mailbox: mailbox.name, host: mailbox.connection.host, result: 'ok', durationMs, lagMs });
      const fields = { mailbox: mailbox.name, poll, duration_ms: Math.round(durationMs) };
      const handled = Object.values(outcomes).reduce((sum, count) => sum + count, 0);
      if (handled > 0) log.info({ ...fields, ...outcomes }, events.pollFinished);
      else log.debug(fields, events.pollIdle);
    },
    failed: (mailbox, failure, durationMs, poll) => {
      if (failure.code === 'lease_taken' || failure.code === 'interrupted') return;
      const { id, name, connection } = mailbox;
      meter.visit({ mailbox: name, host: connection.host, result: failure.code, durationMs, lagMs: null });
      const { isNews, count } = troubles.tell(id, failure.code);
      vitals.visited(id, failure);
      const about = { mailbox: name, server: `${connection.host}:${connection.port}` };
      const fields = { ...about, ...(poll === null ? {} : { poll }), failures: count, error: failure };
      if (!isNews) log.debug(fields, events.pollFailed);
      else if (failure.code === 'unexpected') log.error(fields, events.pollFailed);
      else log.warn(fields, events.pollFailed);
    },
    paused: ({ name, connection, due }, ms) => {
      const server = `${connection.host}:${connection.port}`;
      const fields = { mailbox: name, server, refusals: due.loginRefusals + 1, for_h: ms / 3_600_000 };
      log.warn(fields, events.loginPaused);
    },
    refused: ({ id, name }, { poll, action, count, failure }) => {
      const { isNews, count: failures } = refusals.tell(id, failure.code);
      const fields = { mailbox: name, poll, action, count, failures, error: failure };
      if (isNews) log.warn(fields, events.actionFailed);
      else log.debug(fields, events.actionFailed);
    },
    database: (failure) => {
      if (!vitals.database(failure)) return;
      if (failure === null) log.info({}, events.databaseRecovered);
      else if (failure.code === 'unexpected') log.error({ error: failure }, events.schedulerFailed);
      else log.error({ error: failure }, events.databaseUnavailable);
    },
    disk: (failure) => {
      if (failure === null) log.info({}, events.diskRecovered);
      else log.error({ error: failure }, events.diskFailed);
    },
  };
}

/**
 * Tells of rows that others wrote wrongly: no visit meets them, so somebody has to hear of them, once.
 */

type InvalidRowPorts = {
  readonly store: Pick<MailboxStore, 'listMailboxes'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
};

const lookEveryMs = 30_000;

/** Called at every wake, it looks now and then; a row is told again only after it was right meanwhile. */
export function createInvalidTeller({ store, clock, log }: InvalidRowPorts): () => Promise<void> {
  let told: ReadonlySet<string> = new Set();
  let nextAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonicMs() < nextAtMs) return;
    nextAtMs = clock.monotonicMs() + lookEveryMs;
    const invalid = (await store.listMailboxes()).filter(isInvalid);
    for (const { id, name, health } of invalid) {
      const { code, message, hint } = health.lastError ?? { code: '', message: '', hint: '' };
      if (!told.has(id)) log.warn({ mailbox: name, code, reason: message, hint }, events.mailboxInvalid);
    }
    told = new Set(invalid.map(({ id }) => id));
  };
}
