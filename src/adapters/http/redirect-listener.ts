/**
 * Loopback redirect listener (RFC 8252 section 7.3): takes the one answer of a sign-in from a browser, then closes.
 *
 * Listens on 127.0.0.1 and ::1 only. A request with the path and the state of the sign-in is the answer; every other
 * one is refused and changes nothing, so that another program of the machine cannot end a sign-in. The page that the
 * browser shows is fixed, and sends no referrer.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Hono } from 'hono';
import { Failure } from '../../errors.ts';
import { createConnectionLimit } from './connection-limit.ts';
import { createHttpServer, type NodeEnv } from './http-server.ts';
import { listenOn } from './listen.ts';

export interface RedirectListener extends AsyncDisposable {
  readonly port: number;
  /** The address that the browser was sent to. Throws the reason of `signal`. */
  answer(state: string, signal: AbortSignal): Promise<string>;
}

const redirectPath = '/oauth/callback';

const limits = {
  ...{ headBytesMax: 32_768, bodyBytesMax: 0, headMs: 10_000, bodyMs: 0, connectionMs: 20_000, lingerMs: 1000 },
};
const headers = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};
/** A response in progress gets so long. */
const answerMs = 1000;
const signedIn =
  '<!doctype html><title>ticketmaild</title><p>Back to the terminal: it shows the result. Close this page.';
const refused = '<!doctype html><title>ticketmaild</title><p>This is no answer to the sign-in that is in progress.';

/** `port` 0: any free one. Throws `address_in_use`, `address_unavailable`, `config_invalid`. */
export async function listenForRedirect(port: number): Promise<RedirectListener> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const expected: Expected = { state: null, origin: '' };
  const connections = createConnectionLimit({ connectionsMax: 64, answersMax: 64 });
  const hooks = {
    open(socket: Socket): Socket {
      connections.add(socket, null);
      return socket;
    },
    begin: connections.begin,
    end: connections.end,
  };
  const server = createHttpServer({ app: answerPage(expected, resolve), headers, limits, hooks });
  let taken: string | null = null;
  const onTaken = (address: string): void => {
    taken = address;
  };
  const listening = await listenOn(server, {
    ...{ address: { host: '127.0.0.1', port }, descriptor: null, setting: '--browser-port' },
    twin: { descriptor: null, onTaken },
  });
  const end = async (): Promise<void> => {
    await listening.end();
    const closed = once(server, 'close');
    server.close();
    await connections.close(answerMs);
    await closed;
  };
  // A browser that is sent to `localhost` would give the answer to that process.
  if (taken !== null) {
    await end();
    throw new Failure('address_in_use', `another process listens at ${taken}`);
  }
  const bound = server.address();
  const boundPort = bound === null || typeof bound === 'string' ? port : bound.port;
  expected.origin = `http://127.0.0.1:${boundPort}`;
  return {
    port: boundPort,
    answer: async (state, signal) => {
      expected.state = state;
      const stopped = Promise.withResolvers<never>();
      const stop = (): void => stopped.reject(signal.reason);
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      try {
        return await Promise.race([promise, stopped.promise]);
      } finally {
        signal.removeEventListener('abort', stop);
      }
    },
    [Symbol.asyncDispose]: end,
  };
}

/** `state` null: the sign-in has not begun. */
type Expected = { state: string | null; origin: string };

function answerPage(expected: Expected, onAnswer: (address: string) => void): Hono<NodeEnv> {
  const app = new Hono<NodeEnv>({ getPath: () => '/' });
  app.get('/', (context) => {
    const url = URL.parse(context.env.incoming.url ?? '', expected.origin);
    const state = url?.searchParams.getAll('state').join(' ');
    if (url === null || url.pathname !== redirectPath || state !== expected.state) return context.html(refused, 404);
    onAnswer(url.href);
    return context.html(signedIn);
  });
  return app;
}
