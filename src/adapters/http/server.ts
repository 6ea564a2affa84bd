/**
 * The HTTP endpoints: `/livez` says that the process turns, `/readyz` whether it can do its job, `/metrics` in numbers.
 *
 * GET and HEAD only. Every answer that is not one of the three is a fixed one: nothing of a request is echoed or logged, no
 * text of an error gets out. Bodies are not read, headers are short, a slow client is cut off, and a connection is good for
 * one request. Many who ask at once cost one lookup and share its bytes, and each is answered within five seconds, whatever
 * hangs. An address that is taken is `address_in_use`.
 */

import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import fastify from 'fastify';
import { shared, withinLimit } from '../../async/single-flight.ts';
import { causeCode, Failure } from '../../errors.ts';
import type { HttpServer } from '../../ingest/ports.ts';
import type { Readiness } from '../../ingest/readiness.ts';

export type HttpOptions = { readonly host: string; readonly port: number };

export type HttpAnswers = {
  /** May fail, and may hang. */
  readonly readiness: () => Promise<Readiness>;
  /** The body of `/metrics`; null: there is none. */
  readonly metrics: ((readiness: Readiness) => Promise<MetricsText>) | null;
};

export type MetricsText = { readonly contentType: string; readonly text: string };

/** A probe gives up after five seconds or more. */
const answerMs = 4_500;
const sharing = { givenUpMs: 30_000, nowMs: () => performance.now() };
const freshMs = 1_000;
/** Who waits for a start hears soon that it is over. */
const notReadyFreshMs = 200;
const listedMax = 200;
const connectionsMax = 256;
const headBytesMax = 4096;
/** The parser sees enough of a head that is too long to refuse it. */
const limits = { headBytesMax: 2 * headBytesMax, headMs: 5_000, connectionMs: 10_000 };

/** Listens; resolves with the address that was bound. Throws `address_in_use`, `address_missing` or `config_invalid`. */
export async function startHttp(options: HttpOptions, answers: HttpAnswers): Promise<HttpServer> {
  const server = fixedAnswers();
  addEndpoints(server, answers);
  server.server.maxConnections = connectionsMax;
  const cutOff = firstRequestOnly(server.server, limits);
  try {
    const address = await server.listen({ host: options.host, port: options.port });
    return {
      address,
      [Symbol.asyncDispose]: async () => {
        cutOff();
        await server.close();
      },
    };
  } catch (error) {
    await server.close();
    throw refused(options, error);
  }
}

const paths: ReadonlySet<string> = new Set(['/livez', '/readyz', '/metrics']);

/** A server that knows no path yet, and answers everything else. */
function fixedAnswers(): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: 1024,
    forceCloseConnections: true,
    http: { maxHeaderSize: headBytesMax },
    // Such as a path that cannot be decoded.
    frameworkErrors: (_error, _request, reply: unknown) => void badRequest(reply as FastifyReply),
  });
  // Before any body is read or judged, which would have answers of its own.
  server.addHook('onRequest', async (request, reply) => {
    reply.headers(always);
    const [path = ''] = request.url.split('?');
    if (!paths.has(path)) return notFound(reply);
    if (request.method === 'GET' || request.method === 'HEAD') return undefined;
    return reply.code(405).header('allow', 'GET, HEAD').send({ error: 'method not allowed' });
  });
  server.setNotFoundHandler((_request, reply) => notFound(reply));
  server.setErrorHandler((_error, _request, reply) => reply.code(500).send({ error: 'internal error' }));
  return server;
}

const always = { connection: 'close', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

function badRequest(reply: FastifyReply): FastifyReply {
  return reply.headers(always).code(400).send({ error: 'bad request' });
}

function notFound(reply: FastifyReply): FastifyReply {
  return reply.code(404).send({ error: 'not found' });
}

type Body = { readonly code: number; readonly contentType: string; readonly bytes: Buffer };

function json(code: number, value: object): Body {
  return { code, contentType: 'application/json; charset=utf-8', bytes: Buffer.from(JSON.stringify(value)) };
}

const late = 'did not answer in time';

function addEndpoints(server: FastifyInstance, answers: HttpAnswers): void {
  const readiness = shared(
    async () => {
      const answer = await answers.readiness();
      return { answer, body: json(answer.ready ? 200 : 503, shortened(answer)) };
    },
    { ...sharing, freshMs: ({ answer }) => (answer.ready ? freshMs : notReadyFreshMs) },
  );
  server.get('/livez', async () => ({ status: 'ok' }));
  const readyz = async () => (await readiness()).body;
  server.get('/readyz', answering(readyz, json(503, { ready: false, reason: late })));
  const { metrics } = answers;
  if (metrics === null) return;
  const rendered = shared(
    async (): Promise<Body> => {
      const { contentType, text } = await metrics((await readiness()).answer);
      return { code: 200, contentType, bytes: Buffer.from(text) };
    },
    { ...sharing, freshMs: () => freshMs },
  );
  server.get('/metrics', answering(rendered, json(503, { error: late })));
}

/** Those who ask at once wait together, so that who hung up and what hangs cost next to nothing. */
function answering(lookUp: () => Promise<Body>, tooLate: Body) {
  const together = shared(async () => (await withinLimit(lookUp(), answerMs)) ?? tooLate, {
    ...sharing,
    freshMs: () => 0,
  });
  return async (_request: unknown, reply: FastifyReply) => {
    const { code, contentType, bytes } = await together();
    return reply.code(code).type(contentType).send(bytes);
  };
}

/** Those in trouble come first, so that they stay. */
function shortened(
  readiness: Readiness,
): Readiness & { readonly checks: { readonly mailboxes: { not_listed: number } } } {
  const { checks } = readiness;
  const { list } = checks.mailboxes;
  const mailboxes = {
    ...checks.mailboxes,
    list: list.slice(0, listedMax),
    not_listed: Math.max(0, list.length - listedMax),
  };
  return { ...readiness, checks: { ...checks, mailboxes } };
}

/** Other reasons than a taken address, or one that may come later, lie in what was configured: a port below 1024. */
function refused({ host, port }: HttpOptions, error: unknown): Failure {
  const code = causeCode(error);
  const message = `cannot listen on ${host}:${port} (${code})`;
  if (code === 'EADDRINUSE') return new Failure('address_in_use', message, { cause: error });
  if (code === 'EADDRNOTAVAIL') return new Failure('address_missing', message, { cause: error });
  return new Failure('config_invalid', message, { cause: error, hint: 'Choose another [http] listen.' });
}

/**
 * The first request of a connection, and nothing of what follows it.
 *
 * Node parses whatever arrives before anybody can object: thousands of requests in one piece, each an object and an answer
 * that nobody reads. Here the parser sees one head, of a few kilobytes and within a few seconds; the rest is read and thrown
 * away. A connection ends soon, whatever its other end does.
 */

export type FirstRequestLimits = {
  /** A head that is longer is handed on cut, for the parser to refuse. */
  readonly headBytesMax: number;
  /** For the head to arrive, and for the whole connection. */
  readonly headMs: number;
  readonly connectionMs: number;
};

/** Lets `server` see the first request of each connection alone. The result cuts off all that are open or still come. */
function firstRequestOnly(server: Server, limits: FirstRequestLimits): () => void {
  const serve = server.listeners('connection') as ((stream: Duplex) => void)[];
  server.removeAllListeners('connection');
  const open = new Set<Socket>();
  let isOver = false;
  server.on('connection', (socket) => {
    if (isOver) return void socket.destroy();
    open.add(socket);
    const end = setTimeout(() => socket.destroy(), limits.connectionMs);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      open.delete(socket);
      clearTimeout(end);
    });
    readHead(socket, limits, (head) => {
      const request = singleRequest(socket, head);
      for (const listener of serve) listener.call(server, request);
    });
  });
  return () => {
    isOver = true;
    for (const socket of open) socket.destroy();
  };
}

/** Calls `then` once, with the bytes up to the empty line, or with too many. */
function readHead(socket: Socket, { headBytesMax, headMs }: FirstRequestLimits, then: (head: Buffer) => void): void {
  const late = setTimeout(() => socket.destroy(), headMs);
  let head = Buffer.alloc(0);
  let isDone = false;
  socket.once('close', () => clearTimeout(late));
  socket.on('end', () => {
    if (!isDone) socket.destroy();
  });
  socket.on('data', (piece: Buffer) => {
    if (isDone) return;
    head = Buffer.concat([head, piece.subarray(0, headBytesMax + 1)]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0 && head.length <= headBytesMax) return;
    isDone = true;
    clearTimeout(late);
    then(end < 0 ? head : Buffer.from(head.subarray(0, end + 4)));
  });
}

/** What the parser takes for the connection. */
function singleRequest(socket: Socket, head: Buffer): Duplex {
  const request = new Duplex({
    read: () => undefined,
    write: (bytes, _encoding, done) => void socket.write(bytes, done),
    final: (done) => void socket.end(done),
    destroy(error, done) {
      socket.destroySoon();
      done(error);
    },
  });
  request.on('error', () => socket.destroy());
  socket.once('close', () => request.destroy());
  request.push(head);
  return request;
}
