/**
 * Fault proxy: the network between a client and a real server, with faults on request.
 *
 * A fault is set with `fault` and holds for what passes from then on, in open connections too. `hold` takes no bytes
 * out of the middle of a stream: they arrive when it ends, as TCP would bring them, so that a commit may reach the
 * database long after its sender has given up; what `blackhole` and `stall_after` swallow never arrives. Garbage is
 * what a broken middlebox answers; requests still reach the server. Closing the proxy resets what passes through it.
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Fault =
  | { readonly kind: 'none' }
  /** Every piece of data waits, in both directions. */
  | { readonly kind: 'latency'; readonly delayMs: number }
  /** All connections together get so many bytes a second, in each direction. */
  | { readonly kind: 'throttle'; readonly bytesPerS: number }
  /** Connections are accepted, and nothing ever comes through. */
  | { readonly kind: 'blackhole' }
  /** Connections are accepted; nothing comes through until the fault ends. */
  | { readonly kind: 'hold' }
  /** After so many bytes from the server (of each connection) there is silence. */
  | { readonly kind: 'stall_after'; readonly bytes: number }
  /** After so many bytes from the server (of each connection) it is reset. */
  | { readonly kind: 'cut_after'; readonly bytes: number }
  /** New connections are reset at once. */
  | { readonly kind: 'refuse' }
  /** Open connections are reset, new ones too. */
  | { readonly kind: 'cut' }
  /** The answers of the server arrive as random bytes, and a new connection is greeted with some. */
  | { readonly kind: 'garbage' };

export type Address = { readonly host: string; readonly port: number };

export type FaultProxy = Address & {
  /** Connections that garbage went through are reset when it ends. */
  fault: Fault;
  /** Connections accepted so far, and open now. */
  readonly accepted: number;
  readonly open: number;
  /** Bytes passed on from the server to clients, over all connections. */
  readonly bytesFromServer: number;
  /** Ends the open connections: `reset` as a crash does, `close` in order. */
  kill(how?: 'reset' | 'close'): void;
} & AsyncDisposable;

type Pair = { readonly client: Socket; readonly server: Socket };
type Direction = { freeAt: number };
type State = {
  fault: Fault;
  accepted: number;
  bytesFromServer: number;
  readonly pairs: Set<Pair>;
  /** Resolves at the next change of the fault. */
  changed: PromiseWithResolvers<void>;
  readonly up: Direction;
  readonly down: Direction;
};

const sliceBytes = 4096;
/** So much waits on its way before the sender is slowed down. */
const waitingBytesMax = 256 * 1024;

/** Listens at `at` (port 0: any free one) and passes on to `target`. */
export async function startFaultProxy(
  target: Address,
  at: Address = { host: '127.0.0.1', port: 0 },
): Promise<FaultProxy> {
  const state: State = {
    ...{ fault: { kind: 'none' }, accepted: 0, bytesFromServer: 0, pairs: new Set() },
    ...{ changed: Promise.withResolvers<void>(), up: { freeAt: 0 }, down: { freeAt: 0 } },
  };
  const listener = createServer({ allowHalfOpen: true }, (client) => accept(state, client, target));
  const port = await listen(listener, at);
  return {
    host: at.host,
    port,
    get fault() {
      return state.fault;
    },
    set fault(fault) {
      change(state, fault);
    },
    get accepted() {
      return state.accepted;
    },
    get open() {
      return state.pairs.size;
    },
    get bytesFromServer() {
      return state.bytesFromServer;
    },
    kill: (how = 'reset') => killPairs(state, how),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => listener.close(resolve));
      change(state, { kind: 'cut' });
      await closed;
    },
  };
}

function change(state: State, fault: Fault): void {
  const before = state.fault;
  state.fault = fault;
  if (fault.kind === 'cut' || before.kind === 'garbage') killPairs(state, 'reset');
  state.up.freeAt = 0;
  state.down.freeAt = 0;
  state.changed.resolve();
  state.changed = Promise.withResolvers<void>();
}

function killPairs({ pairs }: State, how: 'reset' | 'close'): void {
  for (const { client, server } of pairs)
    for (const socket of [client, server]) {
      if (how === 'reset') reset(socket);
      else socket.end();
    }
}

/**
 * Cuts a connection with a reset (RST), as a dead machine or a firewall does. In the middle of an orderly end it would
 * leave Node with a socket that it never releases, and cannot exit.
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

function listen(listener: Server, { host, port }: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(port, host, () => {
      const address = listener.address();
      if (address === null || typeof address === 'string') reject(new Error('the proxy has no port'));
      else resolve(address.port);
    });
  });
}

function accept(state: State, client: Socket, target: Address): void {
  state.accepted += 1;
  if (state.fault.kind === 'cut' || state.fault.kind === 'refuse') {
    client.once('error', () => client.destroy());
    reset(client);
    return;
  }
  const server = connect({ host: target.host, port: target.port, allowHalfOpen: true });
  const pair: Pair = { client, server };
  state.pairs.add(pair);
  for (const socket of [client, server]) {
    socket.setNoDelay();
    socket.once('close', () => state.pairs.delete(pair));
  }
  // What goes wrong on one side is passed on to the other as a reset: a proxy has no caller to report it to.
  client.on('error', () => reset(server));
  server.on('error', () => reset(client));
  if (state.fault.kind === 'garbage') client.write(randomBytes(64));
  pass(state, state.up, client, server);
  pass(state, state.down, server, client);
}

/** Passes pieces on in their order, however long each of them waits. */
function pass(state: State, direction: Direction, from: Socket, to: Socket): void {
  let before: Promise<void> = Promise.resolve();
  let [waitingBytes, seen] = [0, 0];
  from.on('data', (piece: Buffer) => {
    const limit = limitOf(state.fault, direction === state.down);
    const bytes = limit === null ? piece : piece.subarray(0, Math.max(0, limit - seen));
    const isCut = limit !== null && state.fault.kind === 'cut_after' && bytes.length < piece.length;
    seen += piece.length;
    if (direction === state.down) state.bytesFromServer += bytes.length;
    waitingBytes += bytes.length;
    if (waitingBytes > waitingBytesMax) from.pause();
    const arrivedAt = performance.now();
    before = before.then(async () => {
      if (bytes.length > 0) await through(state, direction, to, bytes, arrivedAt);
      waitingBytes -= bytes.length;
      if (waitingBytes <= waitingBytesMax) from.resume();
      if (!isCut || to.destroyed) return;
      // What was written goes out first: the fault is a cut after so many bytes, not before them.
      await new Promise<void>((resolve) => to.write('', () => resolve()));
      reset(to);
      reset(from);
    });
  });
  from.once('end', () => {
    before = before.then(() => void to.end());
  });
}

/** How many bytes of a connection pass; null: all. Requests are counted and cut by no fault. */
function limitOf(fault: Fault, isAnswer: boolean): number | null {
  if (fault.kind === 'blackhole') return 0;
  return isAnswer && (fault.kind === 'stall_after' || fault.kind === 'cut_after') ? fault.bytes : null;
}

async function through(
  state: State,
  direction: Direction,
  to: Socket,
  piece: Buffer,
  arrivedAt: number,
): Promise<void> {
  while (state.fault.kind === 'hold' && !to.destroyed) await state.changed.promise;
  if (state.fault.kind === 'latency') await until(state, arrivedAt + state.fault.delayMs);
  if (state.fault.kind === 'throttle') {
    for (let at = 0; at < piece.length; at += sliceBytes)
      await slowly(state, direction, to, piece.subarray(at, at + sliceBytes));
    return;
  }
  const isGarbled = state.fault.kind === 'garbage' && direction === state.down;
  if (!to.destroyed) await write(to, isGarbled ? randomBytes(piece.length) : piece);
}

async function slowly(state: State, direction: Direction, to: Socket, slice: Buffer): Promise<void> {
  if (state.fault.kind === 'throttle') {
    const startsAt = Math.max(performance.now(), direction.freeAt);
    direction.freeAt = startsAt + (slice.length * 1000) / state.fault.bytesPerS;
    await until(state, direction.freeAt);
  }
  if (!to.destroyed) await write(to, slice);
}

/** Until a moment, or the next change of the fault. */
async function until(state: State, at: number): Promise<void> {
  const ms = at - performance.now();
  if (ms > 0) await Promise.race([sleep(ms), state.changed.promise]);
}

function write(to: Socket, bytes: Uint8Array): Promise<void> {
  if (to.write(bytes)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('drain', done).off('close', done);
      resolve();
    };
    to.on('drain', done).on('close', done);
  });
}
