/**
 * Dual-stack loopback listener: holds a port at the other address of `localhost` too (127.0.0.1 and ::1, RFC 6761,
 * section 6.3).
 *
 * Otherwise another user of the machine listens at the address that is free, and is `http://localhost:PORT` for
 * browsers, which try ::1 first. A machine without IPv6 has no other address.
 */

import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { ListenAddress } from '../../config/config.ts';
import { listenText } from '../../config/machine.ts';
import { causeCode } from '../../errors.ts';

export type TwinOptions = {
  readonly address: Extract<ListenAddress, { readonly host: string }>;
  /** Descriptor of a socket that listens at that address already; null: none. */
  readonly descriptor: number | null;
  /** Another process listens there. Called once. */
  readonly onTaken: (address: string) => void;
};

const retryMs = 5_000;
const noSuchAddress = ['EADDRNOTAVAIL', 'EAFNOSUPPORT'];

/**
 * Passes connections at the other address to `server` until it is disposed. Resolves after the first attempt; one that
 * fails for another reason than a missing address is repeated every 5 seconds.
 */
export async function listenAtTwin(server: HttpServer, options: TwinOptions): Promise<AsyncDisposable> {
  const ended = new AbortController();
  const { signal } = ended;
  let twin: Server | null = null;
  let isTold = false;
  const tryToListen = async (): Promise<boolean> => {
    const { listening, code } = await listen(server, options);
    twin = listening;
    if (signal.aborted) twin?.close();
    if (code === 'EADDRINUSE' && !isTold) options.onTaken(listenText(options.address));
    isTold ||= code === 'EADDRINUSE';
    return listening !== null || noSuchAddress.includes(code);
  };
  const repeat = async (): Promise<void> => {
    do await wait(retryMs, undefined, { signal, ref: false }).catch(() => undefined);
    while (!signal.aborted && !(await tryToListen()));
  };
  if (!(await tryToListen())) void repeat();
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      twin?.close();
    },
  };
}

async function listen(
  server: HttpServer,
  { address, descriptor }: TwinOptions,
): Promise<{ readonly listening: Server | null; readonly code: string }> {
  // As node:http opens its own.
  const twin = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => server.emit('connection', socket));
  try {
    twin.listen(descriptor === null ? { host: address.host, port: address.port } : { fd: descriptor });
    await once(twin, 'listening');
    twin.on('error', () => undefined);
    return { listening: twin, code: '' };
  } catch (error) {
    return { listening: null, code: causeCode(error) };
  }
}
