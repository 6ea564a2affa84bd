/**
 * IDLE slots (RFC 2177): which mailboxes hold a connection on which the server announces new messages.
 *
 * The number of connections is limited, in all and per mail host. A slot goes to the preferred worker of the mailbox.
 * Its row is read every two seconds: when it changed, was paused or removed, or another worker became the preferred
 * one, the slot ends and the mailbox is due. When all slots are taken, a mailbox that just had new messages displaces
 * the one without for longest; when limits are lowered, slots end in that order. A mailbox whose server keeps ending
 * idle connections is only polled for an hour.
 */
import type { Clock } from '../../async/clock.ts';
import { createSemaphore, type SemaphoreLimits } from '../../async/semaphore.ts';
import type { Mailbox } from '../model.ts';
import type { IdleSlot } from '../poll/poll-context.ts';
import type { IngestStore } from '../stores.ts';
import type { LiveWorkers } from './workers.ts';

export type IdleLimits = {
  readonly connectionsMax: number;
  readonly connectionsPerHostMax: number;
  /** Rounds of idling polls at the same time, in all and per mail host. */
  readonly rounds: SemaphoreLimits;
};

export interface IdleSlots {
  /** A slot for `mailbox` at this version of its row; null: none is free, or its server does not allow it. */
  request(mailbox: Mailbox, version: string, hadMessages: boolean): IdleSlot | null;
  /** Reads the rows of idling mailboxes, at most every two seconds, and applies the limits in force. */
  refresh(): Promise<void>;
  isIdling(mailboxId: string): boolean;
  usage(): { readonly open: number; readonly max: number };
}

type IdleSlotsPorts = {
  readonly store: Pick<IngestStore, 'mailboxVersions'>;
  readonly workers: Pick<LiveWorkers, 'isPreferredHere'>;
  readonly clock: Clock;
};

/** Times are on the monotonic clock. */
type IdlingMailbox = {
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
/** An IDLE shorter than this counts as broken off; a longer one, or an hour without, clears earlier ones. */
const shortIdleMs = 60_000;
const brokenOffMax = 3;
const suspendMs = 3_600_000;

/** `limits` is read on every request and refresh. */
export function createIdleSlots(ports: IdleSlotsPorts, limits: () => IdleLimits): IdleSlots {
  const { clock, workers, store } = ports;
  const idling = new Map<string, IdlingMailbox>();
  const suspensions = createSuspensions(clock);
  const rounds = createSemaphore(clock, () => limits().rounds);
  let refreshedAtMs = Number.NEGATIVE_INFINITY;

  const hasRoom = (host: string, hadMessages: boolean): boolean => {
    const { connectionsMax, connectionsPerHostMax } = limits();
    const all = [...idling.values()].filter(isOpen);
    const onHost = all.filter((one) => one.host === host);
    if (connectionsMax === 0 || connectionsPerHostMax === 0) return false;
    if (onHost.length >= connectionsPerHostMax) return hadMessages && displaceQuietest(onHost, clock);
    return all.length < connectionsMax || (hadMessages && displaceQuietest(all, clock));
  };

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
      if (isRefused) return suspensions.count(id, brokenOffMax);
      if (clock.monotonicMs() - one.sinceMs < shortIdleMs) return suspensions.count(id, 1);
      suspensions.clear(id);
      return true;
    },
    [Symbol.dispose]: () => void idling.delete(id),
  });

  return {
    request: ({ id, connection: { host } }, version, hadMessages) => {
      if (idling.has(id) || suspensions.has(id) || !workers.isPreferredHere(id) || !hasRoom(host, hadMessages))
        return null;
      const nowMs = clock.monotonicMs();
      const one: IdlingMailbox = {
        ...{ host, version, sinceMs: nowMs, isDueAfter: false, ending: new AbortController() },
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
        const row = rows.get(id);
        const isUnchanged = row?.isActive === true && row.version === one.version && workers.isPreferredHere(id);
        if (!isUnchanged) end(one, true);
      }
      applyLimits([...idling.values()], limits());
    },
    isIdling: (mailboxId) => idling.has(mailboxId),
    usage: () => ({ open: idling.size, max: limits().connectionsMax }),
  };
}

/** Mailboxes whose IDLE was broken off or refused too often: they get no slot for an hour. */
function createSuspensions(clock: Clock) {
  const counts = new Map<string, { readonly count: number; readonly untilMs: number }>();
  const countOf = (mailboxId: string): number => {
    const counted = counts.get(mailboxId);
    if (counted === undefined) return 0;
    if (clock.monotonicMs() < counted.untilMs) return counted.count;
    counts.delete(mailboxId);
    return 0;
  };
  return {
    has: (mailboxId: string): boolean => countOf(mailboxId) >= brokenOffMax,
    /** False: the mailbox is suspended now. */
    count: (mailboxId: string, times: number): boolean => {
      const count = countOf(mailboxId) + times;
      counts.set(mailboxId, { count, untilMs: clock.monotonicMs() + suspendMs });
      return count < brokenOffMax;
    },
    clear: (mailboxId: string): void => void counts.delete(mailboxId),
  };
}

function isOpen({ ending }: IdlingMailbox): boolean {
  return !ending.signal.aborted;
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
