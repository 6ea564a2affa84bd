/**
 * Reads a connection so that what comes in stands in one place alone, which is wiped as soon as it was looked at.
 *
 * Node reads into a piece of memory, copies what came into one of the right size and gives the first one back as it is: a
 * password stays in it for anybody who sees the memory. Node can read into a buffer of its user instead (`onread` of
 * net.connect), but has no option for that on the side of a server: here it is set on the socket itself. A version of Node
 * that has no such place would leave passwords behind, so nothing is read there at all.
 */
import { Socket } from 'node:net';

/** False: this version of Node cannot do it. */
export function canReadOnce(): boolean {
  return placesOf(new Socket()) !== null;
}

/**
 * Overwrites what calls that are over left below on the stack: TLS deciphers into 16 KB of it, and does not wipe them. To be
 * called from the event loop, not from within what reads.
 */
export function cleanStack(): void {
  deeper(framesBelow);
}

/** A frame is 80 bytes and more, and what reads goes 40 KB deep. */
const framesBelow = 1_500;

function deeper(frames: number): number {
  return frames === 0 ? 0 : 1 + deeper(frames - 1);
}

/** Gets bytes that are wiped when it returns. */
export type Take = (piece: Buffer) => void;

const bufferBytes = 64 * 1024;

/**
 * What it gives is for all sockets of a server: each piece was looked at before the next one is read. For a socket that
 * has read nothing yet, a TLS socket too; one that cannot be read so is cut off.
 */
export function createOneCopy(): (socket: Socket, take: Take) => void {
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
