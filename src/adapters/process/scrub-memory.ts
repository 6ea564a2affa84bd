/**
 * Memory scrubbing: overwrites the copies that Node leaves of what it read from a socket, through public interfaces.
 *
 * Node reads all plain sockets of a process through one buffer of 64 KiB and copies from it; TLS decrypts into 16 KiB
 * of the stack. Neither can be reached, so both are overwritten by use. Measured with Node 26.10 by
 * `password-memory.slow.test.ts` and `server-echoes-password.slow.test.ts`: no copy of a password remains; without this
 * file, one remains until later reads overwrite it. The service unit allows neither core dumps nor swap.
 */

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';

/** Longer than a head and a body together, and read in one piece. */
const overwrittenBytes = 48 * 1024;
const waitMs = 1_000;

/**
 * Reads zeros from a connection to itself. Never rejects: a copy that remains is overwritten by the next reads from the
 * network.
 */
export async function overwriteReadBuffer(): Promise<void> {
  // An abstract unix socket (unix(7)): no file, no network, and gone with the server.
  const path = `\0ticketmaild-${randomUUID()}`;
  const server = createServer((socket) => socket.on('error', () => undefined).end(Buffer.alloc(overwrittenBytes)));
  const client = new Socket();
  const signal = AbortSignal.timeout(waitMs);
  try {
    await once(server.listen(path), 'listening', { signal });
    await once(client.connect(path).resume(), 'end', { signal });
  } catch {
    // Not Linux, or no file descriptor is left.
  } finally {
    client.destroy();
    server.close();
  }
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
