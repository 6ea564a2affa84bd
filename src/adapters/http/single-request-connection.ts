/**
 * Single-request connection: hands a socket to node:http in slices of 64 bytes and discards input after the first
 * request.
 *
 * node:http parses whatever arrives before a handler can object: one read of 64 KiB may hold thousands of pipelined
 * requests, each an object and a response that nothing reads. Here the parser sees one request and at most a few bytes
 * of the next. Every piece is overwritten after it was parsed, because a body may hold a password. A client that
 * half-closes is answered; after the response, up to 4 MiB of input are discarded until the other end closes, for
 * `lingerMs` at most, so that no reset loses the response (RFC 9112, section 9.6).
 */

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export type ConnectionTimes = {
  /** From accept to close. */
  readonly connectionMs: number;
  /** After the response, for the other end to read it and to close. */
  readonly lingerMs: number;
};

/** The shortest request has 16 bytes: a slice holds few. */
const sliceBytes = 64;
const discardedBytesMax = 4 * 1024 * 1024;

export class SingleRequestConnection extends Duplex {
  /** The socket itself, or TLS over it. */
  readonly stream: Socket;
  readonly remoteAddress: string;
  #request: IncomingMessage | null = null;
  #isDiscarding = false;
  #discardedBytes = 0;

  constructor(stream: Socket, remoteAddress: string, { connectionMs, lingerMs }: ConnectionTimes) {
    super({
      read: () => undefined,
      write: (bytes, _encoding, done) => void stream.write(bytes, done),
      final(done) {
        const late = setTimeout(() => stream.destroy(), lingerMs);
        stream.once('close', () => clearTimeout(late));
        stream.end(done);
      },
      destroy(error, done) {
        stream.destroySoon();
        done(error);
      },
    });
    this.stream = stream;
    this.remoteAddress = remoteAddress;
    const late = setTimeout(() => stream.destroy(), connectionMs);
    this.on('error', () => stream.destroy());
    stream.on('error', () => stream.destroy());
    stream.once('close', () => {
      clearTimeout(late);
      this.destroy();
    });
    stream.once('end', () => {
      if (!this.#isOver()) stream.destroy();
    });
    stream.on('data', (piece: Buffer) => this.#parse(piece));
  }

  get hasRequest(): boolean {
    return this.#request !== null;
  }

  /** True for the first request; false for what the parser takes for another one. */
  claim(request: IncomingMessage): boolean {
    const isFirst = this.#request === null;
    this.#request ??= request;
    return isFirst;
  }

  /** The body of the request is not wanted. */
  discardInput(): void {
    this.#isDiscarding = true;
  }

  #isOver(): boolean {
    return this.#isDiscarding || this.#request?.complete === true;
  }

  #parse(piece: Buffer): void {
    let at = 0;
    for (; at < piece.length && !this.#isOver() && !this.destroyed; at += sliceBytes)
      this.push(piece.subarray(at, at + sliceBytes));
    piece.fill(0);
    this.#discardedBytes += Math.max(0, piece.length - at);
    if (this.#discardedBytes > discardedBytesMax) this.stream.pause();
  }
}
