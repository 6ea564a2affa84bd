/**
 * A link of a network that goes wrong on request: a TCP proxy at an address of its own, before a real server.
 *
 * Unlike the fault proxy it never takes bytes out of the middle of a stream: what a black hole holds back arrives when
 * the hole closes, as TCP would bring it, so that a commit may reach the database long after its sender has given up.
 * Garbage is what a broken middlebox answers; requests still reach the server. A cut resets what is open and refuses
 * what is new.
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { reset } from './reset.ts';

export type LinkFault =
  | { readonly kind: 'none' }
  /** Every piece of data waits, in both directions. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** All connections together get so many bytes a second, in each direction. */
  | { readonly kind: 'throttle'; readonly bytesPerS: number }
  /** Connections are accepted; nothing comes through until the fault ends. */
  | { readonly kind: 'blackhole' }
  /** Open connections are reset, new ones too. */
  | { readonly kind: 'cut' }
  /** Whatever the server says arrives as random bytes, and a new connection is greeted with some. */
  | { readonly kind: 'garbage' };

export type Address = { readonly host: string; readonly port: number };

export type FaultLink = Address & {
  /** Holds for what passes from now on. Connections that garbage went through are reset when it ends. */
  set(fault: LinkFault): void;
} & AsyncDisposable;

type Pair = { readonly client: Socket; readonly server: Socket };
type Direction = { freeAt: number };
type State = {
  fault: LinkFault;
  readonly pairs: Set<Pair>;
  /** Who waits for a black hole to close. */
  held: PromiseWithResolvers<void>;
  readonly up: Direction;
  readonly down: Direction;
};

const sliceBytes = 4096;
/** So much waits on its way before the sender is slowed down. */
const waitingBytesMax = 256 * 1024;

/** Listens at `at` (port 0: any free one) and passes on to `target`. */
export async function startFaultLink(at: Address, target: Address): Promise<FaultLink> {
  const state: State = {
    fault: { kind: 'none' },
    pairs: new Set(),
    held: Promise.withResolvers<void>(),
    up: { freeAt: 0 },
    down: { freeAt: 0 },
  };
  const listener = createServer({ allowHalfOpen: true }, (client) => accept(state, client, target));
  const port = await listen(listener, at);
  return {
    host: at.host,
    port,
    set: (fault) => change(state, fault),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => listener.close(resolve));
      change(state, { kind: 'cut' });
      await closed;
    },
  };
}

function change(state: State, fault: LinkFault): void {
  const before = state.fault;
  state.fault = fault;
  if (fault.kind === 'cut' || before.kind === 'garbage') resetAll(state);
  state.up.freeAt = 0;
  state.down.freeAt = 0;
  state.held.resolve();
  state.held = Promise.withResolvers<void>();
}

function resetAll({ pairs }: State): void {
  for (const { client, server } of pairs) {
    reset(client);
    reset(server);
  }
}

function listen(listener: Server, { host, port }: Address): Promise<number> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(port, host, () => {
      const address = listener.address();
      if (address === null || typeof address === 'string') reject(new Error('the link has no port'));
      else resolve(address.port);
    });
  });
}

function accept(state: State, client: Socket, target: Address): void {
  if (state.fault.kind === 'cut') {
    client.once('error', () => client.destroy());
    reset(client);
    return;
  }
  const server = connect({ ...target, allowHalfOpen: true });
  const pair: Pair = { client, server };
  state.pairs.add(pair);
  for (const socket of [client, server]) {
    socket.setNoDelay();
    socket.once('close', () => state.pairs.delete(pair));
  }
  // What goes wrong on one side is passed on to the other as a reset: a link has no caller to report it to.
  client.on('error', () => reset(server));
  server.on('error', () => reset(client));
  if (state.fault.kind === 'garbage') client.write(randomBytes(64));
  pass(state, state.up, client, server);
  pass(state, state.down, server, client);
}

/** Passes pieces on in their order, however long each of them waits. */
function pass(state: State, direction: Direction, from: Socket, to: Socket): void {
  let before: Promise<void> = Promise.resolve();
  let waitingBytes = 0;
  from.on('data', (piece: Buffer) => {
    waitingBytes += piece.length;
    if (waitingBytes > waitingBytesMax) from.pause();
    const arrivedAt = performance.now();
    before = before.then(async () => {
      await through(state, direction, to, piece, arrivedAt);
      waitingBytes -= piece.length;
      if (waitingBytes <= waitingBytesMax) from.resume();
    });
  });
  from.once('end', () => {
    before = before.then(() => void to.end());
  });
}

async function through(
  state: State,
  direction: Direction,
  to: Socket,
  piece: Buffer,
  arrivedAt: number,
): Promise<void> {
  while (state.fault.kind === 'blackhole' && !to.destroyed) await state.held.promise;
  if (state.fault.kind === 'delay') await until(state, arrivedAt + state.fault.delayMs);
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
  if (ms > 0) await Promise.race([sleep(ms), state.held.promise]);
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
