/**
 * Zeroization of driver buffers: passwords are moved out of the rows, and what the driver read and sent is wiped.
 *
 * mysql2 returns views into received packets, but it copies a packet that arrived in two pieces together, and the
 * pieces stay; it sends from a buffer of its own. Every chunk that crosses the socket during a statement with a
 * password is therefore recorded until the answer, and then filled with zeros. Buffers inside the runtime and SQLite
 * are out of reach.
 */
import type { Duplex } from 'node:stream';
import { copySecret, secretBuffer } from '../../../secret/secret-bytes.ts';

/** True for a query that reads a column of passwords, tokens or keys. */
export function readsPasswords(sql: string): boolean {
  return /^\s*select\b.*\b(?:password|refresh|access|secret)\b/is.test(sql);
}

/** Moves all bytes in `rows` into buffers of their own, and wipes the originals. */
export function detachBytes(rows: readonly unknown[]): void {
  for (const row of rows) {
    if (typeof row !== 'object' || row === null) continue;
    for (const [column, value] of Object.entries(row)) {
      if (value instanceof Uint8Array) Reflect.set(row, column, moved(value));
    }
  }
}

function moved(bytes: Uint8Array): Uint8Array {
  const copy = secretBuffer(bytes.length);
  copySecret(bytes, copy);
  bytes.fill(0);
  return copy;
}

/** Records what `socket` receives and sends from now on; disposing wipes it. */
export function recordForWipe(socket: Duplex): Disposable {
  const recorded: Uint8Array[] = [];
  const record = (chunk: unknown): void => {
    if (chunk instanceof Uint8Array) recorded.push(chunk);
  };
  socket.prependListener('data', record);
  const write: unknown = Reflect.get(socket, 'write');
  Reflect.set(socket, 'write', (...args: readonly unknown[]) => {
    record(args[0]);
    return Reflect.apply(write as Duplex['write'], socket, args);
  });
  return {
    [Symbol.dispose]: () => {
      socket.removeListener('data', record);
      Reflect.deleteProperty(socket, 'write');
      for (const chunk of recorded.splice(0)) chunk.fill(0);
    },
  };
}
