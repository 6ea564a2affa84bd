/**
 * Which visits stay: a connection that rests in IDLE hears of new mail at once, and there is room for so many of them.
 *
 * A place is for the worker that the mailbox is at home with. Its row is looked at every two seconds: when it changed, was
 * paused or is gone, or another worker has become its home, the visit ends and the mailbox is due. When all places are
 * taken, a mailbox that has just had mail gets that of the one that has been quiet for longest; when limits are lowered, the
 * quietest go. Where servers end resting connections again and again, the mailbox is only polled for an hour.
 */

import type { Clock } from '../../async/clock.ts';
import { createPlaces, type PlaceLimits } from '../../async/semaphore.ts';
import type { Mailbox } from '../model.ts';
import type { PushPlace } from '../poll/poll-context.ts';
import type { IngestStore } from '../stores.ts';
import type { Fleet } from './workers.ts';

export type PushLimits = {
  readonly connectionsMax: number;
  readonly connectionsPerHostMax: number;
  /** Rounds of resting visits at the same time, in all and per mail host. */
  readonly rounds: PlaceLimits;
};

export interface Push {
  admit(mailbox: Mailbox, version: string, hadMail: boolean): PushPlace | null;
  /** Looks at the rows of those that rest, if the last look is a while ago. */
  refresh(): Promise<void>;
  has(mailboxId: string): boolean;
  open(): { readonly open: number; readonly max: number };
}

type PushPorts = {
  readonly store: Pick<IngestStore, 'watchedRows'>;
  readonly fleet: Pick<Fleet, 'isHome'>;
  readonly clock: Clock;
};

type Resting = {
  readonly host: string;
  readonly version: string;
  readonly ending: AbortController;
  readonly sinceMs: number;
  mailAtMs: number;
  isDueAfter: boolean;
};

const lookMs = 2000;
const quietMsMin = 10 * 60_000;
/** A rest shorter than this counts as broken off; a longer one, and an hour without, make up for all before. */
const shortRestMs = 60_000;
const breaksMax = 3;
const penaltyMs = 3_600_000;

export function createPush(ports: PushPorts, limits: () => PushLimits): Push {
  const { clock, fleet, store } = ports;
  const resting = new Map<string, Resting>();
  const barred = createBarred(clock);
  const places = createPlaces(clock, () => limits().rounds);
  let lookedAtMs = Number.NEGATIVE_INFINITY;

  const hasRoom = (host: string, hadMail: boolean): boolean => {
    const { connectionsMax, connectionsPerHostMax } = limits();
    const onHost = [...resting.values()].filter((one) => one.host === host && !one.ending.signal.aborted);
    if (connectionsMax === 0 || connectionsPerHostMax === 0) return false;
    if (onHost.length >= connectionsPerHostMax) return hadMail && makeRoom(onHost, clock);
    const all = [...resting.values()].filter((one) => !one.ending.signal.aborted);
    return all.length < connectionsMax || (hadMail && makeRoom(all, clock));
  };

  return {
    admit: (mailbox, version, hadMail) => {
      const { id, connection } = mailbox;
      if (resting.has(id) || barred.has(id) || !fleet.isHome(id) || !hasRoom(connection.host, hadMail)) return null;
      const nowMs = clock.monotonicMs();
      const one: Resting = {
        ...{ host: connection.host, version, sinceMs: nowMs, isDueAfter: false },
        ending: new AbortController(),
        mailAtMs: hadMail ? nowMs : Number.NEGATIVE_INFINITY,
      };
      resting.set(id, one);
      return {
        end: one.ending.signal,
        isDueAfter: () => one.isDueAfter,
        round: async (work) => {
          const done = await places.take(connection.host);
          try {
            const result = await work();
            if (result.hadMail) one.mailAtMs = clock.monotonicMs();
            return result;
          } finally {
            done();
          }
        },
        broke: (isRefused = false) => {
          if (isRefused) return barred.add(id, breaksMax);
          if (clock.monotonicMs() - one.sinceMs < shortRestMs) return barred.add(id, 1);
          barred.forget(id);
          return true;
        },
        [Symbol.dispose]: () => void resting.delete(id),
      };
    },
    refresh: async () => {
      if (resting.size === 0 || clock.monotonicMs() - lookedAtMs < lookMs) return;
      const rows = await store.watchedRows([...resting.keys()]);
      lookedAtMs = clock.monotonicMs();
      for (const [id, one] of resting) {
        const row = rows.get(id);
        const isAsItWas = row?.isActive === true && row.version === one.version && fleet.isHome(id);
        if (!isAsItWas) end(one, true);
      }
      shrink([...resting.values()], limits());
    },
    has: (mailboxId) => resting.has(mailboxId),
    open: () => ({ open: resting.size, max: limits().connectionsMax }),
  };
}

/** Mailboxes whose connections did not rest, too often to try again for a while. */
function createBarred(clock: Clock) {
  const breaks = new Map<string, { readonly count: number; readonly untilMs: number }>();
  const countOf = (mailboxId: string): number => {
    const broken = breaks.get(mailboxId);
    if (broken === undefined) return 0;
    if (clock.monotonicMs() < broken.untilMs) return broken.count;
    breaks.delete(mailboxId);
    return 0;
  };
  return {
    has: (mailboxId: string): boolean => countOf(mailboxId) >= breaksMax,
    /** False when it is barred now. */
    add: (mailboxId: string, times: number): boolean => {
      const count = countOf(mailboxId) + times;
      breaks.set(mailboxId, { count, untilMs: clock.monotonicMs() + penaltyMs });
      return count < breaksMax;
    },
    forget: (mailboxId: string): void => void breaks.delete(mailboxId),
  };
}

/** Limits may have been lowered: ends the rests that are too many, those without mail for longest first. */
function shrink(all: readonly Resting[], { connectionsMax, connectionsPerHostMax }: PushLimits): void {
  let room = connectionsMax;
  const onHost = new Map<string, number>();
  for (const one of all.filter(({ ending }) => !ending.signal.aborted).sort((a, b) => b.mailAtMs - a.mailAtMs)) {
    const others = onHost.get(one.host) ?? 0;
    if (room <= 0 || others >= connectionsPerHostMax) end(one, true);
    else {
      room -= 1;
      onHost.set(one.host, others + 1);
    }
  }
}

/** Ends the rest of the one that has been without mail for longest. False when all of them had some lately. */
function makeRoom(all: readonly Resting[], clock: Clock): boolean {
  const [quietest] = [...all].sort((a, b) => a.mailAtMs - b.mailAtMs);
  if (quietest === undefined || clock.monotonicMs() - quietest.mailAtMs < quietMsMin) return false;
  end(quietest, false);
  return true;
}

function end(one: Resting, isDueAfter: boolean): void {
  one.isDueAfter = isDueAfter;
  one.ending.abort();
}
