/**
 * Admin page application (Hono): checks a request, authenticates its session, routes it, and writes the response with
 * strict headers.
 *
 * Nothing of a request and no text of an error is in a response. A refused request is reported to the audit by fixed
 * names. A failure becomes a page that says so. A response is sent within 30 seconds, even if a lookup hangs.
 */

import type { IncomingMessage } from 'node:http';
import { type Context, Hono } from 'hono';
import { deleteCookie, setCookie } from 'hono/cookie';
import type { StatusCode } from 'hono/utils/http-status';
import type { AdminService, RefusalReason } from '../../admin/service.ts';
import { within } from '../../async/deadline.ts';
import { asFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { byRawPath, type NodeEnv } from '../http/http-server.ts';
import { type Assets, sendAsset } from './assets.ts';
import {
  type CookieSettings,
  cookieSettings,
  isSameToken,
  readForm,
  type SubmittedForm,
  tokenInCookie,
  wipeForm,
} from './http/form.ts';
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
import { mailboxRoutes } from './routes/mailbox.ts';
import { mailboxFormRoutes } from './routes/mailbox-forms.ts';
import { oauthRoutes } from './routes/oauth.ts';
import { overviewRoutes } from './routes/overview.ts';
import {
  createFlashes,
  databaseUnavailablePage,
  type FormResponse,
  failurePage,
  type PageRequest,
  type PageResponse,
  paths,
  type Requester,
  type Route,
  type RouteContext,
  type Routes,
  redirectTo,
  refusalPage,
  timeoutPage,
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

type Site = SiteOptions & { readonly routes: Routes };
type SiteRequest = Context<NodeEnv>;

export function createSite(options: SiteOptions): Hono<NodeEnv> {
  const { service, assets } = options;
  const context: RouteContext = { service, assets: assets.version, flashes: createFlashes(() => performance.now()) };
  const routes = new Map(
    [signInRoutes, overviewRoutes, mailboxRoutes, mailboxFormRoutes, oauthRoutes, encryptionRoutes].flatMap(
      (routesOf) => [...routesOf(context)],
    ),
  );
  const site: Site = { ...options, routes };
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
  const isKnown = tokenInCookie(request.env.incoming.headers.cookie, cookiesOf(site, request).session) !== null;
  return send(site, request, refusalPage(reason, site.assets.version, code, isKnown));
}

function cookiesOf({ hosts }: Site, { env }: SiteRequest): CookieSettings {
  return cookieSettings(hosts.isSecure, env.incoming.headers.host ?? '');
}

type ReportedRefusal = { readonly reason: RefusalReason; readonly about: string; readonly who: string | null };

function report(site: Site, { env }: SiteRequest, refusal: ReportedRefusal): void {
  site.service.recordRefusal({ ...refusal, address: addressOf(site, env.incoming) ?? env.peer });
}

async function answer(site: Site, request: SiteRequest, route: Route): Promise<Response> {
  const { incoming, body } = request.env;
  const form = incoming.method === 'POST' ? readForm(body) : null;
  if (incoming.method === 'POST' && form === null) return refuse(site, request, { reason: 'bad_request' });
  const cookies = cookiesOf(site, request);
  const { searchParams: query } = new URL(request.req.url);
  const checked = pageOrigin(incoming, site.hosts);
  const page = {
    address: addressOf(site, incoming) ?? '',
    origin: 'origin' in checked ? checked.origin : '',
    query,
    token: tokenInCookie(incoming.headers.cookie, cookies.session),
    visitor: tokenInCookie(incoming.headers.cookie, cookies.visitor),
    isShown: incoming.method !== 'HEAD' && query.get('refresh') !== '1',
  };
  const inTime = await within(handle(site, route, page, form), site.responseMs);
  if (inTime === null) return send(site, request, timeoutPage(site.assets.version, requesterOf(page, form)));
  const { response, refused } = inTime.value;
  if (refused !== null) report(site, request, { ...refused, about: route.about });
  return send(site, request, response);
}

type HandledRequest = { readonly response: PageResponse; readonly refused: Omit<ReportedRefusal, 'about'> | null };

/**
 * Checks session and CSRF token, and calls the route. `form`: null for a page; its passwords are wiped. Never rejects.
 */
async function handle(
  site: Site,
  route: Route,
  request: PageRequest,
  form: SubmittedForm | null,
): Promise<HandledRequest> {
  const assets = site.assets.version;
  let who: string | null = null;
  const refusal = (reason: RefusalReason): HandledRequest => {
    return { response: refusalPage(reason, assets, undefined, who !== null), refused: { reason, who } };
  };
  const handled = (given: FormResponse | undefined): HandledRequest => {
    if (given === undefined) return refusal('method');
    if (!('refused' in given)) return { response: given, refused: null };
    return { response: given.response, refused: { reason: given.refused, who } };
  };
  try {
    if (route.access === 'public')
      return handled(form === null ? await route.show?.(request) : await route.change?.(request, form));
    const { token } = request;
    const isUse = form !== null || request.query.get('refresh') !== '1';
    const session = token === null ? null : await site.service.session(token, isUse);
    if (token === null || session === null)
      return { response: redirectTo(paths.signIn), refused: form && { reason: 'not_signed_in', who } };
    who = session.name;
    const signedIn = { ...request, token, session };
    if (form === null) return handled(await route.show?.(signedIn));
    if (!isSameToken(form.fields.get('csrf'), session.csrf)) return refusal('csrf');
    return handled(await route.change?.(signedIn, form));
  } catch (error) {
    const failure = asFailure(error);
    const requester = requesterOf(request, form);
    if (failure.domain === 'database') return handled(databaseUnavailablePage(assets, requester));
    site.log.error({ page: route.about, who, error: failure }, events.adminRequestFailed);
    return handled(failurePage(assets, requester));
  } finally {
    if (form !== null) wipeForm(form);
  }
}

/** A token counts as known without a look-up, since the database may be unavailable. */
function requesterOf({ token }: PageRequest, form: SubmittedForm | null): Requester {
  return { isKnown: token !== null, isForm: form !== null };
}

function send(site: Site, request: SiteRequest, response: PageResponse): Response {
  const cookies = cookiesOf(site, request);
  request.status(response.code as StatusCode);
  for (const [name, value] of Object.entries(response.headers ?? {})) request.header(name, value);
  for (const name of ['session', 'visitor'] as const) {
    const value = response.cookies?.[name];
    if (typeof value === 'string') setCookie(request, cookies[name], value, cookies.attributes);
    else if (value === null) deleteCookie(request, cookies[name], cookies.attributes);
  }
  return 'to' in response ? request.redirect(response.to, 303) : request.html(response.html);
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
