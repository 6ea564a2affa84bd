/**
 * Listen with retry: the health endpoints start on an address that may not exist yet, or whose port is in use.
 *
 * The address may arrive after the daemon (DHCP, a virtual IP that moves between hosts), and any user of the machine
 * can take the port. Polling does not wait for it: the failure is logged once, and listening is retried every five
 * seconds. Any other failure is one of the configuration and stops the start.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure, Failure, isFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { HttpServer } from '../ports.ts';

const retryMs = 5000;

/**
 * Listens until it is disposed. The first attempt throws what `listen` throws, except `address_unavailable`,
 * `address_in_use` and `refused` (the folder of a unix socket).
 */
export async function listenWithRetry(
  listen: () => Promise<HttpServer>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<AsyncDisposable> {
  const ended = new AbortController();
  let logged: string | null = null;
  const tryToListen = async (): Promise<HttpServer | Failure> => {
    try {
      const server = await listen();
      log.info({ address: server.address }, events.httpListening);
      return server;
    } catch (error) {
      const failure = asFailure(error);
      if (failure.message !== logged) log.warn({ error: failure }, events.httpListenFailed);
      logged = failure.message;
      return failure;
    }
  };
  const first = await tryToListen();
  if (first instanceof Failure && !isFailure(first, 'address_unavailable', 'address_in_use', 'refused')) throw first;
  const retry = async (): Promise<HttpServer | null> => {
    for (let last = first; ; last = await tryToListen()) {
      if (!(last instanceof Failure)) return last;
      if (!ended.signal.aborted) await clock.sleep(retryMs, ended.signal);
      if (ended.signal.aborted) return null;
    }
  };
  const server = retry();
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      await (await server)?.[Symbol.asyncDispose]();
    },
  };
}
