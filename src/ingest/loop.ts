/**
 * The scheduler: every wake asks the database which mailboxes are due, and visits as many of them as the limits allow.
 *
 * Due times live in the database, so that a wake is only a wake: missed, late or doubled ones do no harm. A database
 * that cannot be reached is a state, not an end: it is told once when it goes and once when it comes back. A visit
 * that fails is logged when its reason changes and then at its 2nd, 4th, 8th … repetition.
 */
import { asFailure, type Failure } from '../errors.ts';
import { events } from '../events.ts';
import type { Vitals } from './health.ts';
import { createInvalidTeller } from './invalid-rows.ts';
import { recoverLeases } from './lease.ts';
import type { Mailbox } from './mailbox.ts';
import { pollMailbox } from './poll.ts';
import type { PollPorts, PollReport, PollSettings } from './poll-ports.ts';
import type { MailboxStore } from './ports.ts';

export type LoopSettings = PollSettings & { readonly concurrencyMax: number; readonly concurrencyPerHostMax: number };

export type LoopPorts = PollPorts & {
  readonly store: PollPorts['store'] & Pick<MailboxStore, 'listMailboxes' | 'adoptMailboxes'>;
  /** Brings the tables up to date; called until it succeeds once. */
  readonly prepare: () => Promise<void>;
  readonly vitals: Vitals;
};

export interface Loop {
  /** Looks for due mailboxes and starts visits; does nothing while the last wake is still asking. */
  wake(): Promise<void>;
  /** Resolves when no visit is under way. */
  idle(): Promise<void>;
  /** The time to drain is over: what the visits that are cut off have to say is no news. */
  abandon(): void;
}

type Trouble = { readonly code: string; readonly count: number };
type Running = { readonly host: string; readonly ended: Promise<void> };

const dueAtOnce = 500;

/** The loop; `stop` ends visits after the window they are at, and keeps new ones from starting. */
export function createLoop(ports: LoopPorts, settings: LoopSettings, stop: AbortSignal): Loop {
  const [running, troubles] = [new Map<string, Running>(), new Map<string, Trouble>()];
  const tellInvalid = createInvalidTeller(ports);
  let isAsking = false;
  let isAbandoned = false;
  let isPrepared = false;
  // At the start those of a process that died; later our own, of a visit that the database left alone.
  let mayHoldLeases = true;

  const start = (mailbox: Mailbox) => {
    const context = { failures: troubles.get(mailbox.id)?.count ?? 0, stop };
    const visit = pollMailbox(mailbox, ports, settings, context)
      .then(
        (report) => tellSuccess(mailbox, report, troubles, ports),
        (error: unknown) => {
          if (isAbandoned) return;
          const failure = asFailure(error);
          if (failure.code.startsWith('database_')) mayHoldLeases = true;
          tellFailure(mailbox, failure, troubles, ports);
        },
      )
      .finally(() => running.delete(mailbox.id));
    running.set(mailbox.id, { host: mailbox.connection.host, ended: visit });
  };

  /** A visit may leave a lease behind while this looks: then it is for the next wake. */
  const recover = async () => {
    mayHoldLeases = false;
    try {
      await recoverLeases(ports, (id) => running.has(id));
    } catch (error) {
      mayHoldLeases = true;
      throw error;
    }
  };

  const ask = async () => {
    if (!isPrepared) {
      await ports.prepare();
      isPrepared = true;
    }
    if (mayHoldLeases) await recover();
    await ports.store.adoptMailboxes();
    await tellInvalid();
    const due = await ports.store.dueMailboxes(dueAtOnce, ports.passwords.keyIds());
    if (!stop.aborted) for (const mailbox of admitted(due, running, settings)) start(mailbox);
  };

  return {
    wake: async () => {
      if (isAsking || stop.aborted) return;
      isAsking = true;
      try {
        await ask();
        tellDatabase(null, ports);
      } catch (error) {
        tellDatabase(asFailure(error), ports);
      } finally {
        isAsking = false;
        ports.vitals.woke();
      }
    },
    abandon: () => {
      isAbandoned = true;
    },
    idle: async () => {
      while (running.size > 0) await Promise.all([...running.values()].map(({ ended }) => ended));
    },
  };
}

/** Of the due mailboxes, in their order, those that the limits leave room for. */
export function admitted(
  due: readonly Mailbox[],
  running: ReadonlyMap<string, { readonly host: string }>,
  limits: { readonly concurrencyMax: number; readonly concurrencyPerHostMax: number },
): readonly Mailbox[] {
  const perHost = new Map<string, number>();
  for (const { host } of running.values()) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const chosen: Mailbox[] = [];
  for (const mailbox of due) {
    const { host } = mailbox.connection;
    const onHost = perHost.get(host) ?? 0;
    if (running.size + chosen.length >= limits.concurrencyMax) break;
    if (running.has(mailbox.id) || onHost >= limits.concurrencyPerHostMax) continue;
    perHost.set(host, onHost + 1);
    chosen.push(mailbox);
  }
  return chosen;
}

function tellSuccess(mailbox: Mailbox, report: PollReport, troubles: Map<string, Trouble>, ports: LoopPorts): void {
  const before = troubles.get(mailbox.id);
  troubles.delete(mailbox.id);
  ports.vitals.visited(mailbox.id, null);
  const fields = { mailbox: mailbox.name, duration_ms: Math.round(report.durationMs) };
  if (before !== undefined)
    ports.log.info({ ...fields, after_failures: before.count, code: before.code }, events.pollRecovered);
  const handled = Object.values(report.outcomes).reduce((sum, count) => sum + count, 0);
  if (handled > 0) ports.log.info({ ...fields, ...report.outcomes }, events.pollFinished);
  else ports.log.debug(fields, events.pollIdle);
}

function tellFailure(mailbox: Mailbox, failure: Failure, troubles: Map<string, Trouble>, ports: LoopPorts): void {
  if (failure.code === 'lease_taken' || failure.code === 'interrupted') return;
  const before = troubles.get(mailbox.id);
  const count = (before?.count ?? 0) + 1;
  troubles.set(mailbox.id, { code: failure.code, count });
  ports.vitals.visited(mailbox.id, failure);
  const fields = { mailbox: mailbox.name, failures: count, error: failure };
  const isWorthALine = before?.code !== failure.code || Number.isInteger(Math.log2(count));
  if (failure.code === 'unexpected') ports.log.error(fields, events.pollFailed);
  else if (isWorthALine) ports.log.warn(fields, events.pollFailed);
  else ports.log.debug(fields, events.pollFailed);
}

function tellDatabase(failure: Failure | null, ports: LoopPorts): void {
  const isNews = ports.vitals.database(failure);
  if (!isNews) return;
  if (failure === null) ports.log.info({}, events.databaseRecovered);
  else if (failure.code === 'unexpected') ports.log.error({ error: failure }, events.schedulerFailed);
  else ports.log.error({ error: failure }, events.databaseUnavailable);
}
