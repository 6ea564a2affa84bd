/**
 * The visits under way: begins them, and does what follows from how they end.
 *
 * A visit that rests (push.ts) takes no place of the limits. A lease that a visit could not let go of, because the
 * database was away, is freed as soon as that answers again.
 */
import { asFailure, type Failure } from '../errors.ts';
import { events } from '../events.ts';
import { isRetryOf, type UnderWay } from './due.ts';
import { hostTroubleCodes } from './hosts.ts';
import { recoverLeases } from './lease.ts';
import type { LoopPorts, LoopSettings } from './loop.ts';
import { pausesLogins } from './next-poll.ts';
import { pollMailbox } from './poll.ts';
import type { PollContext } from './poll-ports.ts';
import type { DueMailbox } from './ports.ts';

export interface Visits {
  /** By mailbox id. */
  readonly underWay: ReadonlyMap<string, UnderWay>;
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
  ports: LoopPorts,
  settings: () => LoopSettings,
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
    underWay: running,
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
  ports: LoopPorts,
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
function reached({ id, connection }: DueMailbox, failure: Failure | null, ports: LoopPorts): void {
  const news = ports.hosts.ended(connection, id, failure);
  const { host, port } = connection;
  if (news === 'held') ports.log.warn({ host, port, error: failure }, events.hostHeld);
  if (news !== 'back') return;
  ports.log.info({ host, port }, events.hostRecovered);
  // Those that failed may have to wait for long. If the database is away, they come when their time has come.
  ports.store.hurry(hostTroubleCodes, host).catch((error: unknown) => ports.teller.database(asFailure(error)));
}
