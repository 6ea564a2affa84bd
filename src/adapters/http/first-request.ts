/**
 * The first request of a connection, and nothing of what follows it.
 *
 * Node parses whatever arrives before anybody can object: thousands of requests in one piece, each an object and an answer
 * that nobody reads. Here the parser sees one head, of a few kilobytes and within a few seconds; the rest is read and thrown
 * away. A connection ends soon, whatever its other end does.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export type FirstRequestLimits = {
  /** A head that is longer is handed on cut, for the parser to refuse. */
  readonly headBytesMax: number;
  /** For the head to arrive, and for the whole connection. */
  readonly headMs: number;
  readonly connectionMs: number;
};

/** Lets `server` see the first request of each connection alone. The result cuts off all that are open or still come. */
export function firstRequestOnly(server: Server, limits: FirstRequestLimits): () => void {
  const serve = server.listeners('connection') as ((stream: Duplex) => void)[];
  server.removeAllListeners('connection');
  const open = new Set<Socket>();
  let isOver = false;
  server.on('connection', (socket) => {
    if (isOver) return void socket.destroy();
    open.add(socket);
    const end = setTimeout(() => socket.destroy(), limits.connectionMs);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      open.delete(socket);
      clearTimeout(end);
    });
    readHead(socket, limits, (head) => {
      const request = singleRequest(socket, head);
      for (const listener of serve) listener.call(server, request);
    });
  });
  return () => {
    isOver = true;
    for (const socket of open) socket.destroy();
  };
}

/** Calls `then` once, with the bytes up to the empty line, or with too many. */
function readHead(socket: Socket, { headBytesMax, headMs }: FirstRequestLimits, then: (head: Buffer) => void): void {
  const late = setTimeout(() => socket.destroy(), headMs);
  let head = Buffer.alloc(0);
  let isDone = false;
  socket.once('close', () => clearTimeout(late));
  socket.on('end', () => {
    if (!isDone) socket.destroy();
  });
  socket.on('data', (piece: Buffer) => {
    if (isDone) return;
    head = Buffer.concat([head, piece.subarray(0, headBytesMax + 1)]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0 && head.length <= headBytesMax) return;
    isDone = true;
    clearTimeout(late);
    then(end < 0 ? head : Buffer.from(head.subarray(0, end + 4)));
  });
}

/** What the parser takes for the connection. */
function singleRequest(socket: Socket, head: Buffer): Duplex {
  const request = new Duplex({
    read: () => undefined,
    write: (bytes, _encoding, done) => void socket.write(bytes, done),
    final: (done) => void socket.end(done),
    destroy(error, done) {
      socket.destroySoon();
      done(error);
    },
  });
  request.on('error', () => socket.destroy());
  socket.once('close', () => request.destroy());
  request.push(head);
  return request;
}
