/**
 * Lets others have their turn while a server sends faster than is parsed.
 *
 * imapflow takes whatever the socket holds in one go, half a megabyte and more: thousands of short lines, during which
 * no other mailbox is heard. Here its parser gets little at a time, and the event loop turns in between. Relied upon:
 * `streamer` is a Transform that calls back once it has taken a chunk. Only for a connection on which TLS is settled:
 * what somebody puts behind the answer to STARTTLS is found by its place in the same chunk.
 */
import type { Transform } from 'node:stream';

/** A thousand short lines, or some milliseconds. */
const sliceBytes = 8 * 1024;

/** From now on `parser` takes one slice for each turn of the event loop. */
export function pace(parser: Transform): void {
  const take = parser._transform.bind(parser);
  parser._transform = (chunk: Buffer, encoding, done) => {
    const step = (from: number): void => {
      const to = from + sliceBytes;
      const isLast = to >= chunk.length;
      const next = (): void => (isLast || parser.destroyed ? done() : step(to));
      take(chunk.subarray(from, to), encoding, () => setImmediate(next));
    };
    step(0);
  };
}
