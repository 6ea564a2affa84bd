/**
 * The health endpoints, on an address that may come later than the daemon (DHCP, a virtual address that moves between hosts)
 * or that somebody else has: any user of the machine can take a port.
 *
 * Mail does not wait for it: it is told once, and tried again every few seconds. Any other reason not to listen is one of the
 * configuration, and keeps the daemon from starting.
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { HttpServer } from './daemon-ports.ts';

const retryMs = 5000;

/** Listens until it is disposed. The first try throws what `listen` throws, but for `address_missing` and `address_in_use`. */
export async function keepListening(
  listen: () => Promise<HttpServer>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<AsyncDisposable> {
  const ended = new AbortController();
  let told: string | null = null;
  const tryToListen = async (): Promise<HttpServer | Failure> => {
    try {
      const server = await listen();
      log.info({ address: server.address }, events.httpListening);
      return server;
    } catch (error) {
      const failure = asFailure(error);
      if (failure.message !== told) log.warn({ error: failure }, events.httpListenFailed);
      told = failure.message;
      return failure;
    }
  };
  const first = await tryToListen();
  if (first instanceof Failure && !isFailure(first, 'address_missing', 'address_in_use')) throw first;
  const keepTrying = async (): Promise<HttpServer | null> => {
    for (let last = first; ; last = await tryToListen()) {
      if (!(last instanceof Failure)) return last;
      if (!ended.signal.aborted) await clock.sleep(retryMs, ended.signal);
      if (ended.signal.aborted) return null;
    }
  };
  const server = keepTrying();
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      await (await server)?.[Symbol.asyncDispose]();
    },
  };
}
