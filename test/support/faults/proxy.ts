/**
 * A TCP proxy that goes wrong on request: the network between a client and a real server, with its faults.
 *
 * A fault is set with `fault` and holds for what passes from then on, in connections already open too. Nothing is
 * read or changed in the stream; bytes are only delayed, swallowed or cut. Closing it closes what passes through it.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { reset } from './reset.ts';

export type Fault =
  | { readonly kind: 'none' }
  /** Every piece of data waits, in both directions. */
  | { readonly kind: 'latency'; readonly delayMs: number }
  /** Connections are accepted, and nothing ever comes through. */
  | { readonly kind: 'blackhole' }
  /** After so many bytes from the server (of each connection) there is silence. */
  | { readonly kind: 'stall_after'; readonly bytes: number }
  /** After so many bytes from the server (of each connection) it is reset. */
  | { readonly kind: 'cut_after'; readonly bytes: number }
  /** New connections are reset at once. */
  | { readonly kind: 'refuse' };

export type FaultProxy = {
  readonly host: '127.0.0.1';
  readonly port: number;
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
type State = { fault: Fault; accepted: number; bytesFromServer: number; readonly pairs: Set<Pair> };

/** Starts a proxy on a free port before `target`. */
export async function startFaultProxy(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  const state: State = { fault: { kind: 'none' }, accepted: 0, bytesFromServer: 0, pairs: new Set() };
  const listener = createServer({ allowHalfOpen: true }, (client) => accept(state, client, target));
  const port = await listen(listener);
  return {
    host: '127.0.0.1',
    port,
    get fault() {
      return state.fault;
    },
    set fault(fault) {
      state.fault = fault;
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
      killPairs(state, 'reset');
      await closed;
    },
  };
}

function listen(listener: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      if (address === null || typeof address === 'string') reject(new Error('the proxy has no port'));
      else resolve(address.port);
    });
  });
}

function accept(state: State, client: Socket, target: { readonly host: string; readonly port: number }): void {
  state.accepted += 1;
  if (state.fault.kind === 'refuse') {
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
  // What goes wrong on one side is passed on to the other as a reset: a proxy has no caller to report it to.
  client.once('error', () => reset(server));
  server.once('error', () => reset(client));
  pass(client, server, (piece) => throughFault(towardsServer(state.fault), piece, 0));
  let seen = 0;
  pass(server, client, (piece) => {
    const passed = throughFault(state.fault, piece, seen);
    seen += piece.length;
    state.bytesFromServer += passed.bytes.length;
    return passed;
  });
}

/** Requests pass whole: bytes are counted and cut on the way back alone. */
function towardsServer(fault: Fault): Fault {
  return fault.kind === 'latency' || fault.kind === 'blackhole' ? fault : { kind: 'none' };
}

type Passed = { readonly bytes: Buffer; readonly delayMs: number; readonly after: 'go_on' | 'reset' };

/** The outcome of a piece; `seen` counts the bytes before it. */
function throughFault(fault: Fault, piece: Buffer, seen: number): Passed {
  switch (fault.kind) {
    case 'none':
    case 'refuse':
      return { bytes: piece, delayMs: 0, after: 'go_on' };
    case 'latency':
      return { bytes: piece, delayMs: fault.delayMs, after: 'go_on' };
    case 'blackhole':
      return { bytes: Buffer.alloc(0), delayMs: 0, after: 'go_on' };
    case 'stall_after':
    case 'cut_after': {
      const bytes = piece.subarray(0, Math.max(0, fault.bytes - seen));
      const isOver = bytes.length < piece.length;
      return { bytes, delayMs: 0, after: isOver && fault.kind === 'cut_after' ? 'reset' : 'go_on' };
    }
  }
}

/** Passes pieces on in their order, however long each of them waits, and slows the sender to the receiver's pace. */
function pass(from: Socket, to: Socket, through: (piece: Buffer) => Passed): void {
  let before: Promise<void> = Promise.resolve();
  from.on('data', (piece: Buffer) => {
    const passed = through(piece);
    const due = performance.now() + passed.delayMs;
    before = before.then(() => write(from, to, passed, due));
  });
  from.once('end', () => {
    before = before.then(() => void to.end());
  });
}

async function write(from: Socket, to: Socket, passed: Passed, due: number): Promise<void> {
  const wait = due - performance.now();
  if (wait > 0) await sleep(wait);
  if (to.destroyed) return;
  if (passed.bytes.length > 0 && !to.write(passed.bytes)) {
    from.pause();
    to.once('drain', () => from.resume());
  }
  if (passed.after === 'reset') {
    // What was written goes out first: the fault is a cut after so many bytes, not before them.
    await new Promise<void>((resolve) => to.write('', () => resolve()));
    reset(to);
    reset(from);
  }
}

function killPairs(state: State, how: 'reset' | 'close'): void {
  for (const { client, server } of state.pairs) {
    for (const socket of [client, server]) {
      if (how === 'reset') reset(socket);
      else socket.end();
    }
  }
}
