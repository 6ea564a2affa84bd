/**
 * Who has a place, and who makes room for the next one.
 *
 * A connection waits until its request is there whole, and again once it has its answer: those who wait make room, of the
 * clients with the most of them the one that has waited longest. So nobody is kept out by connections that are slow, be they as many as
 * they like: whoever sends a request in one go is answered. Requests that are being answered make no room; there are only so
 * many at once, and only so many of one client.
 */
import type { Socket } from 'node:net';

export type ConnectionLimits = {
  readonly connectionsMax: number;
  /** Requests that are being answered at once. One client may have half of them. */
  readonly answersMax: number;
};

/** `client`: connections of the same count together; null: it cannot be told, as behind a proxy and on loopback. */
export type Connections = {
  /** As one that waits. */
  add(stream: Socket, client: string | null): void;
  /** Its request is whole. False: too many are. */
  begin(stream: Socket): boolean;
  /** Its answer was written. */
  end(stream: Socket): void;
  forget(stream: Socket): void;
  /** Cuts off those who wait, and all others when `graceMs` are over. */
  close(graceMs: number): Promise<void>;
};

type Groups = Map<string | null, Set<Socket>>;

export function createConnections({ connectionsMax, answersMax }: ConnectionLimits): Connections {
  const clients = new Map<Socket, string | null>();
  const waiting: Groups = new Map();
  const answered: Groups = new Map();
  let isOver = false;
  let whenEmpty = (): void => undefined;
  const clientOf = (stream: Socket): string | null => clients.get(stream) ?? null;
  const forget = (stream: Socket): void => {
    take(waiting, clientOf(stream), stream);
    take(answered, clientOf(stream), stream);
    if (clients.delete(stream) && clients.size === 0) whenEmpty();
  };
  const cutOff = (streams: Iterable<Socket>): void => {
    for (const stream of [...streams]) {
      forget(stream);
      stream.destroy();
    }
  };
  return {
    forget,
    add(stream, client) {
      if (isOver) return void stream.destroy();
      if (clients.size >= connectionsMax) cutOff(oldestOfMost(waiting));
      clients.set(stream, client);
      put(waiting, client, stream);
    },
    begin(stream) {
      const client = clientOf(stream);
      const mine = answered.get(client)?.size ?? 0;
      const most = client === null ? answersMax : answersMax / 2;
      if (!clients.has(stream) || sizeOf(answered) >= answersMax || mine >= most) return false;
      take(waiting, client, stream);
      put(answered, client, stream);
      return true;
    },
    end(stream) {
      if (take(answered, clientOf(stream), stream)) put(waiting, clientOf(stream), stream);
    },
    async close(graceMs) {
      isOver = true;
      cutOff([...waiting.values()].flatMap((group) => [...group]));
      if (clients.size === 0) return;
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, graceMs);
        whenEmpty = () => {
          clearTimeout(late);
          resolve();
        };
      });
      cutOff(clients.keys());
    },
  };
}

function put(groups: Groups, client: string | null, stream: Socket): void {
  const group = groups.get(client) ?? new Set();
  groups.set(client, group.add(stream));
}

/** False: it was not there. */
function take(groups: Groups, client: string | null, stream: Socket): boolean {
  const group = groups.get(client);
  const wasThere = group?.delete(stream) === true;
  if (group?.size === 0) groups.delete(client);
  return wasThere;
}

function sizeOf(groups: Groups): number {
  return groups.values().reduce((sum, { size }) => sum + size, 0);
}

/** One, or none where none waits. */
function oldestOfMost(groups: Groups): readonly Socket[] {
  const most = Math.max(0, ...groups.values().map(({ size }) => size));
  const [oldest] = groups.values().find(({ size }) => size === most) ?? [];
  return oldest === undefined ? [] : [oldest];
}
