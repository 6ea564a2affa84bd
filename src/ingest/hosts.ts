/**
 * Leaves a mail server (a host and a port) alone while nothing there can be reached, for all its mailboxes together.
 *
 * After two visits in a row that found nobody, its mailboxes are not visited; one of them tries after 2 s, 4 s, 8 s … up to
 * a minute, and when that one gets through, all are visited again. So an outage costs one connection at a time and not
 * one of every mailbox, and ends everywhere within a minute.
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, type Failure, type FailureCode } from '../errors.ts';
import type { Connection } from './mailbox.ts';
import type { ServerCheck } from './readiness.ts';

/** Nobody was reached who could have said something about one mailbox. */
const unreached: readonly FailureCode[] = ['name_not_found', 'connect_refused', 'connect_timeout', 'not_imap'];
/** Before the user plays a part, a server that breaks off or says nothing does so to everybody. */
const brokenOff: readonly FailureCode[] = ['connection_lost', 'server_timeout', 'tls_failed'];

/**
 * All that host trouble is stored as, and some that is none: to visit those at once when their server is back does no harm.
 * Without `server_busy`: that is mostly a server that asks one user for rest.
 */
export const hostTroubleCodes: readonly FailureCode[] = [...unreached, ...brokenOff];

/** These come before or beside the server: they say nothing about it. */
const beside =
  /^(database|lease|key|password|switch|disk|parse|parser|row|mailbox|plaintext)_|^(interrupted|not_found|unexpected)$/;
/** A lack on this machine. */
const ownLack = /^(EMFILE|ENFILE|ENOBUFS|ENOMEM|EAI_SYSTEM|EAI_MEMORY)$/;

const beforeUser: readonly unknown[] = ['name', 'connect', 'tls', 'greeting'];

/** True for a failure that says something about all mailboxes of the server. */
export function isHostTrouble(failure: Failure): boolean {
  const { code, fields } = failure;
  if (saysNothing(failure)) return false;
  if (code === 'server_busy') return fields['stage'] === 'greeting';
  return unreached.includes(code) || (brokenOff.includes(code) && beforeUser.includes(fields['stage']));
}

export type Server = Pick<Connection, 'host' | 'port'>;

export function serverKey({ host, port }: Server): string {
  return `${host}:${port}`;
}

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
/** No mailbox waits for longer after host trouble: somebody has to be due when a try is allowed. */
export const holdMsMax = 60_000;

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

function saysNothing({ code, fields }: Failure): boolean {
  return beside.test(code) || ownLack.test(`${fields['cause']}`);
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
