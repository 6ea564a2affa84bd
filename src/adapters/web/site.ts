/**
 * The admin page as a web server that does not listen yet: what comes in is checked, led to a route, and answered.
 *
 * Every answer has the same headers; nothing of a request, and no text of an error, gets into one. What is turned away is told
 * to the desk by names of ours. What fails is a page that says so: the database in a sentence, anything else in none. An
 * answer is there within 30 seconds, whatever hangs.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import fastifyCookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fastify from 'fastify';
import type { AdminService, RefusalReason } from '../../admin/service.ts';
import type { Log } from '../../events.ts';
import { type Cookies, cookiesOf, type Form, readForm, tokenIn } from './http/form.ts';
import {
  bodyBytesMax,
  checkForm,
  expectsNothing,
  originOf,
  type Peers,
  type Place,
  pathOf,
  type Turned,
} from './http/request-checks.ts';
import { OneRequest } from './http/single-request-connection.ts';
import { encryptionRoutes } from './routes/encryption.ts';
import { respond } from './routes/handler.ts';
import { overviewRoutes } from './routes/overview.ts';
import {
  type Answer,
  createFlashes,
  type Route,
  type RouteParts,
  type Routes,
  refusalAnswer,
  type Sent,
} from './routes/responses.ts';
import { signInRoutes } from './routes/sign-in.ts';

type SiteParts = {
  readonly desk: AdminService;
  readonly log: Log;
  readonly place: Place;
  readonly peers: Peers;
  readonly assets: Assets;
  /** How long an answer may take. */
  readonly answerMs: number;
};

export const headBytesMax = 8 * 1024;

type Site = SiteParts & {
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: Cookies;
  readonly routes: Routes;
};

/** Give it connections by `server.emit('connection', …)`: they must be `OneRequest`. */
export async function createSite(parts: SiteParts): Promise<FastifyInstance> {
  const { desk, assets, place } = parts;
  const routeParts: RouteParts = { desk, assets: assets.version, flashes: createFlashes(() => performance.now()) };
  const routes = new Map([...signInRoutes(routeParts), ...overviewRoutes(routeParts), ...encryptionRoutes(routeParts)]);
  const site: Site = { ...parts, routes, headers: headersOf(place.isSecure), cookies: cookiesOf(place.isSecure) };
  const app = bareServer(site);
  // Ours need no decoding: what is written in another way is another value.
  const parseOptions: object = { decode: (value: string) => value };
  await app.register(fastifyCookie, { parseOptions });
  readForms(app);
  app.addHook('onRequest', async (request, reply) => check(site, request, reply));
  for (const [path, route] of routes) addRoute(app, site, path, route);
  for (const [path, asset] of assets.byPath)
    app.get(path, (request, reply) => sendAsset(asset, assets, request, reply));
  await app.ready();
  return app;
}

/** A server that knows no path yet. */
function bareServer(site: Site): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    exposeHeadRoutes: true,
    // A Host that is missing is refused like one that is wrong.
    http: { maxHeaderSize: headBytesMax, requireHostHeader: false },
    // Such as a path that cannot be decoded.
    frameworkErrors: (_error, request, reply: unknown) =>
      void turn(site, request as FastifyRequest, reply as FastifyReply, { reason: 'bad_request' }, 'request'),
    clientErrorHandler(error, socket) {
      const address = socket instanceof OneRequest ? socket.peer : '';
      site.desk.recordRefusal({ reason: 'bad_request', who: null, address, about: 'request' });
      const isLong = 'code' in error && error.code === 'HPE_HEADER_OVERFLOW';
      if (socket.writable)
        socket.write(bareAnswer(isLong ? '431 Request Header Fields Too Large' : '400 Bad Request', site));
      socket.destroy();
    },
  });
  // What Node would answer itself, past all checks.
  for (const event of ['checkContinue', 'checkExpectation'])
    app.server.on(event, (request, response) => app.server.emit('request', request, response));
  app.setNotFoundHandler((request, reply) => turn(site, request, reply, { reason: 'not_found' }, 'request'));
  // What fastify itself refuses; the routes catch what fails in them.
  app.setErrorHandler((_error, request, reply) => turn(site, request, reply, { reason: 'bad_request' }, 'request'));
  return app;
}

/** For what is no request at all. */
function bareAnswer(status: string, { headers }: Site): string {
  const text = `${status}\n`;
  const lines = Object.entries({ ...headers, 'content-type': 'text/plain', 'content-length': `${text.length}` });
  return `HTTP/1.1 ${status}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`;
}

/** Before a body is read. */
async function check(site: Site, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const { raw } = request;
  if (raw.socket instanceof OneRequest && !raw.socket.takeFirst()) {
    raw.socket.destroy();
    return reply.hijack();
  }
  reply.headers(site.headers);
  const path = pathOf(request.url);
  const route = path === null ? undefined : site.routes.get(path);
  const about = route?.about ?? 'request';
  const turned = judge(site, request, path, route);
  return turned === null ? undefined : turn(site, request, reply, turned, about);
}

function judge(site: Site, request: FastifyRequest, path: string | null, route: Route | undefined): Turned | null {
  const { raw, method } = request;
  if (path === null || addressOf(site, request) === null) return { reason: 'bad_request' };
  if (!expectsNothing(raw)) return { reason: 'bad_request', code: 417 };
  const place = originOf(raw, site.place);
  if ('reason' in place) return place;
  if (!site.assets.byPath.has(path) && route === undefined) return { reason: 'not_found' };
  if (!methodsOf(route).includes(method)) return { reason: 'method' };
  return method === 'POST' ? checkForm(raw, place.origin) : null;
}

/** Of a route, or of an asset. */
function methodsOf(route: Route | undefined): readonly string[] {
  return [
    ...(route === undefined || route.show !== undefined ? ['GET', 'HEAD'] : []),
    ...(route?.change === undefined ? [] : ['POST']),
  ];
}

/** The client's address; null: a proxy wrote something else. */
function addressOf({ peers }: Site, { raw }: FastifyRequest): string | null {
  const peer = raw.socket instanceof OneRequest ? raw.socket.peer : '';
  return peers.clientOf(peer, raw.headersDistinct['x-forwarded-for'] ?? []);
}

function turn(site: Site, request: FastifyRequest, reply: FastifyReply, turned: Turned, about: string): FastifyReply {
  const { reason, code } = turned;
  refuse(site, request, reason, about, null);
  // Nobody looked yet whether it is of a sign-in that holds.
  const isKnown = tokenIn(request.cookies?.[site.cookies.session]) !== null;
  const answer = refusalAnswer(reason, site.assets.version, code, isKnown);
  if (reason === 'method') reply.header('allow', methodsOf(site.routes.get(pathOf(request.url) ?? '')).join(', '));
  return send(site, reply.headers(site.headers), answer);
}

function refuse(site: Site, request: FastifyRequest, reason: RefusalReason, about: string, who: string | null): void {
  const peer = request.raw.socket instanceof OneRequest ? request.raw.socket.peer : '';
  site.desk.recordRefusal({ reason, about, who, address: addressOf(site, request) ?? peer });
}

const forms = new WeakMap<IncomingMessage, Form>();

/** Out of what the gate took around Node and fastify. */
function readForms(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/x-www-form-urlencoded', async ({ raw }: FastifyRequest) => {
    const form = raw.socket instanceof OneRequest ? readForm(raw.socket.body) : null;
    if (form !== null) forms.set(raw, form);
    return null;
  });
}

function addRoute(app: FastifyInstance, site: Site, path: string, route: Route): void {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const sent: Sent | null = sentIn(request);
    if (request.method === 'POST' && sent === null)
      return turn(site, request, reply, { reason: 'bad_request' }, route.about);
    const { searchParams: query } = new URL(request.url, 'http://localhost');
    const visit = {
      address: addressOf(site, request) ?? '',
      query,
      token: tokenIn(request.cookies[site.cookies.session]),
      visitor: tokenIn(request.cookies[site.cookies.visitor]),
      isShown: request.method !== 'HEAD' && query.get('refresh') !== '1',
      wantsJson: /^application\/json\b/i.test(request.headers.accept ?? ''),
    };
    const { desk, log, answerMs } = site;
    const parts = { desk, log, answerMs, assets: site.assets.version };
    const { answer, refused } = await respond(route, visit, sent, parts);
    if (refused !== null) refuse(site, request, refused.reason, route.about, refused.who);
    return send(site, reply, answer);
  };
  if (route.show !== undefined) app.get(path, handler);
  if (route.change !== undefined) app.post(path, handler);
}

function sentIn(request: FastifyRequest): Sent | null {
  const form = forms.get(request.raw);
  return form === undefined ? null : { fields: form.texts, password: form.password };
}

function send({ cookies }: Site, reply: FastifyReply, answer: Answer): FastifyReply {
  reply.code(answer.code).headers(answer.headers ?? {});
  for (const name of ['session', 'visitor'] as const) {
    const value = answer.cookies?.[name];
    if (typeof value === 'string') reply.setCookie(cookies[name], value, cookies.attributes);
    else if (value === null) reply.clearCookie(cookies[name], cookies.attributes);
  }
  if ('to' in answer) return reply.header('location', answer.to).send('');
  if ('json' in answer) return reply.type('application/json; charset=utf-8').send(JSON.stringify(answer.json));
  return reply.type('text/html; charset=utf-8').send(answer.html);
}

const forever = 'private, max-age=31536000, immutable';

/** An address with the version of now is good for ever; any other is asked for anew (RFC 9111, RFC 8246). */
function sendAsset(asset: Asset, assets: Assets, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const isVersioned = request.url.endsWith(`?v=${assets.version}`);
  reply.headers({ etag: asset.etag, 'cache-control': isVersioned ? forever : 'no-cache' });
  if (request.headers['if-none-match'] === asset.etag) return reply.code(304).send();
  reply.type(asset.contentType).header('vary', 'accept-encoding');
  const takesZipped = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(request.headers['accept-encoding'] ?? '');
  return takesZipped ? reply.header('content-encoding', 'gzip').send(asset.zipped) : reply.send(asset.bytes);
}

/** The headers that every answer of the admin page has. */

/**
 * Nothing but our own files, no frame around it, no form to elsewhere. `same-origin` and not `no-referrer`: with the latter
 * browsers send `Origin: null` with a form (Fetch standard, "append a request Origin header"), and the origin could not be
 * checked.
 */
const always = {
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
  // A connection is for one request: see one-request.ts.
  connection: 'close',
} as const;

/** A week: it holds for every port of that host name, where others may serve what is not https. */
const strictTransport = { 'strict-transport-security': 'max-age=604800' } as const;

/** `isSecure`: browsers reach the page by https (RFC 6797 section 7.2 forbids the last one elsewhere). */
export function headersOf(isSecure: boolean): Readonly<Record<string, string>> {
  return isSecure ? { ...always, ...strictTransport } : always;
}

/**
 * Style, script and icon of the admin page: read and compressed once, and named by what is in them.
 *
 * Pages are not compressed: they hold the CSRF value beside words that a stranger chose, and lengths would tell of it (BREACH).
 */

type Asset = {
  readonly bytes: Buffer;
  /** The same, in gzip (RFC 1952). */
  readonly zipped: Buffer;
  readonly contentType: string;
  readonly etag: string;
};

type Assets = {
  /** Changes with any of them. */
  readonly version: string;
  /** By path, as `/admin/assets/admin.css`. */
  readonly byPath: ReadonlyMap<string, Asset>;
};

const contentTypes = {
  'admin.css': 'text/css; charset=utf-8',
  'admin.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;

export async function readAssets(): Promise<Assets> {
  const whole = createHash('sha256');
  const byPath = new Map<string, Asset>();
  for (const [name, contentType] of Object.entries(contentTypes)) {
    const bytes = await readFile(new URL(`assets/${name}`, import.meta.url));
    whole.update(`${name}\0${bytes.length}\0`).update(bytes);
    byPath.set(`/admin/assets/${name}`, { bytes, zipped: gzipSync(bytes), contentType, etag: `"${digest(bytes)}"` });
  }
  return { version: whole.digest('hex').slice(0, 16), byPath };
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
}
