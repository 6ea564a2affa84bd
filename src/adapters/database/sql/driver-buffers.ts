/**
 * Takes passwords out of the drivers: what they read and sent is wiped, and the bytes in the rows lie in buffers of ours.
 *
 * mysql2 hands out views into the packets that it received, but a packet that came in two pieces is copied together, and
 * the pieces stay; what it sends, it puts into a buffer of its own. So all that crosses the socket during a statement
 * with a password is kept until its answer is here, and then filled with zeros. What the runtime and SQLite keep inside
 * cannot be reached from here.
 */
import type { Duplex } from 'node:stream';

/** V8 keeps small typed arrays on its moving heap, unless they look into a buffer that was made on its own. */
const scratchBytes = 4096;

/** True for a query that reads the column `password`. */
export function readsPasswords(sql: string): boolean {
  return /^\s*select\b.*\bpassword\b/is.test(sql);
}

/** Puts every bytes in `rows` into a buffer of its own, and wipes what they were in. */
export function detachBytes(rows: readonly unknown[]): void {
  for (const row of rows) {
    if (typeof row !== 'object' || row === null) continue;
    for (const [column, value] of Object.entries(row)) {
      if (value instanceof Uint8Array) Reflect.set(row, column, taken(value));
    }
  }
}

function taken(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(Math.max(scratchBytes, bytes.length)), 0, bytes.length);
  copy.set(bytes);
  bytes.fill(0);
  return copy;
}

/** Keeps what `socket` receives and sends from now on. Disposing it wipes that, when nothing more is expected. */
export function recordForWipe(socket: Duplex): Disposable {
  const seen: Uint8Array[] = [];
  const keep = (chunk: unknown): void => {
    if (chunk instanceof Uint8Array) seen.push(chunk);
  };
  socket.prependListener('data', keep);
  const write: unknown = Reflect.get(socket, 'write');
  Reflect.set(socket, 'write', (...args: readonly unknown[]) => {
    keep(args[0]);
    return Reflect.apply(write as Duplex['write'], socket, args);
  });
  return {
    [Symbol.dispose]: () => {
      socket.removeListener('data', keep);
      Reflect.deleteProperty(socket, 'write');
      for (const chunk of seen.splice(0)) chunk.fill(0);
    },
  };
}
