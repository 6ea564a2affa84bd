/**
 * One request of each connection, whole and in time, and nothing of what follows it.
 *
 * Node parses whatever arrives before anybody can object: thousands of requests in one piece, each an object and an answer
 * that nobody reads. Here the parser sees one head of a few kilobytes, once the request is there whole. As many bytes of a
 * body as that head announces, within limits, are taken around the parser, which would leave copies of a password behind;
 * the rest is read and thrown away. The head is told to close, so that the connection ends with its answer, whoever writes
 * it. Browsers open a few connections at once and keep style and script, so a page costs one or two; a proxy loses nothing.
 */

import { Socket } from 'node:net';
import { Duplex } from 'node:stream';

type RequestLimits = ConnectionLimits & {
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

type Gate = {
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

/**
 * Who has a place, and who makes room for the next one.
 *
 * A connection waits until its request is there whole, and again once it has its answer: those who wait make room, of the
 * clients with the most of them the one that has waited longest. So nobody is kept out by connections that are slow, be they as many as
 * they like: whoever sends a request in one go is answered. Requests that are being answered make no room; there are only so
 * many at once, and only so many of one client.
 */

type ConnectionLimits = {
  readonly connectionsMax: number;
  /** Requests that are being answered at once. One client may have half of them. */
  readonly answersMax: number;
};

/** `client`: connections of the same count together; null: it cannot be told, as behind a proxy and on loopback. */
type Connections = {
  /** As one that waits. */
  add(stream: Socket, client: string | null): void;
  /** Its request is whole. False: too many are. */
  begin(stream: Socket): boolean;
  /** Its answer was written. */
  end(stream: Socket): void;
  forget(stream: Socket): void;
  /** Cuts off those who wait, and all others when `graceMs` are over. */
  close(graceMs: number): Promise<void>;
};

type Groups = Map<string | null, Set<Socket>>;

function createConnections({ connectionsMax, answersMax }: ConnectionLimits): Connections {
  const clients = new Map<Socket, string | null>();
  const waiting: Groups = new Map();
  const answered: Groups = new Map();
  let isOver = false;
  let whenEmpty = (): void => undefined;
  const clientOf = (stream: Socket): string | null => clients.get(stream) ?? null;
  const forget = (stream: Socket): void => {
    take(waiting, clientOf(stream), stream);
    take(answered, clientOf(stream), stream);
    if (clients.delete(stream) && clients.size === 0) whenEmpty();
  };
  const cutOff = (streams: Iterable<Socket>): void => {
    for (const stream of [...streams]) {
      forget(stream);
      stream.destroy();
    }
  };
  return {
    forget,
    add(stream, client) {
      if (isOver) return void stream.destroy();
      if (clients.size >= connectionsMax) cutOff(oldestOfMost(waiting));
      clients.set(stream, client);
      put(waiting, client, stream);
    },
    begin(stream) {
      const client = clientOf(stream);
      const mine = answered.get(client)?.size ?? 0;
      const most = client === null ? answersMax : answersMax / 2;
      if (!clients.has(stream) || sizeOf(answered) >= answersMax || mine >= most) return false;
      take(waiting, client, stream);
      put(answered, client, stream);
      return true;
    },
    end(stream) {
      if (take(answered, clientOf(stream), stream)) put(waiting, clientOf(stream), stream);
    },
    async close(graceMs) {
      isOver = true;
      cutOff([...waiting.values()].flatMap((group) => [...group]));
      if (clients.size === 0) return;
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, graceMs);
        whenEmpty = () => {
          clearTimeout(late);
          resolve();
        };
      });
      cutOff(clients.keys());
    },
  };
}

function put(groups: Groups, client: string | null, stream: Socket): void {
  const group = groups.get(client) ?? new Set();
  groups.set(client, group.add(stream));
}

/** False: it was not there. */
function take(groups: Groups, client: string | null, stream: Socket): boolean {
  const group = groups.get(client);
  const wasThere = group?.delete(stream) === true;
  if (group?.size === 0) groups.delete(client);
  return wasThere;
}

function sizeOf(groups: Groups): number {
  return groups.values().reduce((sum, { size }) => sum + size, 0);
}

/** One, or none where none waits. */
function oldestOfMost(groups: Groups): readonly Socket[] {
  const most = Math.max(0, ...groups.values().map(({ size }) => size));
  const [oldest] = groups.values().find(({ size }) => size === most) ?? [];
  return oldest === undefined ? [] : [oldest];
}

/**
 * Reads a connection so that what comes in stands in one place alone, which is wiped as soon as it was looked at.
 *
 * Node reads into a piece of memory, copies what came into one of the right size and gives the first one back as it is: a
 * password stays in it for anybody who sees the memory. Node can read into a buffer of its user instead (`onread` of
 * net.connect), but has no option for that on the side of a server: here it is set on the socket itself. A version of Node
 * that has no such place would leave passwords behind, so nothing is read there at all.
 */

/** False: this version of Node cannot do it. */
export function canReadOnce(): boolean {
  return placesOf(new Socket()) !== null;
}

/**
 * Overwrites what calls that are over left below on the stack: TLS deciphers into 16 KB of it, and does not wipe them. To be
 * called from the event loop, not from within what reads.
 */
function cleanStack(): void {
  deeper(framesBelow);
}

/** A frame is 80 bytes and more, and what reads goes 40 KB deep. */
const framesBelow = 1_500;

function deeper(frames: number): number {
  return frames === 0 ? 0 : 1 + deeper(frames - 1);
}

/** Gets bytes that are wiped when it returns. */
type Take = (piece: Buffer) => void;

const bufferBytes = 64 * 1024;

/**
 * What it gives is for all sockets of a server: each piece was looked at before the next one is read. For a socket that
 * has read nothing yet, a TLS socket too; one that cannot be read so is cut off.
 */
function createOneCopy(): (socket: Socket, take: Take) => void {
  const buffer = Buffer.alloc(bufferBytes);
  return (socket, take) => {
    const isOurs = readInto(socket, buffer, (length) => {
      const piece = buffer.subarray(0, length);
      take(piece);
      piece.fill(0);
    });
    if (isOurs) socket.resume();
    else socket.destroy();
  };
}

/** Where the constructor of net.Socket puts what `onread` gives; null: it does it in another way. */
function placesOf(socket: Socket): { readonly buffer: symbol; readonly callback: symbol } | null {
  const own = Object.getOwnPropertySymbols(socket);
  const [buffer, callback] = ['kBuffer', 'kBufferCb'].map((name) => own.find((key) => key.description === name));
  return buffer === undefined || callback === undefined ? null : { buffer, callback };
}

/** Does what that constructor does. False: it cannot be done. */
function readInto(socket: Socket, buffer: Buffer, onRead: (length: number) => void): boolean {
  const handle: unknown = Reflect.get(socket, '_handle');
  const places = placesOf(socket);
  if (places === null || !canRead(handle)) return false;
  Reflect.set(socket, places.buffer, buffer);
  // What it returns says whether to go on.
  Reflect.set(socket, places.callback, (length: number) => {
    onRead(length);
    return true;
  });
  handle.useUserBuffer(buffer);
  return true;
}

type Handle = { useUserBuffer(buffer: Buffer): void };

function canRead(handle: unknown): handle is Handle {
  return typeof handle === 'object' && handle !== null && typeof Reflect.get(handle, 'useUserBuffer') === 'function';
}
