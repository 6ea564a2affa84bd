/**
 * The web server of the admin page: it listens, and tries again for as long as it cannot.
 *
 * Trouble here is never trouble of the daemon: a port that is taken or a certificate that cannot be read is told once and
 * tried again every few seconds, a renewed certificate is taken up when its files change, and one that is no good leaves the
 * former in use. Where proxies are named, nobody else gets as far as a handshake.
 */

import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { AdminService } from '../../admin/service.ts';
import type { AdminConfig } from '../../config/config.ts';
import { asFailure, causeCode, Failure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { bodyBytesMax, createPeers, createPlace } from './http/request-checks.ts';
import { canReadOnce, createGate } from './http/single-request-connection.ts';
import { createSite, headBytesMax, readAssets } from './site.ts';

/** Times in milliseconds, and how many connections at once, and requests that are being answered. */
export type AdminPace = {
  /** Between two tries to listen, and between two looks at the files of the certificate. */
  readonly retryMs: number;
  readonly certificateMs: number;
  readonly answerMs: number;
  readonly headMs: number;
  readonly bodyMs: number;
  readonly connectionsMax: number;
  readonly answersMax: number;
};

const usual: AdminPace = {
  ...{ retryMs: 5_000, certificateMs: 10_000, answerMs: 30_000 },
  ...{ headMs: 5_000, bodyMs: 10_000, connectionsMax: 256, answersMax: 64 },
};
const lingerMs = 2_000;
const closeMs = 5_000;

/**
 * Serves the admin page until it is disposed. Resolves after the first attempt to listen, whatever became of it; a taken port
 * or an unreadable certificate is logged once, and tried again without end. Never rejects.
 */
export async function keepAdminPage(
  config: AdminConfig,
  desk: AdminService,
  log: Log,
  pace: Partial<AdminPace> = {},
): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const tell = tellOnce(log);
  const parts = { config, desk, log, tell, pace: { ...usual, ...pace }, stop: stop.signal };
  let page = await tryToServe(parts);
  const keeping = (async () => {
    while (!stop.signal.aborted) {
      if (page === null) await pause(parts.pace.retryMs, stop.signal);
      else await page.ended;
      if (stop.signal.aborted) return;
      await page?.close();
      page = await tryToServe(parts);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await page?.close();
      await keeping;
      // A try that was under way meanwhile.
      await page?.close();
    },
  };
}

type Parts = {
  readonly config: AdminConfig;
  readonly desk: AdminService;
  readonly log: Log;
  readonly tell: (failure: Failure | null) => void;
  readonly pace: AdminPace;
  readonly stop: AbortSignal;
};

type Page = {
  /** The server is closed, by us or by trouble. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
};

/** The same trouble in a row is one line. null: all is well. */
function tellOnce(log: Log): (failure: Failure | null) => void {
  let told: string | null = null;
  return (failure) => {
    if (failure !== null && failure.message !== told) log.warn({ error: failure }, events.adminListenFailed);
    told = failure?.message ?? null;
  };
}

async function tryToServe(parts: Parts): Promise<Page | null> {
  try {
    const page = await open(parts);
    parts.tell(null);
    return page;
  } catch (error) {
    parts.tell(asFailure(error));
    return null;
  }
}

/** Rather no page than one that leaves what people type in the memory. */
function wouldLeavePasswords(): Failure {
  const message = `Node ${process.versions.node} cannot read a connection into a buffer of ours: the admin page is not served`;
  return new Failure('unexpected', message, { hint: 'Run it with the Node that npm ci installs.' });
}

async function open({ config, desk, log, tell, pace }: Parts): Promise<Page> {
  if (!canReadOnce()) throw wouldLeavePasswords();
  await using undo = new AsyncDisposableStack();
  const peers = createPeers(config.proxies);
  const { answerMs, headMs, bodyMs, connectionsMax, answersMax } = pace;
  const site = await createSite({ desk, log, peers, answerMs, place: createPlace(config), assets: await readAssets() });
  undo.defer(() => site.close());
  const limits = { headBytesMax: 2 * headBytesMax, bodyBytesMax, headMs, bodyMs, lingerMs, connectionsMax, answersMax };
  const connectionMs = headMs + bodyMs + answerMs + lingerMs;
  const gate = createGate({ ...limits, connectionMs }, (request) => site.server.emit('connection', request));
  const certificate = config.tls === null ? null : await keepCertificate(config.tls, pace.certificateMs, tell);
  if (certificate !== null) undo.use(certificate);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const peer = socket.remoteAddress ?? '';
    if (peers.mayConnect(peer)) gate.take(socket, certificate?.secure ?? ((plain) => plain), peers.placesOf(peer));
    else socket.destroy();
  });
  await listen(server, config);
  const ended = new Promise<void>((resolve) => void server.once('close', resolve));
  // What breaks the listening socket: it is made anew.
  server.on('error', () => server.close());
  undo.defer(async () => {
    server.close();
    await gate.close(closeMs);
    await ended;
  });
  log.info({ address: addressOf(server, config) }, events.adminListening);
  const all = undo.move();
  return { ended, close: () => all.disposeAsync() };
}

async function listen(server: Server, { host, port }: AdminConfig): Promise<void> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    const code = causeCode(error);
    const message = `cannot listen on ${host}:${port} (${code})`;
    const hint =
      code === 'EADDRINUSE'
        ? 'Does ticketmaild run already? Else choose another [admin] listen.'
        : 'Choose another [admin] listen.';
    throw new Failure(code === 'EADDRINUSE' ? 'address_in_use' : 'config_invalid', message, { cause: error, hint });
  }
}

/** The origin as a browser on this machine would write it. */
function addressOf(server: Server, { host, tls }: AdminConfig): string {
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  return `${tls === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

type KeptCertificate = Disposable & { secure(socket: Socket): Socket };

/** Throws `config_invalid` when there is none to begin with. */
async function keepCertificate(
  files: NonNullable<AdminConfig['tls']>,
  everyMs: number,
  tell: Parts['tell'],
): Promise<KeptCertificate> {
  let now: Certificate = await readCertificate(files);
  let isLooking = false;
  const look = async (): Promise<void> => {
    if (isLooking) return;
    isLooking = true;
    try {
      if ((await markOf(files)) !== now.mark) now = await readCertificate(files);
      tell(null);
    } catch (error) {
      tell(asFailure(error));
    } finally {
      isLooking = false;
    }
  };
  const timer = setInterval(() => void look(), everyMs);
  return {
    secure: (socket) => new TLSSocket(socket, { isServer: true, secureContext: now.context }),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  if (stop.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  const timer = setTimeout(done, ms);
  stop.addEventListener('abort', done);
  await promise;
  clearTimeout(timer);
  stop.removeEventListener('abort', done);
}

/**
 * The certificate of the admin page: read from its files, and again when they change.
 *
 * A certificate and a key that do not belong together (one of them is just being renewed) are refused like a file that
 * cannot be read. TLS 1.2 is the least that is spoken (RFC 8996).
 */

type Files = NonNullable<AdminConfig['tls']>;

export type Certificate = {
  readonly context: SecureContext;
  /** Tells whether the files were changed since. */
  readonly mark: string;
};

const bytesMax = 1024 * 1024;
/** SSL_OP_CLEANSE_PLAINTEXT of OpenSSL, for which Node has no name: what was deciphered is wiped once it was read. */
const cleansePlaintext = 2;

/** Throws `config_invalid`, naming the file and never what is in it. */
async function readCertificate(files: Files): Promise<Certificate> {
  // Looked at first: what changes while it is read is read again.
  const mark = await markOf(files);
  const cert = await read(files.certificateFile);
  const key = await read(files.keyFile);
  try {
    return {
      context: createSecureContext({ cert, key, minVersion: 'TLSv1.2', secureOptions: cleansePlaintext }),
      mark,
    };
  } catch (error) {
    const what = `cannot be used together (${causeCode(error)})`;
    throw refused(`${files.certificateFile} and ${files.keyFile} ${what}`, error);
  } finally {
    key.fill(0);
  }
}

/** Throws `config_invalid`. */
async function markOf({ certificateFile, keyFile }: Files): Promise<string> {
  const marks: string[] = [];
  for (const path of [certificateFile, keyFile]) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      marks.push([dev, ino, size, mtimeNs, ctimeNs].join(' '));
    } catch (error) {
      throw unreadable(path, error);
    }
  }
  return marks.join(', ');
}

async function read(path: string): Promise<Buffer> {
  try {
    const found = await stat(path);
    if (!found.isFile() || found.size > bytesMax) throw Object.assign(new Error('no such file'), { code: 'EINVAL' });
    return await readFile(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): Failure {
  return refused(`${path} cannot be read (${causeCode(error)})`, error);
}

function refused(message: string, cause: unknown): Failure {
  const hint = 'See [admin] tls_certificate_file and tls_key_file: PEM, of one pair, readable for the daemon.';
  return new Failure('config_invalid', message, { cause, hint });
}
