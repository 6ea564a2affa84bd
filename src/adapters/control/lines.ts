/**
 * Lines from a socket, one at a time: each with a deadline, none longer than a limit.
 *
 * Nothing is thrown: a connection that ends, breaks, dawdles or talks too much is a kind of answer.
 */
import type { Socket } from 'node:net';

export type Line =
  | { readonly kind: 'line'; readonly text: string }
  /** It ended or broke before the line did. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'late' }
  | { readonly kind: 'long' };

export type Lines = {
  /** Waits at most `waitMs`. */
  next(waitMs: number): Promise<Line>;
};

const lineFeed = 10;

/** Reads `socket`, in lines of at most `bytesMax` bytes. Who waits for no further line pauses or destroys it. */
export function linesOf(socket: Socket, bytesMax: number): Lines {
  let held: Buffer = Buffer.alloc(0);
  let hasEnded = false;
  let wake = (): void => undefined;
  const end = (): void => {
    hasEnded = true;
    wake();
  };
  socket.on('data', (piece: Buffer) => {
    held = Buffer.concat([held, piece]);
    wake();
  });
  for (const event of ['end', 'error', 'close']) socket.on(event, end);

  const take = (): Line | null => {
    const at = held.indexOf(lineFeed);
    if (at > bytesMax || (at === -1 && held.length > bytesMax)) return { kind: 'long' };
    if (at === -1) return hasEnded ? { kind: 'ended' } : null;
    const text = held.toString('utf8', 0, at);
    held = held.subarray(at + 1);
    return { kind: 'line', text };
  };
  const news = (waitMs: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    wake = resolve;
    return promise.finally(() => clearTimeout(timer));
  };
  return {
    async next(waitMs) {
      const untilMs = performance.now() + waitMs;
      for (;;) {
        const line = take();
        if (line !== null) return line;
        const leftMs = untilMs - performance.now();
        if (leftMs <= 0) return { kind: 'late' };
        await news(leftMs);
      }
    },
  };
}
