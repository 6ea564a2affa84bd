/**
 * One request of each connection, whole and in time, and nothing of what follows it.
 *
 * Node parses whatever arrives before anybody can object: thousands of requests in one piece, each an object and an answer
 * that nobody reads. Here the parser sees one head of a few kilobytes, once the request is there whole. As many bytes of a
 * body as that head announces, within limits, are taken around the parser, which would leave copies of a password behind;
 * the rest is read and thrown away. The head is told to close, so that the connection ends with its answer, whoever writes
 * it. Browsers open a few connections at once and keep style and script, so a page costs one or two; a proxy loses nothing.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionLimits, createConnections } from './connections.ts';
import { cleanStack, createOneCopy, type Take } from './one-copy.ts';

export type RequestLimits = ConnectionLimits & {
  /** A head that is longer is handed on cut, for the parser to refuse. */
  readonly headBytesMax: number;
  /** A body that announces more is not handed on. */
  readonly bodyBytesMax: number;
  /** For the head to arrive, a TLS handshake before it included; for the body after it; and for all of it. */
  readonly headMs: number;
  readonly bodyMs: number;
  readonly connectionMs: number;
  /** After the answer, for the other end to take it and to hang up. */
  readonly lingerMs: number;
};

type RequestParts = Pick<OneRequest, 'peer' | 'body'> & {
  readonly lingerMs: number;
  /** The answer is on its way: whoever does not take it is no reason to keep others out. */
  readonly onAnswered: () => void;
};

/** What the parser takes for the connection. */
export class OneRequest extends Duplex {
  /** The address at the other end. */
  readonly peer: string;
  /** For its reader to wipe; it is wiped when the connection ends in any case. Empty: there is none. */
  readonly body: Uint8Array;
  #isTaken = false;

  constructor(stream: Socket, { peer, body, lingerMs, onAnswered }: RequestParts) {
    super({
      read: () => undefined,
      write(bytes, _encoding, done) {
        onAnswered();
        stream.write(bytes, done);
      },
      final(done) {
        onAnswered();
        const late = setTimeout(() => stream.destroy(), lingerMs);
        stream.once('close', () => clearTimeout(late));
        stream.end(done);
      },
      destroy(error, done) {
        stream.destroySoon();
        done(error);
      },
    });
    this.peer = peer;
    this.body = body;
    this.on('error', () => stream.destroy());
    stream.once('close', () => this.destroy());
  }

  /** True once: a second request that the parser finds in the bytes of one is none. */
  takeFirst(): boolean {
    const isFirst = !this.#isTaken;
    this.#isTaken = true;
    return isFirst;
  }
}

export type Gate = {
  /** `open`: what the connection is read and written through, the socket itself or TLS over it. `client`: who shares its places. */
  take(socket: Socket, open: (socket: Socket) => Socket, client: string | null): void;
  /** Lets those who wait for an answer have it within `graceMs`, and cuts off all others. */
  close(graceMs: number): Promise<void>;
};

export function createGate(limits: RequestLimits, serve: (request: OneRequest) => void): Gate {
  const connections = createConnections(limits);
  const readOnce = createOneCopy();
  return {
    close: (graceMs) => connections.close(graceMs),
    take(socket, open, client) {
      socket.on('error', () => socket.destroy());
      const peer = socket.remoteAddress ?? '';
      const stream = open(socket);
      stream.once('close', () => connections.forget(stream));
      connections.add(stream, client);
      const reader = requestReader(stream, limits, (head, body) => {
        if (!connections.begin(stream)) return void stream.destroy();
        const onAnswered = (): void => connections.end(stream);
        const request = new OneRequest(stream, { peer, body, lingerMs: limits.lingerMs, onAnswered });
        request.push(head);
        serve(request);
      });
      readOnce(stream, reader);
    },
  };
}

type Begin = (head: Buffer, body: Uint8Array) => void;

/** Calls `begin` once, with the bytes up to the empty line, or with too many, when the body is there as well. */
function requestReader(stream: Socket, limits: RequestLimits, begin: Begin): Take {
  const { headBytesMax, bodyBytesMax, headMs, bodyMs, connectionMs } = limits;
  const end = setTimeout(() => stream.destroy(), connectionMs);
  let late = setTimeout(() => stream.destroy(), headMs);
  const head = Buffer.alloc(headBytesMax + 1);
  let headLength = 0;
  let body: BodyReader | null = null;
  stream.once('close', () => {
    clearTimeout(end);
    clearTimeout(late);
    body?.wipe();
  });
  stream.on('error', () => stream.destroy());
  // Who says that nothing more comes may still wait for the answer.
  stream.on('end', () => {
    if (body?.isWhole() !== true) stream.destroy();
  });
  return (piece) => {
    if (stream.destroyed) return;
    if (body !== null) return body.take(piece);
    const taken = piece.copy(head, headLength);
    headLength += taken;
    const at = head.subarray(0, headLength).indexOf('\r\n\r\n');
    if (at < 0 && headLength < head.length) return;
    clearTimeout(late);
    const headEnd = at < 0 ? headLength : at + 4;
    const text = at < 0 ? '' : head.toString('latin1', 0, headEnd);
    const length = bodyLength(text, bodyBytesMax);
    head.fill(0, headEnd);
    if (length > 0) late = setTimeout(() => stream.destroy(), bodyMs);
    const whole = at < 0 ? head : Buffer.concat([head.subarray(0, at + 2), closing]);
    body = bodyReader(length, (bytes) => {
      clearTimeout(late);
      begin(whole, bytes);
    });
    body.take(piece.subarray(taken - (headLength - headEnd)));
    if (!body.isWhole() && /\r\nexpect:[ \t]*100-continue[ \t]*\r\n/i.test(text)) stream.write(goOn);
  };
}

/** A connection is for one request (RFC 9112 section 9.6). */
const closing = Buffer.from('Connection: close\r\n\r\n');
/** For who waits with the body until the head was looked at (RFC 9110 section 10.1.1). */
const goOn = 'HTTP/1.1 100 Continue\r\n\r\n';

type BodyReader = {
  isWhole(): boolean;
  /** Copies what belongs to the body. */
  take(piece: Buffer): void;
  wipe(): void;
};

function bodyReader(length: number, onWhole: (bytes: Uint8Array) => void): BodyReader {
  const bytes = new Uint8Array(new ArrayBuffer(length));
  let at = 0;
  let isTold = false;
  return {
    isWhole: () => at === length,
    take(piece) {
      const part = piece.subarray(0, length - at);
      bytes.set(part, at);
      at += part.length;
      if (at < length || isTold) return;
      isTold = true;
      onWhole(bytes);
      setImmediate(cleanStack);
    },
    wipe() {
      bytes.fill(0);
      setImmediate(cleanStack);
    },
  };
}

/** Only a length that is announced once counts (RFC 9112 section 6.3); for anything else there is no body here. */
function bodyLength(head: string, max: number): number {
  const lengths = [...head.matchAll(/\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n)/gi)];
  if (lengths.length !== 1 || /\r\ntransfer-encoding[ \t]*:/i.test(head)) return 0;
  const length = Number(lengths[0]?.[1]);
  return length > max ? 0 : length;
}
