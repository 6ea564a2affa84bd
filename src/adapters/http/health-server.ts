/**
 * Health endpoints for probes and Prometheus: `GET /livez` (liveness), `GET /readyz` (readiness), `GET /metrics`.
 *
 * GET and HEAD only, under known host names (host-header.ts). Every other response is fixed: nothing of a request and
 * no text of an error is in it, or in the log. Bodies are discarded, a head has 4 KiB at most, and a slow client is
 * closed after 5 seconds; when 256 connections are open, the oldest one makes room. Concurrent requests share one
 * lookup (single-flight), and each is answered within 5 seconds even if the lookup hangs.
 */

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Hono } from 'hono';
import { addressGroup } from '../../admin/sign-in/limits.ts';
import { within } from '../../async/deadline.ts';
import { singleFlight } from '../../async/single-flight.ts';
import type { ListenAddress } from '../../config/config.ts';
import type { HttpServer } from '../../ingest/ports.ts';
import { listedReadiness, type Readiness } from '../../ingest/readiness.ts';
import { createConnectionLimit } from './connection-limit.ts';
import { createHostCheck } from './host-header.ts';
import { byRawPath, createHttpServer, type NodeBindings, type NodeEnv } from './http-server.ts';
import { listenOn, type TwinSocket } from './listen.ts';

export type HttpOptions = ListenAddress & {
  /** Host names under which the endpoints are served, besides loopback and the address itself. */
  readonly hosts?: readonly string[];
  /** Descriptor of the socket that systemd keeps; absent or null: none. */
  readonly descriptor?: number | null;
  readonly twin?: TwinSocket;
};

export type HealthSources = {
  /** May reject, and may hang. */
  readonly readiness: () => Promise<Readiness>;
  /** The body of `/metrics`; null: there is none. */
  readonly metrics: ((readiness: Readiness) => Promise<MetricsText>) | null;
};

export type MetricsText = { readonly contentType: string; readonly text: string };

/** Probes time out after 5 seconds or more. */
const responseMs = 4_500;
const sharing = { abandonedMs: 30_000, nowMs: () => performance.now() };
const freshMs = 1_000;
/** Shorter, so that a probe that waits for the start is answered soon after it. */
const notReadyFreshMs = 200;
/** A request is never refused for the number of others: the oldest connection makes room. */
const connectionLimits = { connectionsMax: 256, answersMax: 256 };
const limits = {
  ...{ headBytesMax: 4096, bodyBytesMax: 0, headMs: 5_000, bodyMs: 0, connectionMs: 10_000, lingerMs: 2_000 },
};
const headers = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

/**
 * Listens; resolves with the address that was bound. Throws `address_in_use`, `address_unavailable` or
 * `config_invalid`.
 */
export async function startHealthServer(options: HttpOptions, sources: HealthSources): Promise<HttpServer> {
  const { hosts = [], descriptor = null, twin, ...address } = options;
  const connections = createConnectionLimit(connectionLimits);
  const hooks = {
    open(socket: Socket): Socket {
      const peer = socket.remoteAddress ?? '';
      connections.add(socket, peer === '' ? null : addressGroup(peer));
      return socket;
    },
  };
  const server = createHttpServer({ app: endpoints(sources, hosts), headers, limits, hooks });
  const { shown, end } = await listenOn(server, {
    ...{ address, descriptor, setting: '[http] listen' },
    ...(twin && { twin }),
  });
  return {
    address: shown.startsWith('unix:') ? shown : `http://${shown}`,
    [Symbol.asyncDispose]: async () => {
      await end();
      const closed = once(server, 'close');
      server.close();
      await connections.close(0);
      await closed;
    },
  };
}

/** The application: a request that is not for one of the three gets a fixed response. */
function endpoints(sources: HealthSources, hosts: readonly string[]): Hono<NodeEnv> {
  const app = new Hono<NodeEnv>(byRawPath);
  const isHostAllowed = createHostCheck(hosts);
  app.use(async (context, next) => {
    const { incoming, localAddress }: NodeBindings = context.env;
    if (!isHostAllowed(incoming.headersDistinct.host ?? [], localAddress))
      return context.json({ error: 'not served under this host name: see [http] hosts' }, 421);
    if (!isEncoded(context.req.path)) return context.json({ error: 'bad request' }, 400);
    return await next();
  });
  for (const [path, respond] of respondersOf(sources)) {
    app.get(path, async () => {
      const { code, contentType, text } = await respond();
      return new Response(text, { status: code, headers: { 'content-type': contentType } });
    });
    app.all(path, (context) => context.json({ error: 'method not allowed' }, 405, { allow: 'GET, HEAD' }));
  }
  app.notFound((context) => context.json({ error: 'not found' }, 404));
  app.onError((_error, context) => context.json({ error: 'internal error' }, 500));
  return app;
}

/** Every percent sign begins two hexadecimal digits (RFC 3986, section 2.1). */
function isEncoded(path: string): boolean {
  return !/%(?![0-9a-f]{2})/i.test(path);
}

type Body = { readonly code: number; readonly contentType: string; readonly text: string };

function json(code: number, value: object): Body {
  return { code, contentType: 'application/json; charset=utf-8', text: JSON.stringify(value) };
}

const late = 'did not answer in time';

type Responder = () => Promise<Body>;

function respondersOf({ readiness, metrics }: HealthSources): ReadonlyMap<string, Responder> {
  const checked = singleFlight(
    async () => {
      const value = await readiness();
      return { value, body: json(value.ready ? 200 : 503, listedReadiness(value)) };
    },
    { ...sharing, freshMs: ({ value }) => (value.ready ? freshMs : notReadyFreshMs) },
  );
  const alive = json(200, { status: 'ok' });
  const responders = new Map<string, Responder>([
    ['/livez', async () => alive],
    ['/readyz', withDeadline(async () => (await checked()).body, json(503, { ready: false, reason: late }))],
  ]);
  if (metrics === null) return responders;
  const rendered = singleFlight(
    async (): Promise<Body> => ({ code: 200, ...(await metrics((await checked()).value)) }),
    { ...sharing, freshMs: () => freshMs },
  );
  return responders.set('/metrics', withDeadline(rendered, json(503, { error: late })));
}

/** Concurrent requests share one wait, so that clients that hang up, or a lookup that hangs, cost little. */
function withDeadline(lookUp: Responder, tooLate: Body): Responder {
  const inTime = async (): Promise<Body> => (await within(lookUp(), responseMs))?.value ?? tooLate;
  return singleFlight(inTime, { ...sharing, freshMs: () => 0 });
}
