/**
 * IDLE slots (RFC 2177): which mailboxes hold a connection on which the server announces new messages.
 *
 * The number of connections is limited, in all and per mail host. A slot goes to the preferred worker of the mailbox.
 * Its row is read every two seconds: when it changed, was paused or removed, or another worker became the preferred
 * one, the slot ends and the mailbox is due. When all slots are taken, a mailbox that just had new messages displaces
 * the one without for longest; when limits are lowered, slots end in that order. A mailbox whose server keeps ending
 * idle connections is only polled for an hour (push-suspensions.ts).
 */
import type { Clock } from '../../async/clock.ts';
import { createSemaphore, type SemaphoreLimits } from '../../async/semaphore.ts';
import type { Log } from '../../events.ts';
import { isoTime } from '../../text/time.ts';
import type { Mailbox } from '../model.ts';
import type { IdleSlot, IdleSlotRequest } from '../poll/poll-context.ts';
import type { PushState } from '../readiness.ts';
import type { IngestStore } from '../stores.ts';
import { createPushSuspensions, type PushSuspensions, shortIdleMs } from './push-suspensions.ts';
import type { LiveWorkers } from './workers.ts';

export type IdleLimits = {
  readonly connectionsMax: number;
  readonly connectionsPerHostMax: number;
  /** Rounds of idling polls at the same time, in all and per mail host. */
  readonly rounds: SemaphoreLimits;
};

export interface IdleSlots {
  /** A slot for `mailbox` at this version of its row; null: none is free, or its server does not allow it. */
  request(mailbox: Mailbox, version: string, request: IdleSlotRequest): IdleSlot | null;
  /** Reads the rows of idling mailboxes, at most every two seconds, and applies the limits in force. */
  refresh(): Promise<void>;
  /** The push state of mailboxes at this moment. */
  pushStates(): (mailbox: Mailbox) => PushState;
  /** A person asked for another try: IDLE is allowed again. */
  endSuspension(mailboxId: string): void;
  usage(): { readonly open: number; readonly max: number };
}

type IdleSlotsPorts = {
  readonly store: Pick<IngestStore, 'mailboxVersions'>;
  readonly workers: Pick<LiveWorkers, 'isPreferredHere'>;
  readonly clock: Clock;
  readonly log: Log;
};

/** Times are on the monotonic clock. */
type IdlingMailbox = {
  readonly mailbox: Mailbox;
  readonly host: string;
  readonly version: string;
  readonly ending: AbortController;
  readonly sinceMs: number;
  lastMessageMs: number;
  isDueAfter: boolean;
};

const refreshMs = 2000;
/** A mailbox with new messages within this time is not displaced. */
const quietMsMin = 10 * 60_000;

/** `limits` is read on every request and refresh. */
export function createIdleSlots(ports: IdleSlotsPorts, limits: () => IdleLimits): IdleSlots {
  const { clock, workers, store } = ports;
  const idling = new Map<string, IdlingMailbox>();
  const suspensions = createPushSuspensions(ports);
  /** Ids of mailboxes whose server did not offer IDLE in the last session. */
  const unsupported = new Set<string>();
  const rounds = createSemaphore(clock, () => limits().rounds);
  let refreshedAtMs = Number.NEGATIVE_INFINITY;

  const hasRoom = (host: string, hadMessages: boolean): boolean =>
    makeRoom([...idling.values()].filter(isOpen), limits(), host, hadMessages, clock);

  const open = (id: string, one: IdlingMailbox): IdleSlot => ({
    end: one.ending.signal,
    isDueAtOnce: () => one.isDueAfter,
    runRound: async (work) => {
      const release = await rounds.acquire(one.host);
      try {
        const result = await work();
        if (result.hadMessages) one.lastMessageMs = clock.monotonicMs();
        return result;
      } finally {
        release();
      }
    },
    connectionEnded: (isRefused = false) => {
      if (isRefused) return suspensions.count(one.mailbox, 'idle_refused');
      if (clock.monotonicMs() - one.sinceMs < shortIdleMs) return suspensions.count(one.mailbox, 'idle_broken_off');
      suspensions.clear(one.mailbox);
      return true;
    },
    [Symbol.dispose]: () => void idling.delete(id),
  });

  return {
    request: (mailbox, version, { hadMessages, isOffered }) => {
      const { id } = mailbox;
      const { host } = mailbox.connection;
      if (isOffered) unsupported.delete(id);
      else unsupported.add(id);
      const isSuspended = suspensions.of(id) !== null;
      const isRefused = !isOffered || isSuspended || idling.has(id) || !workers.isPreferredHere(id);
      if (isRefused || !hasRoom(host, hadMessages)) return null;
      const nowMs = clock.monotonicMs();
      const one: IdlingMailbox = {
        ...{ mailbox, host, version, sinceMs: nowMs, isDueAfter: false, ending: new AbortController() },
        lastMessageMs: hadMessages ? nowMs : Number.NEGATIVE_INFINITY,
      };
      idling.set(id, one);
      return open(id, one);
    },
    refresh: async () => {
      if (idling.size === 0 || clock.monotonicMs() - refreshedAtMs < refreshMs) return;
      const rows = await store.mailboxVersions([...idling.keys()]);
      refreshedAtMs = clock.monotonicMs();
      for (const [id, one] of idling) {
        if (refreshedAtMs - one.sinceMs >= shortIdleMs) suspensions.clear(one.mailbox);
        const row = rows.get(id);
        const isUnchanged = row?.isActive === true && row.version === one.version && workers.isPreferredHere(id);
        // A new login shows whether the connection is alive.
        if (!isUnchanged || row.isRetried) end(one, true);
      }
      applyLimits([...idling.values()], limits());
    },
    pushStates: () => pushStatesIn({ ...ports, idling, suspensions, unsupported, limits: limits() }),
    endSuspension: suspensions.end,
    usage: () => ({ open: idling.size, max: limits().connectionsMax }),
  };
}

function isOpen({ ending }: IdlingMailbox): boolean {
  return !ending.signal.aborted;
}

/** True where a connection is free, or one without new messages for long was ended for a mailbox that had some. */
function makeRoom(
  all: readonly IdlingMailbox[],
  limits: IdleLimits,
  host: string,
  hadMessages: boolean,
  clock: Clock,
): boolean {
  if (isOff(limits)) return false;
  const onHost = all.filter((one) => one.host === host);
  if (onHost.length >= limits.connectionsPerHostMax) return hadMessages && displaceQuietest(onHost, clock);
  return all.length < limits.connectionsMax || (hadMessages && displaceQuietest(all, clock));
}

type SlotTable = IdleSlotsPorts & {
  readonly idling: ReadonlyMap<string, IdlingMailbox>;
  readonly suspensions: Pick<PushSuspensions, 'of'>;
  readonly unsupported: ReadonlySet<string>;
  readonly limits: IdleLimits;
};

function pushStatesIn({ clock, workers, idling, suspensions, unsupported, limits }: SlotTable) {
  const isFull = fullness([...idling.values()].filter(isOpen), limits);
  const codeOf = ({ id, connection: { host } }: Mailbox): PushState['code'] => {
    if (isOff(limits)) return 'idle_off';
    if (!workers.isPreferredHere(id)) return 'other_worker';
    if (unsupported.has(id)) return 'idle_unsupported';
    return isFull(host) ? 'idle_slots_taken' : 'not_connected';
  };
  return (mailbox: Mailbox): PushState => {
    if (idling.has(mailbox.id)) return { state: 'idling', code: null, until: null };
    const mayIdleHere = !isOff(limits) && workers.isPreferredHere(mailbox.id);
    const suspension = mayIdleHere ? suspensions.of(mailbox.id) : null;
    if (suspension === null) return { state: 'polled', code: codeOf(mailbox), until: null };
    const until = isoTime(clock.nowMs() + suspension.untilMs - clock.monotonicMs());
    return { state: 'suspended', code: suspension.code, until };
  };
}

function isOff({ connectionsMax, connectionsPerHostMax }: IdleLimits): boolean {
  return connectionsMax === 0 || connectionsPerHostMax === 0;
}

/** True for a mail host where no connection is free. */
function fullness(
  all: readonly IdlingMailbox[],
  { connectionsMax, connectionsPerHostMax }: IdleLimits,
): (host: string) => boolean {
  const onHost = Map.groupBy(all, ({ host }) => host);
  return (host) => all.length >= connectionsMax || (onHost.get(host)?.length ?? 0) >= connectionsPerHostMax;
}

/** Limits may have been lowered: ends the slots above them, those without new messages for longest first. */
function applyLimits(all: readonly IdlingMailbox[], { connectionsMax, connectionsPerHostMax }: IdleLimits): void {
  let room = connectionsMax;
  const onHost = new Map<string, number>();
  for (const one of all.filter(isOpen).sort((a, b) => b.lastMessageMs - a.lastMessageMs)) {
    const others = onHost.get(one.host) ?? 0;
    if (room <= 0 || others >= connectionsPerHostMax) end(one, true);
    else {
      room -= 1;
      onHost.set(one.host, others + 1);
    }
  }
}

/** Ends the slot without new messages for longest. False: all of them had some lately. */
function displaceQuietest(all: readonly IdlingMailbox[], clock: Clock): boolean {
  const [quietest] = [...all].sort((a, b) => a.lastMessageMs - b.lastMessageMs);
  if (quietest === undefined || clock.monotonicMs() - quietest.lastMessageMs < quietMsMin) return false;
  end(quietest, false);
  return true;
}

function end(one: IdlingMailbox, isDueAfter: boolean): void {
  one.isDueAfter = isDueAfter;
  one.ending.abort();
}
