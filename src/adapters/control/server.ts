/**
 * The control socket of a running daemon: lets commands of its own user, and root, ask for what only it can do.
 *
 * A unix stream socket, mode 0600. Requests are small and few: 4 KiB, 5 seconds and 4 connections at most. Whatever a
 * client sends or fails to send, the daemon goes on; what a handler throws becomes the answer.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { asFailure, Failure } from '../../errors.ts';
import {
  type ControlRequest,
  checkPath,
  failureAnswer,
  type LogLevel,
  linesOf,
  lineWaitMs,
  readRequest,
  requestBytesMax,
  workingEveryMs,
} from './protocol.ts';
import { listenAt } from './socket.ts';

/** What is done for each command; `who` asks. The result is the answer. */
export type ControlHandlers = {
  rescue(who: string): Promise<object>;
  disable(who: string): Promise<object>;
  log_level(who: string, level: LogLevel): Promise<object>;
};

const connectionsMax = 4;

/**
 * Listens until the result is disposed, which lets requests end that are worked on. null: a worker that lives listens
 * there already. Throws `config_invalid` (a path that is too long), `refused`, `disk_failed`.
 */
export async function startControl(path: string, handlers: ControlHandlers): Promise<AsyncDisposable | null> {
  checkPath(path);
  const waiting = new Set<Socket>();
  const working = new Set<Promise<void>>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    // A client that leaves early is no trouble of ours.
    socket.on('error', () => undefined);
    const conversation = converse(socket, handlers, waiting).finally(() => working.delete(conversation));
    working.add(conversation);
  });
  server.maxConnections = connectionsMax;
  // A connection that cannot be accepted (too many open files) is the client's to notice.
  server.on('error', () => undefined);
  const place = await placed(path, server);
  if (place === null) return null;
  return {
    [Symbol.asyncDispose]: async () => {
      await place[Symbol.asyncDispose]();
      const closed = closing(server);
      for (const socket of waiting) socket.destroy();
      await Promise.all(working);
      await closed;
    },
  };
}

async function placed(path: string, server: Server): Promise<AsyncDisposable | null> {
  let place: AsyncDisposable | null = null;
  try {
    place = await listenAt(path, server);
    return place;
  } finally {
    if (place === null && server.listening) await closing(server);
  }
}

function closing(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  return promise;
}

/** One request and its answer. Never rejects. `waiting` has the sockets whose request is not there yet. */
async function converse(socket: Socket, handlers: ControlHandlers, waiting: Set<Socket>): Promise<void> {
  waiting.add(socket);
  const line = await linesOf(socket, requestBytesMax).next(lineWaitMs);
  waiting.delete(socket);
  // Nothing more is wanted of it, however much it has to say.
  socket.pause();
  if (line.kind === 'ended') return void socket.destroy();
  const answer = line.kind === 'line' ? await answerTo(line.text, socket, handlers) : failureAnswer(misuse());
  await finish(socket, `${JSON.stringify(answer)}\n`);
}

async function answerTo(line: string, socket: Socket, handlers: ControlHandlers): Promise<object> {
  const request = readRequest(line);
  if (request === null) return failureAnswer(misuse());
  const tick = setInterval(() => socket.write('{"working":true}\n'), workingEveryMs);
  try {
    return { ok: true, ...(await handle(request, handlers)) };
  } catch (error) {
    return failureAnswer(asFailure(error));
  } finally {
    clearInterval(tick);
  }
}

function handle(request: ControlRequest, handlers: ControlHandlers): Promise<object> {
  const { command, who } = request;
  return command === 'log_level' ? handlers.log_level(who, request.level) : handlers[command](who);
}

function misuse(): Failure {
  return new Failure('usage', 'the request is not one JSON line with a command that is known', {
    hint: 'Ask with ticketmaild key rescue, ticketmaild encryption disable, or ticketmaild log-level.',
  });
}

/** Sends the last line and ends the connection; a client that does not read it is not waited for. */
async function finish(socket: Socket, text: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, lineWaitMs);
  socket.once('close', resolve);
  if (socket.destroyed) resolve();
  else socket.end(text, resolve);
  await promise;
  clearTimeout(timer);
  socket.destroy();
}
