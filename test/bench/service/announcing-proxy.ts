/**
 * A TCP proxy before the plain port of a mail server that notes when the server announces mail (`* n EXISTS`).
 *
 * It passes everything on as it is, and at once. For one mailbox: the highest number announced so far is what counts,
 * over all connections, so that a new connection announces what an earlier one did not.
 */
import { connect, createServer, type Socket } from 'node:net';

export type AnnouncingProxy = {
  readonly port: number;
  /** When the message of that number was announced first (Unix time in milliseconds); null: it was not. */
  announcedAtMs(number: number): number | null;
} & AsyncDisposable;

export async function startAnnouncingProxy(target: {
  readonly host: string;
  readonly port: number;
}): Promise<AnnouncingProxy> {
  const announced: number[] = [];
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const server = connect(target);
    const lines = linesOfImap((line) => {
      const atMs = Date.now();
      for (let number = existing(line) ?? 0; number > announced.length; ) announced.push(atMs);
    });
    for (const [from, to] of [[client, server] as const, [server, client] as const]) {
      sockets.add(from);
      from.setNoDelay();
      // What goes wrong on one side ends the other: a proxy has no caller to report it to.
      from.once('error', () => to.destroy());
      from.once('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.once('end', () => to.end());
    }
    client.on('data', (piece) => void server.write(piece));
    server.on('data', (piece: Buffer) => {
      client.write(piece);
      lines(piece);
    });
  });
  const port = await new Promise<number>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      if (address === null || typeof address === 'string') reject(new Error('the proxy has no port'));
      else resolve(address.port);
    });
  });
  return {
    port,
    announcedAtMs: (number) => announced[number - 1] ?? null,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => listener.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/**
 * Calls `line` for each line of the server, without its end, out of the pieces in which they arrive; literals (RFC 9051
 * section 4.3), which hold messages, are skipped.
 */
function linesOfImap(line: (text: string) => void): (piece: Buffer) => void {
  let unfinished = '';
  let literalBytes = 0;
  return (piece) => {
    for (let at = 0; at < piece.length; ) {
      if (literalBytes > 0) {
        const passed = Math.min(literalBytes, piece.length - at);
        literalBytes -= passed;
        at += passed;
        continue;
      }
      const end = piece.indexOf(10, at);
      if (end === -1) {
        unfinished += piece.toString('latin1', at);
        return;
      }
      const text = (unfinished + piece.toString('latin1', at, end)).replace(/\r$/, '');
      unfinished = '';
      at = end + 1;
      literalBytes = Number(/\{(\d+)\}$/.exec(text)?.[1] ?? 0);
      line(text);
    }
  };
}

/** How many messages the server says that the folder holds; null for any other line. */
function existing(line: string): number | null {
  const count = /^\* (\d+) EXISTS$/i.exec(line)?.[1];
  return count === undefined ? null : Number(count);
}
