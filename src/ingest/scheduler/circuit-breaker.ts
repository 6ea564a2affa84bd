/**
 * Leaves a mail server (a host and a port) alone while nothing there can be reached, for all its mailboxes together.
 *
 * After two visits in a row that found nobody, its mailboxes are not visited; one of them tries after 2 s, 4 s, 8 s … up to
 * a minute, and when that one gets through, all are visited again. So an outage costs one connection at a time and not
 * one of every mailbox, and ends everywhere within a minute.
 */

import type { Clock } from '../../async/clock.ts';
import { asFailure, type Failure } from '../../errors.ts';
import { type Server, serverKey } from '../model.ts';
import { holdMsMax, isHostTrouble, saysNothing } from '../poll/backoff.ts';
import type { ServerCheck } from '../readiness.ts';

export interface Hosts {
  /** Whether a mailbox there may be visited now. */
  admits(server: Server): boolean;
  began(server: Server, mailboxId: string): void;
  /**
   * How the visit went, told once: null when its session is open, else what kept it from that. `held`: the server is left
   * alone from now on; `back`: it was, and can be reached again; else null.
   */
  ended(server: Server, mailboxId: string, failure: Failure | null): 'held' | 'back' | null;
  list(): readonly ServerCheck[];
}

type Held = {
  readonly server: Server;
  failure: Failure;
  readonly sinceMs: number;
  failures: number;
  /** On the monotonic clock. */
  untilMs: number;
  /** The mailbox that tries. */
  trying: string | null;
};

const failuresBeforeHold = 2;

export function createHosts(clock: Clock, random: () => number): Hosts {
  const troubles = new Map<string, Held>();
  const missed = (server: Server, failure: Failure, isTry: boolean): 'held' | null => {
    const key = serverKey(server);
    const fresh: Held = { server, failure, sinceMs: clock.nowMs(), failures: 0, untilMs: 0, trying: null };
    const held = troubles.get(key) ?? fresh;
    troubles.set(key, held);
    const wasHeld = isHeld(held);
    // Those that were on their way as the server went say nothing new.
    if (wasHeld && !isTry) return null;
    held.failure = asFailure(failure);
    held.failures += 1;
    held.untilMs = clock.monotonicMs() + holdMs(held.failures, random());
    return isHeld(held) && !wasHeld ? 'held' : null;
  };
  return {
    admits: (server) => {
      const held = troubles.get(serverKey(server));
      if (held === undefined || !isHeld(held)) return true;
      return held.trying === null && clock.monotonicMs() >= held.untilMs;
    },
    began: (server, mailboxId) => {
      const held = troubles.get(serverKey(server));
      if (held !== undefined && isHeld(held)) held.trying ??= mailboxId;
    },
    ended: (server, mailboxId, failure) => {
      const key = serverKey(server);
      const held = troubles.get(key) ?? null;
      const isTry = held?.trying === mailboxId;
      if (held !== null && isTry) held.trying = null;
      if (failure !== null && saysNothing(failure)) return null;
      if (failure !== null && isHostTrouble(failure)) return missed(server, failure, isTry);
      const wasHeld = held !== null && isHeld(held);
      // What failed beside the try may have reached the server before it went.
      if (failure !== null && wasHeld && !isTry) return null;
      troubles.delete(key);
      return wasHeld ? 'back' : null;
    },
    list: () => [...troubles.values()].filter(isHeld).map((held) => serverCheck(held, clock)),
  };
}

function isHeld({ failures }: Held): boolean {
  return failures >= failuresBeforeHold;
}

function holdMs(failures: number, random: number): number {
  const full = Math.min(holdMsMax, 1000 * 2 ** Math.min(failures - 1, 16));
  return full * (1 - 0.25 * random);
}

function serverCheck({ server, failure, sinceMs, untilMs }: Held, clock: Clock): ServerCheck {
  const nextTryMs = clock.nowMs() + Math.max(0, untilMs - clock.monotonicMs());
  return {
    host: server.host,
    port: server.port,
    status: 'failing',
    since: new Date(sinceMs).toISOString(),
    reason: `${failure.code}: ${failure.message}`,
    hint: failure.hint,
    next_try: new Date(nextTryMs).toISOString(),
  };
}
