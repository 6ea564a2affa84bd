/**
 * HTTP/1.1 server: node:http with a Hono application behind it, for the health endpoints, the admin page and the
 * control socket.
 *
 * A request reaches the application once it is there whole, its body as bytes that are overwritten when the connection
 * closes; a longer body than `bodyBytesMax`, or one without Content-Length, is discarded and reads as empty. One
 * request per connection. The limits on time and connections are those of node:http. Nothing streams: bodies and
 * responses are bounded.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Hono } from 'hono';
import { type ConnectionTimes, SingleRequestConnection } from './single-request-connection.ts';

export type NodeBindings = {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** The address at the other end of the connection; empty for a unix socket. */
  readonly peer: string;
  /** The address at this end; empty for a unix socket. */
  readonly localAddress: string;
  /** May be overwritten earlier by its reader. */
  readonly body: Uint8Array;
};

export type NodeEnv = { readonly Bindings: NodeBindings };

export type HttpServerOptions = {
  readonly app: Hono<NodeEnv>;
  /** Of every response, also to what cannot be parsed. */
  readonly headers: Readonly<Record<string, string>>;
  readonly limits: HttpLimits;
  readonly hooks?: ConnectionHooks;
};

export type HttpLimits = ConnectionTimes & {
  readonly headBytesMax: number;
  readonly bodyBytesMax: number;
  /** For the head, a TLS handshake before it included; then for the body. */
  readonly headMs: number;
  readonly bodyMs: number;
};

type ConnectionHooks = {
  /** The stream to read and write, such as TLS over the socket; null: the connection is refused. */
  readonly open?: (socket: Socket) => Socket | null;
  /** The request is whole. False: too many are. */
  readonly begin?: (stream: Socket) => boolean;
  /** The response is about to be written. */
  readonly end?: (stream: Socket) => void;
  /** The body was read. */
  readonly onBody?: () => void;
  /** What arrived is not HTTP. */
  readonly onMalformed?: (peer: string) => void;
};

/** How often node:http checks for requests that are late. */
const checkIntervalMs = 500;

/** Call `listen`, or `listenOn` (listen.ts), for the result. */
export function createHttpServer(options: HttpServerOptions): Server {
  const { limits, hooks = {} } = options;
  const { headBytesMax, headMs, bodyMs } = limits;
  const server = createServer({
    maxHeaderSize: headBytesMax,
    headersTimeout: headMs,
    requestTimeout: headMs + bodyMs,
    connectionsCheckingInterval: checkIntervalMs,
    requireHostHeader: false,
  });
  const parse = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket) => {
    socket.on('error', () => socket.destroy());
    const peer = socket.remoteAddress ?? '';
    const stream = hooks.open === undefined ? socket : hooks.open(socket);
    if (stream === null) return void socket.destroy();
    const connection = new SingleRequestConnection(stream, peer, limits);
    for (const listener of parse) Reflect.apply(listener, server, [connection]);
  });
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    server.on(event, (incoming, outgoing) => void serve(incoming, outgoing, options));
  server.on('clientError', (error, connection) => refuseMalformed(error, connection, options));
  return server;
}

async function serve(incoming: IncomingMessage, outgoing: ServerResponse, options: HttpServerOptions): Promise<void> {
  const { app, limits, hooks = {} } = options;
  const connection: unknown = incoming.socket;
  if (!(connection instanceof SingleRequestConnection) || !connection.claim(incoming)) return;
  outgoing.on('error', () => connection.destroy());
  const { stream, remoteAddress: peer } = connection;
  const { localAddress = '' } = stream;
  const lengthBytes = bodyLength(incoming, limits.bodyBytesMax);
  if (lengthBytes === 0) connection.discardInput();
  else if (/^100-continue$/i.test(incoming.headers.expect ?? '')) setImmediate(continueUnlessWhole, incoming, outgoing);
  const body = await readBody(incoming, lengthBytes);
  if (lengthBytes > 0) hooks.onBody?.();
  if (body === null || stream.destroyed) return;
  if (hooks.begin?.(stream) === false) return void stream.destroy();
  try {
    const response = await app.fetch(requestOf(incoming), { incoming, outgoing, peer, localAddress, body });
    const content = Buffer.from(await response.arrayBuffer());
    hooks.end?.(stream);
    send(outgoing, response, content, options.headers);
  } catch {
    stream.destroy();
  }
}

/** Asks the client for the body, unless it sent it with the head (RFC 9110, section 10.1.1). */
function continueUnlessWhole({ complete }: IncomingMessage, outgoing: ServerResponse): void {
  if (!complete) outgoing.writeContinue();
}

/** Only a length that is announced once counts (RFC 9112, section 6.3). */
function bodyLength({ headersDistinct: headers }: IncomingMessage, max: number): number {
  const [text = '', ...others] = headers['content-length'] ?? [];
  if (others.length > 0 || headers['transfer-encoding'] !== undefined || !/^\d{1,9}$/.test(text)) return 0;
  return Number(text) > max ? 0 : Number(text);
}

/** Copies the body into one buffer and overwrites the pieces; null: the connection ended before it was whole. */
function readBody(incoming: IncomingMessage, lengthBytes: number): Promise<Uint8Array | null> {
  const body = new Uint8Array(lengthBytes);
  incoming.socket.once('close', () => body.fill(0));
  if (lengthBytes === 0) return Promise.resolve(body);
  let at = 0;
  return new Promise((resolve) => {
    incoming.on('data', (piece: Buffer) => {
      body.set(piece, at);
      at += piece.length;
      piece.fill(0);
    });
    incoming.once('end', () => resolve(at === lengthBytes ? body : null));
    incoming.once('error', () => resolve(null));
    incoming.once('close', () => resolve(null));
  });
}

/**
 * The request for the application. Its URL has the query alone: `rawPath` is the path, which a URL would rewrite. HEAD
 * is routed like GET, since node:http leaves the body out; TRACE, which fetch forbids, like OPTIONS.
 */
function requestOf({ method = '', url = '', headersDistinct }: IncomingMessage): Request {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct))
    for (const value of values) headers.append(name, value);
  const routed = { HEAD: 'GET', TRACE: 'OPTIONS' }[method] ?? method;
  return new Request(`http://localhost/${url.slice(rawPath(url).length)}`, { method: routed, headers });
}

/** The path as it stands in the request, neither decoded nor normalized. */
function rawPath(url: string): string {
  const [path = ''] = url.split('?', 1);
  return path;
}

/** For `new Hono`: routes by the raw path. */
export const byRawPath = {
  getPath: (_request: Request, options?: { env?: unknown }): string =>
    rawPath((options?.env as NodeBindings | undefined)?.incoming.url ?? ''),
};

function send(
  outgoing: ServerResponse,
  response: Response,
  content: Buffer,
  headers: Readonly<Record<string, string>>,
): void {
  for (const [name, value] of Object.entries(headers)) outgoing.setHeader(name, value);
  for (const name of response.headers.keys()) outgoing.removeHeader(name);
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
  outgoing.setHeader('connection', 'close');
  if (response.status !== 304) outgoing.setHeader('content-length', content.length);
  outgoing.writeHead(response.status).end(content);
}

/** What the parser refuses is answered; a request that is late, or a connection that broke, is closed. */
function refuseMalformed(error: Error, connection: unknown, { headers, hooks = {} }: HttpServerOptions): void {
  if (!(connection instanceof SingleRequestConnection)) return;
  const code = 'code' in error ? String(error.code) : '';
  if (!code.startsWith('HPE_')) return void connection.stream.destroy();
  connection.discardInput();
  // What follows the first request.
  if (connection.hasRequest) return;
  hooks.onMalformed?.(connection.remoteAddress);
  const status = code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const lines = Object.entries({
    ...headers,
    ...{ connection: 'close', 'content-type': 'text/plain', 'content-length': `${status.length + 1}` },
  });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  connection.end(`HTTP/1.1 ${status}\r\n${head}\r\n${status}\n`);
}
