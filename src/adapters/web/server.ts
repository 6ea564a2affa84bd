/**
 * Admin page server: listens, retries every 5 seconds while it cannot, and starts again after a failure.
 *
 * A failure here never stops the daemon: a taken port or an unreadable certificate is logged once and retried. With
 * trusted proxies configured, other addresses are closed before a TLS handshake. One request per connection, the body
 * in one buffer that is wiped; connections are limited per client, the oldest idle one makes room.
 */

import { setTimeout } from 'node:timers/promises';
import type { AdminService } from '../../admin/service.ts';
import { coalesce } from '../../async/single-flight.ts';
import type { AdminConfig } from '../../config/config.ts';
import { asFailure, type Failure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { type ConnectionLimits, createConnectionLimit } from '../http/connection-limit.ts';
import { createHttpServer } from '../http/http-server.ts';
import { listenOn } from '../http/listen.ts';
import { overwriteReadBuffer, overwriteStack } from '../process/scrub-memory.ts';
import { readAssets } from './assets.ts';
import { watchCertificate } from './certificate.ts';
import { bodyBytesMax, createAllowedHosts, createTrustedProxies } from './http/request-checks.ts';
import { createSite, securityHeaders } from './site.ts';

export type AdminLimits = ConnectionLimits & {
  /** Between two attempts to listen. */
  readonly retryMs: number;
  /** Between two checks of the certificate's files. */
  readonly certificateMs: number;
  readonly responseMs: number;
  readonly headMs: number;
  readonly bodyMs: number;
};

const defaults: AdminLimits = {
  ...{ retryMs: 5_000, certificateMs: 10_000, responseMs: 30_000 },
  ...{ headMs: 5_000, bodyMs: 10_000, connectionsMax: 256, answersMax: 64 },
};
const headBytesMax = 8 * 1024;
const lingerMs = 2_000;
const closeMs = 5_000;

export type AdminPageConfig = AdminConfig & {
  /** Descriptor of the socket that systemd keeps; absent or null: none. */
  readonly descriptor?: number | null;
  /** That of the other address of `localhost`. */
  readonly twinDescriptor?: number | null;
  /** Gets the result of each attempt to listen; null: it listens. */
  readonly onListen?: (failure: Failure | null) => void;
};

/**
 * Serves the admin page until it is disposed. Resolves after the first attempt to listen, successful or not. Never
 * rejects.
 */
export async function serveAdminPage(
  config: AdminPageConfig,
  service: AdminService,
  log: Log,
  limits: Partial<AdminLimits> = {},
): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const parts = {
    ...{ config, service, log, report: reportOnce(log) },
    ...{ limits: { ...defaults, ...limits }, stop: stop.signal },
  };
  let page = await tryToOpen(parts);
  const serving = (async () => {
    while (!stop.signal.aborted) {
      if (page === null)
        await setTimeout(parts.limits.retryMs, undefined, { signal: stop.signal }).catch(() => undefined);
      else await page.ended;
      if (stop.signal.aborted) return;
      await page?.close();
      page = await tryToOpen(parts);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await page?.close();
      await serving;
      // An attempt that was in progress meanwhile.
      await page?.close();
    },
  };
}

type Parts = {
  readonly config: AdminPageConfig;
  readonly service: AdminService;
  readonly log: Log;
  readonly report: (failure: Failure | null) => void;
  readonly limits: AdminLimits;
  readonly stop: AbortSignal;
};

type Page = {
  /** The server is closed, on request or by a failure. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
};

/** Logs a failure that repeats once. null: no failure. */
function reportOnce(log: Log): (failure: Failure | null) => void {
  let logged: string | null = null;
  return (failure) => {
    if (failure !== null && failure.message !== logged) log.warn({ error: failure }, events.adminListenFailed);
    logged = failure?.message ?? null;
  };
}

async function tryToOpen(parts: Parts): Promise<Page | null> {
  try {
    const page = await open(parts);
    parts.report(null);
    parts.config.onListen?.(null);
    return page;
  } catch (error) {
    parts.report(asFailure(error));
    parts.config.onListen?.(asFailure(error));
    return null;
  }
}

async function open({ config, service, log, report, limits }: Parts): Promise<Page> {
  await using undo = new AsyncDisposableStack();
  const proxies = createTrustedProxies(config.proxies, 'path' in config);
  const hosts = createAllowedHosts(config);
  const { responseMs, headMs, bodyMs, certificateMs } = limits;
  const site = createSite({ service, log, proxies, responseMs, hosts, assets: await readAssets() });
  const connections = createConnectionLimit(limits);
  const scrub = coalesce(overwriteReadBuffer);
  const certificate = config.tls === null ? null : undo.use(await watchCertificate(config.tls, certificateMs, report));
  const server = createHttpServer({
    app: site,
    headers: securityHeaders(hosts.isSecure),
    limits: {
      ...{ headBytesMax, bodyBytesMax, headMs, bodyMs, lingerMs },
      connectionMs: headMs + bodyMs + responseMs + lingerMs,
    },
    hooks: {
      open(socket) {
        const peer = socket.remoteAddress ?? '';
        if (!proxies.mayConnect(peer)) return null;
        const stream = certificate === null ? socket : certificate.secure(socket);
        connections.add(stream, proxies.connectionGroup(peer));
        return stream;
      },
      begin: (stream) => connections.begin(stream),
      end: (stream) => connections.end(stream),
      onBody: certificate === null ? () => void scrub() : () => void setImmediate(overwriteStack),
      onMalformed: (peer) =>
        service.recordRefusal({ reason: 'bad_request', who: null, address: peer, about: 'request' }),
    },
  });
  const { descriptor = null, twinDescriptor = null } = config;
  const onTaken = (address: string): void => log.warn({ address }, events.localhostTaken);
  const { shown, end } = await listenOn(server, {
    ...{ address: config, descriptor, setting: '[admin] listen' },
    twin: { descriptor: twinDescriptor, onTaken },
  });
  const ended = new Promise<void>((resolve) => void server.once('close', resolve));
  // A broken listening socket: the page starts again. That of systemd cannot be opened again.
  server.on('error', () => void (descriptor === null && server.close()));
  undo.defer(async () => {
    await end();
    server.close();
    await connections.close(closeMs);
    await ended;
  });
  const address = shown.startsWith('unix:') ? shown : `${config.tls === null ? 'http' : 'https'}://${shown}`;
  log.info({ address }, events.adminListening);
  const all = undo.move();
  return { ended, close: () => all.disposeAsync() };
}
