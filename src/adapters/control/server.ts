/**
 * Control server: HTTP on a unix socket of mode 0600, for commands of the daemon's own user and of root.
 *
 * At most 4 connections, 4 KiB and 5 seconds for a request, one request per connection. Whatever a client sends or
 * fails to send, the daemon continues; a failure of a handler becomes the answer.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Context, Hono } from 'hono';
import { asFailure, Failure } from '../../errors.ts';
import type { LogLevel } from '../../events.ts';
import { byRawPath, createHttpServer, type NodeEnv } from '../http/http-server.ts';
import {
  answerMsMax,
  checkPath,
  heartbeatMs,
  logLevelIn,
  readObject,
  requestBytesMax,
  silenceMs,
  whoIn,
} from './protocol.ts';
import { listenAt } from './socket.ts';

/** What is done for each command; `who` asks. The result is the answer. */
export type ControlHandlers = {
  recover(who: string): Promise<object>;
  disable(who: string): Promise<object>;
  log_level(who: string, level: LogLevel): Promise<object>;
  status(who: string): Promise<object>;
};

const connectionsMax = 4;
const limits = {
  ...{ headBytesMax: requestBytesMax, bodyBytesMax: requestBytesMax, headMs: silenceMs, bodyMs: 0 },
  ...{ connectionMs: silenceMs + answerMsMax('disable'), lingerMs: silenceMs },
};

/**
 * Listens until the result is disposed, which lets requests end that are worked on. null: a live process listens there
 * already. Throws `config_invalid` (a path that is too long), `refused`, `disk_failed`.
 */
export async function startControlServer(path: string, handlers: ControlHandlers): Promise<AsyncDisposable | null> {
  checkPath(path);
  const idle = new Set<Socket>();
  const hooks = {
    open(socket: Socket): Socket {
      idle.add(socket);
      return socket.once('close', () => idle.delete(socket));
    },
    begin: (socket: Socket) => idle.delete(socket),
  };
  const working = new Set<Promise<void>>();
  const server = createHttpServer({ app: commands(handlers, working), headers: {}, limits, hooks });
  server.maxConnections = connectionsMax;
  // A connection that cannot be accepted (too many open files) fails for its client alone.
  server.on('error', () => undefined);
  const entry = await listenAt(path, server);
  if (entry === null) return null;
  return {
    [Symbol.asyncDispose]: async () => {
      await entry[Symbol.asyncDispose]();
      const closed = closing(server);
      for (const socket of idle) socket.destroy();
      await Promise.all([closed, ...working]);
    },
  };
}

async function closing(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  await closed;
}

type ControlContext = Context<NodeEnv>;

/** `working`: the requests that are worked on, also those whose client left. */
function commands(handlers: ControlHandlers, working: Set<Promise<void>>): Hono<NodeEnv> {
  const app = new Hono<NodeEnv>(byRawPath);
  app.use(async (_context, next) => {
    const work = next().finally(() => working.delete(work));
    working.add(work);
    await work;
  });
  app.post('/recover', (context) => answer(context, (who) => handlers.recover(who)));
  app.post('/status', (context) => answer(context, (who) => handlers.status(who)));
  app.post('/disable', (context) => answer(context, (who) => handlers.disable(who)));
  app.post('/log_level', (context) =>
    answer(context, (who, body) => {
      const level = logLevelIn(body);
      return level === null ? null : handlers.log_level(who, level);
    }),
  );
  app.notFound((context) => failureResponse(context, misuse()));
  return app;
}

/** `work`: null for a body that it does not understand. */
async function answer(
  context: ControlContext,
  work: (who: string, body: Record<string, unknown> | null) => Promise<object> | null,
): Promise<Response> {
  const { body: bytes, outgoing } = context.env;
  const body = readObject(Buffer.from(bytes).toString());
  const who = whoIn(body);
  const heartbeat = setInterval(() => outgoing.writeProcessing(), heartbeatMs);
  try {
    const done = who === null ? null : await work(who, body);
    return done === null ? failureResponse(context, misuse()) : context.json(done);
  } catch (error) {
    return failureResponse(context, asFailure(error));
  } finally {
    clearInterval(heartbeat);
  }
}

function failureResponse(context: ControlContext, { code, message, hint }: Failure): Response {
  const status = code === 'usage' ? 400 : code === 'unexpected' ? 500 : 409;
  return context.json({ code, message, hint }, status);
}

function misuse(): Failure {
  return new Failure('usage', 'the request is not one that the control socket knows', {
    hint: 'Use ticketmaild status, log-level, key recover or encryption disable, in the version of the daemon.',
  });
}
