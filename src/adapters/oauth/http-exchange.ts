/**
 * HTTP/1.1 exchange over a TLS socket of its own (RFC 9112), with the secrets of request and response as bytes.
 *
 * Node's HTTP client copies bodies and leaves what it read unwiped; here the request is written from one buffer and the
 * response read into one, both wiped. One request per connection, redirects are not followed, plain HTTP goes to
 * loopback alone. Throws `oauth_provider_failed` and `interrupted`. Measured by `oauth-core-dump` of the benchmarks.
 */
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { isLoopback } from '../../config/machine.ts';
import { causeCode, Failure } from '../../errors.ts';
import { copySecret, secretBuffer } from '../../secret/secret-bytes.ts';
import { overwriteStack } from '../process/scrub-memory.ts';
import { trustingContext } from '../process/tls-context.ts';
import { encodeForm, type FormField } from './form-body.ts';
import { BrokenAnswer, createAnswerReader, type HttpAnswer, type HttpAnswerReader } from './http-answer.ts';
import { openTunnel } from './proxy-tunnel.ts';

export type HttpExchange = {
  /** Name of the provider, for failures. */
  readonly provider: string;
  readonly url: URL;
  /** null: GET. */
  readonly form: readonly FormField[] | null;
  readonly caPem: string | null;
  readonly proxy: string | null;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
};

type Message = { readonly bytes: Buffer; wasSent: boolean };

const pieceBytes = 64 * 1024;

/** Lends the answer to `read`, then wipes it. */
export async function exchange<T>(request: HttpExchange, read: (answer: HttpAnswer) => T): Promise<T> {
  checkAddress(request);
  const reader = createAnswerReader();
  const message: Message = { bytes: composeRequest(request), wasSent: false };
  try {
    await transfer(request, message, reader);
    return read(reader.answer());
  } catch (error) {
    throw error instanceof Failure ? error : exchangeFailure(error, request, message.wasSent);
  } finally {
    message.bytes.fill(0);
    reader.wipe();
    setImmediate(overwriteStack);
  }
}

function checkAddress({ url, provider }: HttpExchange): void {
  const isPlainLoopback = url.protocol === 'http:' && isLoopback(hostOf(url));
  if ((url.protocol === 'https:' || isPlainLoopback) && url.username === '' && url.password === '') return;
  throw new Failure('oauth_provider_failed', `The provider ${provider} names an address that is not https.`, {
    fields: { provider, cause: 'not_https', was_sent: false },
    hint: 'Check issuer and the endpoints in [oauth.NAME]: secrets are sent over https alone.',
  });
}

export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

function composeRequest({ url, form }: HttpExchange): Buffer {
  const body = form === null ? secretBuffer(0) : encodeForm(form);
  const type =
    form === null ? [] : ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`];
  const head = Buffer.from(
    [
      `${form === null ? 'GET' : 'POST'} ${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      ...type,
      ...['Accept: application/json', 'Accept-Encoding: identity', 'User-Agent: ticketmaild', 'Connection: close'],
      ...['', ''],
    ].join('\r\n'),
    'latin1',
  );
  const bytes = secretBuffer(head.length + body.length);
  bytes.set(head);
  copySecret(body, bytes, head.length);
  body.fill(0);
  return Buffer.from(bytes.buffer, 0, bytes.length);
}

async function transfer(request: HttpExchange, message: Message, reader: HttpAnswerReader): Promise<void> {
  const deadline = AbortSignal.any([request.signal, AbortSignal.timeout(request.deadlineMs)]);
  deadline.throwIfAborted();
  const done = Promise.withResolvers<void>();
  // It may fail while the connection is still made, which fails then too.
  done.promise.catch(() => undefined);
  const receive = (piece: Uint8Array): void => {
    try {
      if (reader.add(piece)) done.resolve();
    } catch (error) {
      done.reject(error);
    } finally {
      piece.fill(0);
    }
  };
  const sockets: Socket[] = [];
  const hold = (socket: Socket): void => void sockets.push(socket);
  const watch = (socket: Socket): void => {
    hold(socket);
    socket
      .on('error', done.reject)
      .once('end', done.resolve)
      .once('close', () => done.resolve());
  };
  const abort = (): void => done.reject(deadline.reason);
  deadline.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([connectAndWrite(request, message, { receive, hold, watch }), done.promise]);
    await done.promise;
  } finally {
    deadline.removeEventListener('abort', abort);
    for (const socket of sockets) socket.destroy();
  }
}

async function connectAndWrite(request: HttpExchange, message: Message, listeners: SocketListeners): Promise<void> {
  const socket = await connectSocket(request, listeners);
  // Not in the event of the handshake: TLS now and then cannot write there yet, and Node keeps an unwiped copy.
  await new Promise((resolve) => setImmediate(resolve));
  if (socket.destroyed) return;
  message.wasSent = true;
  socket.write(message.bytes, () => message.bytes.fill(0));
}

type SocketListeners = {
  readonly receive: (piece: Uint8Array) => void;
  /** Gets each socket at once, to destroy it at the end. */
  readonly hold: (socket: Socket) => void;
  /** Holds the socket that the answer comes from, and ends with it. */
  readonly watch: (socket: Socket) => void;
};

async function connectSocket(
  { url, caPem, proxy }: HttpExchange,
  { receive, hold, watch }: SocketListeners,
): Promise<Socket> {
  const [host, port] = [hostOf(url), portOf(url)];
  const tunnel = proxy === null ? null : await openTunnel(proxy, { host, port }, hold);
  const secure = url.protocol === 'https:';
  if (tunnel !== null && !secure) {
    watch(tunnel);
    tunnel.on('data', receive).resume();
    return tunnel;
  }
  const way = tunnel === null ? { port, onread: readingInto(receive) } : { socket: tunnel };
  const name = net.isIP(host) === 0 ? { servername: host } : {};
  const trust = { secureContext: trustingContext(caPem), rejectUnauthorized: true, ALPNProtocols: ['http/1.1'] };
  const socket = secure
    ? tls.connect({ ...way, ...name, ...trust, host })
    : net.connect({ host, port, onread: readingInto(receive) });
  watch(socket);
  await once(socket, secure ? 'secureConnect' : 'connect');
  if (tunnel !== null) socket.on('data', receive);
  return socket;
}

/** Reads into one buffer, so that Node makes none for each piece. */
function readingInto(receive: (piece: Uint8Array) => void): net.OnReadOpts {
  const buffer = secretBuffer(pieceBytes);
  return {
    buffer,
    callback: (bytes) => {
      receive(buffer.subarray(0, bytes));
      return true;
    },
  };
}

const unreachable =
  'Check issuer and the endpoints in [oauth.NAME] (host and port); then firewall and DNS of this machine, or set proxy.';
const unreadable = 'The answer is none of a provider: check issuer, the endpoints and proxy in [oauth.NAME].';
const untrusted = 'The certificate of the provider is not trusted: check its name, and ca_file in [oauth.NAME].';

/** Field `was_sent` false: the provider did not get the request. */
function exchangeFailure(
  error: unknown,
  { provider, url, signal, deadlineMs }: HttpExchange,
  wasSent: boolean,
): Failure {
  const isLate = error instanceof DOMException && error.name === 'TimeoutError';
  if (signal.aborted && !isLate)
    return new Failure('interrupted', `The request to the provider ${provider} was stopped.`);
  const cause = isLate ? 'deadline' : causeCode(error);
  const at = `${url.hostname}:${portOf(url)}`;
  const fields = { provider, cause, ...(wasSent ? {} : { was_sent: false }) };
  if (error instanceof BrokenAnswer) {
    const message = `The answer of the provider ${provider} at ${at} cannot be read (${cause}).`;
    return new Failure('oauth_provider_failed', message, { fields, hint: unreadable });
  }
  const what = isLate ? `does not answer within ${deadlineMs / 1000} s` : 'cannot be reached';
  const hint = /CERT|SIGNED|SIGNATURE|ISSUER/.test(cause)
    ? untrusted
    : /^ERR_SSL/.test(cause)
      ? unreadable
      : unreachable;
  return new Failure('oauth_provider_failed', `The provider ${provider} ${what} at ${at} (${cause}).`, {
    fields,
    hint,
  });
}
