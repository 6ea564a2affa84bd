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

type Running = UnderWay & { poll: string | null; isResting: boolean; ended: Promise<void> };

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
  };

  const start = (mailbox: DueMailbox): void => {
    const { id, connection } = mailbox;
    const entry: Running = {
      ...{ host: connection.host, isRetry: isRetryOf(mailbox), isResting: false },
      ...{ poll: null, ended: Promise.resolve() },
    };
    const startedAtMs = clock.monotonicMs();
    running.set(id, entry);
    hosts.began(connection, id);
    const begun = (poll: string) => {
      entry.poll = poll;
    };
    const rests = () => {
      entry.isResting = true;
      freed();
    };
    entry.ended = pollMailbox(mailbox, ports, settings, contextOf(mailbox, ports, stop, { begun, rests }))
      .catch((error: unknown) => {
        const failure = asFailure(error);
        reached(mailbox, failure, ports);
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

type Heard = { readonly begun: (poll: string) => void; readonly rests: () => void };

function contextOf(mailbox: DueMailbox, ports: LoopPorts, stop: AbortSignal, heard: Heard): PollContext {
  const { due, connection, name } = mailbox;
  let lagMs: number | null = due.overdueMs;
  return {
    due,
    stop,
    onBegun: heard.begun,
    renumberings: {
      note: () => ports.vitals.renumberings.note(mailbox.id),
      count: () => ports.vitals.renumberings.count(mailbox.id),
    },
    onRefused: (refusal) => ports.teller.refused(mailbox, refusal),
    onOpened: ({ certificateEndsAtMs: endsAtMs }) => {
      reached(mailbox, null, ports);
      if (endsAtMs !== null) ports.vitals.certificate(connection.host, connection.port, endsAtMs);
    },
    onRound: (report) => {
      ports.teller.round(mailbox, report, lagMs);
      lagMs = null;
    },
    stay: (hadMail) => {
      const place = ports.push.admit(mailbox, due.version, hadMail);
      if (place === null) return null;
      heard.rests();
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
  // Those that failed wait for long by now. If the database is away, they come when their time has come.
  ports.store.hurry(hostTroubleCodes, host).catch((error: unknown) => ports.teller.database(asFailure(error)));
}
