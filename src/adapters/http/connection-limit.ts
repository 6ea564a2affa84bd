/**
 * Connection limit: when full, evicts the oldest idle connection of the client that has most of them.
 *
 * A connection is idle until its request is whole, and again once its response is written. So slow connections, however
 * many, keep no client out that sends its request in one go. A connection whose request is being answered is not
 * evicted; the number of those is limited in all, and for one client to half of that.
 */

import type { Socket } from 'node:net';

export type ConnectionLimits = {
  readonly connectionsMax: number;
  /** Requests that are being answered at the same time. */
  readonly answersMax: number;
};

/** null: many clients share the address, behind a proxy or on loopback. */
export type ClientGroup = string | null;

export type ConnectionLimit = {
  /** An idle connection, after one was evicted for it if need be. */
  add(stream: Socket, client: ClientGroup): void;
  /** Its request is whole. False: too many are being answered. */
  begin(stream: Socket): boolean;
  /** Its response is written. */
  end(stream: Socket): void;
  /** Closes idle connections now, and all others when `graceMs` are over. */
  close(graceMs: number): Promise<void>;
};

type Connection = { readonly client: ClientGroup; isAnswered: boolean };

export function createConnectionLimit({ connectionsMax, answersMax }: ConnectionLimits): ConnectionLimit {
  /** In the order in which they became idle, or began. */
  const connections = new Map<Socket, Connection>();
  const drained = Promise.withResolvers<void>();
  let isClosing = false;
  const forget = (stream: Socket): void => {
    connections.delete(stream);
    if (isClosing && connections.size === 0) drained.resolve();
  };
  const evict = (stream: Socket): void => {
    forget(stream);
    stream.destroy();
  };
  const idle = (): [Socket, Connection][] => [...connections].filter(([, { isAnswered }]) => !isAnswered);
  return {
    add(stream, client) {
      if (isClosing) return void stream.destroy();
      if (connections.size >= connectionsMax) oldestOfMost(idle()).forEach(evict);
      connections.set(stream, { client, isAnswered: false });
      stream.once('close', () => forget(stream));
    },
    begin(stream) {
      const connection = connections.get(stream);
      if (connection === undefined) return false;
      const answered = [...connections.values()].filter(({ isAnswered }) => isAnswered);
      const own = answered.filter(({ client }) => client === connection.client);
      const ownMax = connection.client === null ? answersMax : answersMax / 2;
      if (answered.length >= answersMax || own.length >= ownMax) return false;
      connection.isAnswered = true;
      return true;
    },
    end(stream) {
      const connection = connections.get(stream);
      if (connection === undefined) return;
      connections.delete(stream);
      connections.set(stream, { ...connection, isAnswered: false });
    },
    async close(graceMs) {
      isClosing = true;
      for (const [stream] of idle()) evict(stream);
      if (connections.size === 0) return;
      const late = setTimeout(() => drained.resolve(), graceMs);
      await drained.promise;
      clearTimeout(late);
      for (const stream of [...connections.keys()]) evict(stream);
    },
  };
}

/** One stream, or none where none is idle. */
function oldestOfMost(idle: readonly [Socket, Connection][]): readonly Socket[] {
  const groups = Map.groupBy(idle, ([, { client }]) => client);
  const most = Math.max(0, ...groups.values().map(({ length }) => length));
  const [oldest] = groups.values().find(({ length }) => length === most) ?? [];
  return oldest === undefined ? [] : [oldest[0]];
}
