/**
 * Leaves a mail server (a host and a port) alone while nothing there can be reached, for all its mailboxes together.
 *
 * After two visits in a row that found nobody, its mailboxes are not visited; one of them tries after 2 s, 4 s, 8 s … up to
 * a minute, and when that one gets through, all are visited again. So an outage costs one connection at a time and not
 * one of every mailbox, and ends everywhere within a minute.
 */
import { asFailure, type Failure, type FailureCode } from '../errors.ts';
import type { Connection } from './mailbox.ts';
import type { Clock } from './ports.ts';
import type { ServerCheck } from './readiness.ts';

/** Nobody was reached who could have said something about one mailbox. */
export const hostTroubleCodes: readonly FailureCode[] = [
  'name_not_found',
  'connect_refused',
  'connect_timeout',
  'not_imap',
];

/** These come before or beside the server: they say nothing about it. */
const beside =
  /^(database|lease|key|password|switch|disk|parse|parser|row|mailbox|plaintext)_|^(interrupted|not_found|unexpected)$/;

/** Before the user plays a part, a server that breaks off or says nothing does so to everybody. */
const atOnce: readonly FailureCode[] = ['connection_lost', 'server_timeout', 'server_busy'];
/** A lack on this machine. */
const ownLack = /^(EMFILE|ENFILE|ENOBUFS|ENOMEM|EAI_SYSTEM|EAI_MEMORY)$/;

function isHostTrouble({ code, fields }: Failure): boolean {
  if (hostTroubleCodes.includes(code)) return true;
  const { stage } = fields;
  return atOnce.includes(code) && (stage === 'greeting' || (stage === 'tls' && code !== 'server_busy'));
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
   * How the visit went; null: well. `held`: the server is left alone from now on; `back`: it was, and can be reached again; else
   * null.
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
const holdMsMax = 60_000;

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
      troubles.delete(key);
      return held !== null && isHeld(held) ? 'back' : null;
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
