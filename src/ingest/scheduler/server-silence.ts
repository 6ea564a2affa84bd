/**
 * Failure detector for mail servers that accept connections and do not answer: silence, and heartbeats in IDLE.
 *
 * A connection is silent when it has awaited an answer for 5 s without a byte; its mailbox then fails. The server is
 * silent when a second connection there has awaited one for 2 s, and no other has heard a byte meanwhile. A byte ends
 * it. Idling connections await nothing: once 3 s have passed without a byte from a server, one of them, in turn,
 * sends DONE and IDLE again, and a second one when the first gets no answer. Silence is counted in ticks as well as in
 * time, since a busy event loop is no silent server. Times are on the monotonic clock.
 */
import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import type { ServerOutage } from '../health/server-outages.ts';
import type { ServerWatch } from '../poll/poll-context.ts';
import { type Endpoint, endpointKey } from '../poll/server-failures.ts';

export interface ServerSilence {
  /** For one poll of a mailbox, until it is disposed. */
  watch(endpoint: Endpoint, mailboxId: string): ServerWatch & Disposable;
  /** Call it every second. */
  tick(): void;
  /** Makes all idling connections of a server prove themselves, as its circuit breaker opened. */
  verifyAll(endpoint: Endpoint): void;
  silentServers(): readonly ServerOutage[];
  isServerSilent(endpoint: Endpoint): boolean;
  /** Since when the connection of the mailbox is silent; null: it is not. */
  silentSinceMs(mailboxId: string): number | null;
  /** When a connection of the mailbox in IDLE heard its last byte; null: there is none. */
  heardAtMs(mailboxId: string): number | null;
}

/** `changed`: a mailbox or server became silent, or is no longer. */
export type SilenceEvents = {
  changed(): void;
  serverChanged(endpoint: Endpoint, failure: Failure | null): void;
};

// Ticks come every second, some a little early.
const [silentTicks, silentMs] = [5, 4500];
const [secondTicks, secondMs] = [2, 1500];
const heartbeatMs = 2500;
/** Ticks after which a second connection is asked as well, and how often one is. */
const [doubtTicks, doubtMs] = [2, 1500];
/** Of all servers together: with more than 75 of them heartbeats are further apart. */
const heartbeatsPerTick = 25;

type Connection = {
  readonly server: WatchedServer;
  /** When the answer that it awaits was requested, or the last byte of it came. */
  sinceMs: number;
  heardAtMs: number | null;
  /** Ticks since then. */
  quietTicks: number;
  isSilent: boolean;
  verify: (() => boolean) | null;
};

type WatchedServer = {
  readonly endpoint: Endpoint;
  readonly connections: Set<Connection>;
  /** Those that await an answer. */
  readonly awaiting: Set<Connection>;
  /** The next one to send a heartbeat is the first. */
  readonly idling: Set<Connection>;
  /** A byte from any of them. */
  heardAtMs: number;
  askedAtMs: number;
  /** null: it answers. */
  silence: ServerOutage | null;
};

export function createServerSilence(clock: Pick<Clock, 'monotonicMs'>, events: SilenceEvents): ServerSilence {
  const servers = new Map<string, WatchedServer>();
  const byMailbox = new Map<string, Connection>();
  const serverOf = (endpoint: Endpoint): WatchedServer => {
    const key = endpointKey(endpoint);
    const server = servers.get(key) ?? newServer(endpoint);
    servers.set(key, server);
    return server;
  };
  return {
    watch: (endpoint, mailboxId) => {
      const connection = newConnection(serverOf(endpoint));
      byMailbox.set(mailboxId, connection);
      const end = (): void => {
        if (byMailbox.get(mailboxId) === connection) byMailbox.delete(mailboxId);
        forget(connection, servers);
        if (connection.isSilent) events.changed();
      };
      return { ...watchOf(connection, clock, events), [Symbol.dispose]: end };
    },
    tick: () => {
      const nowMs = clock.monotonicMs();
      let heartbeats = heartbeatsPerTick;
      for (const server of [...servers.values()]) {
        if (hasChanged(server, nowMs)) events.changed();
        if (server.silence === null && isSilent(server, nowMs)) becomeSilent(server, nowMs, events);
        if (heartbeats > 0 && needsHeartbeat(server, nowMs) && verifyNext(server, nowMs)) {
          heartbeats -= 1;
          moveToEnd(servers, server);
        }
      }
    },
    verifyAll: (endpoint) => {
      for (const { verify } of [...(servers.get(endpointKey(endpoint))?.idling ?? [])]) verify?.();
    },
    silentServers: () => [...servers.values()].flatMap(({ silence }) => (silence === null ? [] : [silence])),
    isServerSilent: (endpoint) => (servers.get(endpointKey(endpoint))?.silence ?? null) !== null,
    silentSinceMs: (mailboxId) => {
      const connection = byMailbox.get(mailboxId);
      return connection?.isSilent === true ? connection.sinceMs : null;
    },
    heardAtMs: (mailboxId) => {
      const connection = byMailbox.get(mailboxId);
      return connection?.server.idling.has(connection) === true ? connection.heardAtMs : null;
    },
  };
}

function newServer({ host, port, tls }: Endpoint): WatchedServer {
  const sets = { connections: new Set<Connection>(), awaiting: new Set<Connection>(), idling: new Set<Connection>() };
  const never = Number.NEGATIVE_INFINITY;
  return { endpoint: { host, port, tls }, ...sets, heardAtMs: never, askedAtMs: never, silence: null };
}

function newConnection(server: WatchedServer): Connection {
  const connection: Connection = {
    ...{ server, sinceMs: 0, heardAtMs: null, quietTicks: 0, isSilent: false, verify: null },
  };
  server.connections.add(connection);
  return connection;
}

function watchOf(connection: Connection, clock: Pick<Clock, 'monotonicMs'>, events: SilenceEvents): ServerWatch {
  const { server } = connection;
  return {
    awaited: () => {
      connection.sinceMs = clock.monotonicMs();
      connection.quietTicks = 0;
      server.awaiting.add(connection);
    },
    received: () => {
      const nowMs = clock.monotonicMs();
      connection.sinceMs = nowMs;
      connection.heardAtMs = nowMs;
      connection.quietTicks = 0;
      server.heardAtMs = nowMs;
      if (!connection.isSilent && server.silence === null) return;
      const wasSilent = server.silence !== null;
      connection.isSilent = false;
      server.silence = null;
      if (wasSilent) events.serverChanged(server.endpoint, null);
      events.changed();
    },
    settled: () => void server.awaiting.delete(connection),
    idles: (verify) => {
      connection.verify = verify;
      server.idling.add(connection);
      return { [Symbol.dispose]: () => void server.idling.delete(connection) };
    },
  };
}

/** A server that was silent when its last connection ended stays so until it is heard. */
function forget(connection: Connection, servers: Map<string, WatchedServer>): void {
  const { server } = connection;
  for (const set of [server.connections, server.awaiting, server.idling]) set.delete(connection);
  if (server.connections.size === 0 && server.silence === null) servers.delete(endpointKey(server.endpoint));
}

/** Counts a tick; true when a connection became silent. */
function hasChanged({ awaiting }: WatchedServer, nowMs: number): boolean {
  let isNew = false;
  for (const connection of awaiting) {
    connection.quietTicks += 1;
    if (connection.isSilent || connection.quietTicks < silentTicks || nowMs - connection.sinceMs < silentMs) continue;
    connection.isSilent = true;
    isNew = true;
  }
  return isNew;
}

/** Two connections await an answer, one of them for long, and none has heard anything since they asked. */
function isSilent({ awaiting, heardAtMs }: WatchedServer, nowMs: number): boolean {
  const unanswered = [...awaiting].filter(({ sinceMs }) => sinceMs >= heardAtMs);
  const others = unanswered.filter(
    ({ sinceMs, quietTicks }) => quietTicks >= secondTicks && nowMs - sinceMs >= secondMs,
  );
  return others.length >= 2 && others.some((connection) => connection.isSilent);
}

function becomeSilent(server: WatchedServer, nowMs: number, events: SilenceEvents): void {
  const sinceMs = Math.min(...[...server.awaiting].map((connection) => connection.sinceMs));
  const failure = new Failure('server_timeout', 'The server does not answer.');
  server.silence = { ...server.endpoint, failure, sinceMs, atMs: nowMs };
  events.serverChanged(server.endpoint, failure);
  events.changed();
}

function needsHeartbeat({ idling, awaiting, heardAtMs, askedAtMs }: WatchedServer, nowMs: number): boolean {
  if (idling.size === 0 || awaiting.size > 1) return false;
  const [first] = awaiting;
  if (first !== undefined) return first.quietTicks >= doubtTicks && nowMs - askedAtMs >= doubtMs;
  return nowMs - Math.max(heardAtMs, askedAtMs) >= heartbeatMs;
}

/** The first that idles now; it is the last of the next ones. */
function verifyNext(server: WatchedServer, nowMs: number): boolean {
  for (const connection of server.idling) {
    if (server.awaiting.has(connection) || connection.verify?.() !== true) continue;
    server.askedAtMs = nowMs;
    server.idling.delete(connection);
    server.idling.add(connection);
    return true;
  }
  return false;
}

function moveToEnd(servers: Map<string, WatchedServer>, server: WatchedServer): void {
  const key = endpointKey(server.endpoint);
  servers.delete(key);
  servers.set(key, server);
}
