/**
 * Memory scrubbing: overwrites the copies that Node leaves of what it read from a socket, through public interfaces.
 *
 * Node reads all plain sockets of a process through one buffer of 64 KiB and copies from it; TLS decrypts into 16 KiB
 * of the stack. Neither can be reached, so both are overwritten by use. Measured with Node 26.10 by
 * `password-memory.slow.test.ts` and `server-echoes-password.slow.test.ts`: no copy of a password remains; without this
 * file, one remains until later reads overwrite it. The service unit allows neither core dumps nor swap.
 */

import { once } from 'node:events';
import { closeSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { causeCode } from '../../errors.ts';

/** Longer than a head and a body together, and read in one piece: the buffer of a socket is larger. */
const zeros = Buffer.alloc(48 * 1024);

// Constants of Linux, equal on x64 and arm64.
const unixFamily = 1;
const streamNonBlockingCloseOnExec = 0o2004001;

/**
 * Reads zeros from a socket pair (socketpair(2)): it has no name and never listens, so no other process can connect.
 *
 * Never rejects: on other systems, without node:ffi and without a free descriptor a copy remains until the next reads
 * from the network overwrite it.
 */
export async function overwriteReadBuffer(): Promise<void> {
  const pair = openPair();
  if (pair === null) return;
  const [reading, writing] = pair;
  const reader = new Socket({ fd: reading, readable: true }).on('error', () => undefined).resume();
  const closed = once(reader, 'close');
  try {
    writeSync(writing, zeros);
  } catch {
    // The kernel has no memory for it.
  } finally {
    closeSync(writing);
  }
  await closed;
}

type Library = ReturnType<typeof openLibrary>;
type Pair = readonly [reading: number, writing: number];

/** undefined: not loaded yet; null: not available. A load for each call would take memory each time. */
let library: Library | null | undefined;

function openPair(): Pair | null {
  if (library === undefined) library = loadOrNull(openLibrary);
  const pair = new Int32Array(2);
  if (library === null || library.socketpair(unixFamily, streamNonBlockingCloseOnExec, 0, pair) !== 0) return null;
  const [reading = -1, writing = -1] = pair;
  return [reading, writing];
}

function openLibrary() {
  const { dlopen } = process.getBuiltinModule('node:ffi');
  return dlopen(null, {
    socketpair: { arguments: ['int32', 'int32', 'int32', 'buffer'], return: 'int32' },
  }).functions;
}

/** null: not Linux, or node:ffi is disabled or of another version. */
function loadOrNull<T>(open: () => T): T | null {
  if (process.platform !== 'linux') return null;
  try {
    return open();
  } catch (error) {
    if (!(error instanceof TypeError) && !causeCode(error).startsWith('ERR_')) throw error;
    return null;
  }
}

/** M_PERTURB of mallopt(3): overwrites memory as it is freed. */
const perturbFreed = -6;
const filler = 0xff;

/** Runs `task` such that what it frees is overwritten: OpenSSL frees its copies of a decoded key as they are. */
export function wipingFreedMemory<T>(task: () => T): T {
  if (allocator === undefined) allocator = loadOrNull(openAllocator);
  allocator?.mallopt(perturbFreed, filler);
  try {
    return task();
  } finally {
    allocator?.mallopt(perturbFreed, 0);
  }
}

/** Of the GNU C library; another one has no such function. */
let allocator: ReturnType<typeof openAllocator> | null | undefined;

function openAllocator() {
  const { dlopen } = process.getBuiltinModule('node:ffi');
  return dlopen(null, { mallopt: { arguments: ['int32', 'int32'], return: 'int32' } }).functions;
}

/** A frame has 80 bytes or more, and what reads from a socket uses 40 KiB. */
const framesBelow = 1_500;

/** Overwrites the stack below the event loop: to be called from there, not from within what reads. */
export function overwriteStack(): void {
  recurse(framesBelow);
}

function recurse(frames: number): number {
  return frames === 0 ? 0 : 1 + recurse(frames - 1);
}
