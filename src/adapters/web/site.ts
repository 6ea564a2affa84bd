/**
 * Admin page application (Hono): checks a request, routes it, and writes the response with strict headers.
 *
 * Nothing of a request and no text of an error is in a response. A refused request is reported to the audit by fixed
 * names. A failure becomes a page that says so. A response is sent within 30 seconds, even if a lookup hangs.
 */

import type { IncomingMessage } from 'node:http';
import { type Context, Hono } from 'hono';
import { deleteCookie, setCookie } from 'hono/cookie';
import type { StatusCode } from 'hono/utils/http-status';
import type { AdminService, RefusalReason } from '../../admin/service.ts';
import type { Log } from '../../events.ts';
import { byRawPath, type NodeEnv } from '../http/http-server.ts';
import type { Asset, Assets } from './assets.ts';
import { type CookieSettings, cookieSettings, readForm, tokenInCookie } from './http/form.ts';
import {
  type AllowedHosts,
  checkForm,
  isExpectationMet,
  pageOrigin,
  pathOf,
  type RequestRefusal,
  type TrustedProxies,
} from './http/request-checks.ts';
import { encryptionRoutes } from './routes/encryption.ts';
import { respond } from './routes/handler.ts';
import { overviewRoutes } from './routes/overview.ts';
import {
  createFlashes,
  type PageResponse,
  type Route,
  type RouteContext,
  type Routes,
  refusalPage,
} from './routes/responses.ts';
import { signInRoutes } from './routes/sign-in.ts';

type SiteOptions = {
  readonly service: AdminService;
  readonly log: Log;
  readonly hosts: AllowedHosts;
  readonly proxies: TrustedProxies;
  readonly assets: Assets;
  /** How long a response may take. */
  readonly responseMs: number;
};

type Site = SiteOptions & { readonly cookies: CookieSettings; readonly routes: Routes };
type SiteRequest = Context<NodeEnv>;

export function createSite(options: SiteOptions): Hono<NodeEnv> {
  const { service, assets, hosts } = options;
  const context: RouteContext = { service, assets: assets.version, flashes: createFlashes(() => performance.now()) };
  const routes = new Map([...signInRoutes(context), ...overviewRoutes(context), ...encryptionRoutes(context)]);
  const site: Site = { ...options, routes, cookies: cookieSettings(hosts.isSecure) };
  const app = new Hono<NodeEnv>(byRawPath);
  app.use(async (request, next) => {
    const refusal = check(site, request.env.incoming);
    return refusal === null ? await next() : refuse(site, request, refusal);
  });
  for (const [path, route] of routes)
    app.on([...methodsOf(route)], path, async (request) => await answer(site, request, route));
  for (const [path, asset] of assets.byPath) app.get(path, (request) => sendAsset(asset, assets, request));
  app.onError((_error, request) => refuse(site, request, { reason: 'bad_request' }));
  return app;
}

/** null: the request may be routed. */
function check(site: Site, incoming: IncomingMessage): RequestRefusal | null {
  const path = pathOf(incoming.url ?? '');
  const route = path === null ? undefined : site.routes.get(path);
  if (path === null || addressOf(site, incoming) === null) return { reason: 'bad_request' };
  if (!isExpectationMet(incoming)) return { reason: 'bad_request', code: 417 };
  const page = pageOrigin(incoming, site.hosts);
  if ('reason' in page) return page;
  if (!site.assets.byPath.has(path) && route === undefined) return { reason: 'not_found' };
  if (!methodsOf(route).includes(incoming.method ?? '')) return { reason: 'method' };
  return incoming.method === 'POST' ? checkForm(incoming, page.origin) : null;
}

/** Of a route, or of an asset. */
function methodsOf(route: Route | undefined): readonly string[] {
  return [
    ...(route === undefined || route.show !== undefined ? ['GET', 'HEAD'] : []),
    ...(route?.change === undefined ? [] : ['POST']),
  ];
}

/** The client's address; null: a proxy wrote something else. */
function addressOf({ proxies }: Site, { socket, headersDistinct }: IncomingMessage): string | null {
  return proxies.clientAddress(socket.remoteAddress ?? '', headersDistinct['x-forwarded-for'] ?? []);
}

function refuse(site: Site, request: SiteRequest, { reason, code }: RequestRefusal): Response {
  const route = site.routes.get(pathOf(request.env.incoming.url ?? '') ?? '');
  report(site, request, { reason, about: route?.about ?? 'request', who: null });
  if (reason === 'method') request.header('allow', methodsOf(route).join(', '));
  // The token was not checked yet: it may be of a session that is over.
  const isKnown = tokenInCookie(request.env.incoming.headers.cookie, site.cookies.session) !== null;
  return send(site, request, refusalPage(reason, site.assets.version, code, isKnown));
}

type ReportedRefusal = { readonly reason: RefusalReason; readonly about: string; readonly who: string | null };

function report(site: Site, { env }: SiteRequest, refusal: ReportedRefusal): void {
  site.service.recordRefusal({ ...refusal, address: addressOf(site, env.incoming) ?? env.peer });
}

async function answer(site: Site, request: SiteRequest, route: Route): Promise<Response> {
  const { service, log, responseMs, assets, cookies } = site;
  const { incoming, body } = request.env;
  const form = incoming.method === 'POST' ? readForm(body) : null;
  if (incoming.method === 'POST' && form === null) return refuse(site, request, { reason: 'bad_request' });
  const { searchParams: query } = new URL(request.req.url);
  const page = {
    address: addressOf(site, incoming) ?? '',
    query,
    token: tokenInCookie(incoming.headers.cookie, cookies.session),
    visitor: tokenInCookie(incoming.headers.cookie, cookies.visitor),
    isShown: incoming.method !== 'HEAD' && query.get('refresh') !== '1',
    wantsJson: /^application\/json\b/i.test(incoming.headers.accept ?? ''),
  };
  const { response, refused } = await respond(route, page, form, { service, log, responseMs, assets: assets.version });
  if (refused !== null) report(site, request, { ...refused, about: route.about });
  return send(site, request, response);
}

function send({ cookies }: Site, request: SiteRequest, response: PageResponse): Response {
  request.status(response.code as StatusCode);
  for (const [name, value] of Object.entries(response.headers ?? {})) request.header(name, value);
  for (const name of ['session', 'visitor'] as const) {
    const value = response.cookies?.[name];
    if (typeof value === 'string') setCookie(request, cookies[name], value, cookies.attributes);
    else if (value === null) deleteCookie(request, cookies[name], cookies.attributes);
  }
  if ('to' in response) {
    request.header('location', response.to);
    return request.body(null);
  }
  if ('json' in response) {
    request.header('content-type', 'application/json; charset=utf-8');
    return request.body(JSON.stringify(response.json));
  }
  return request.html(response.html);
}

const forever = 'private, max-age=31536000, immutable';

function sendAsset(asset: Asset, { version }: Assets, request: SiteRequest): Response {
  const { url = '', headers } = request.env.incoming;
  request.header('etag', asset.etag);
  request.header('cache-control', url.endsWith(`?v=${version}`) ? forever : 'no-cache');
  if (headers['if-none-match'] === asset.etag) return request.body(null, 304);
  request.header('content-type', asset.contentType);
  request.header('vary', 'accept-encoding');
  const acceptsGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(`${headers['accept-encoding'] ?? ''}`);
  if (acceptsGzip) request.header('content-encoding', 'gzip');
  return request.body(acceptsGzip ? asset.gzipped : asset.bytes);
}

/**
 * Own files alone, no framing, no form to another origin. `same-origin` and not `no-referrer`: with the latter browsers
 * send `Origin: null` with a form (Fetch standard, "append a request Origin header"), and the origin could not be
 * checked.
 */
const everyResponse = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'permissions-policy':
    'accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

/** A week: it applies to every port of the host name, and another service there may not have https. */
const strictTransport = { 'strict-transport-security': 'max-age=604800' } as const;

/** The headers of every response. `isSecure`: browsers reach the page by https (RFC 6797, section 7.2). */
export function securityHeaders(isSecure: boolean): Readonly<Record<string, string>> {
  return isSecure ? { ...everyResponse, ...strictTransport } : everyResponse;
}
