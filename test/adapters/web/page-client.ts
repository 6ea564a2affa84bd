/**
 * The admin page on a free port, and a browser of a few lines: cookies, forms, and bytes that no browser would send.
 */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { type AdminLimits, serveAdminPage } from '../../../src/adapters/web/server.ts';
import type { AdminService } from '../../../src/admin/service.ts';
import type { AdminConfig } from '../../../src/config/config.ts';
import type { Failure } from '../../../src/errors.ts';
import type { EventName, Log, LogFields } from '../../../src/events.ts';
import { adminName, adminPassword } from './memory-service.ts';

export type Line = { readonly level: string; readonly event: EventName; readonly fields: LogFields };

export function memoryLog(): Log & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: LogFields, event: EventName) => void lines.push({ level, event, fields });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export const loopback: AdminConfig = {
  ...{ host: '127.0.0.1', port: 0, tls: null, proxies: [], origin: null, sessionTimeoutMs: 60_000 },
};

export type OpenPage = AsyncDisposable & {
  /** `http://127.0.0.1:PORT`. */
  readonly address: string;
  readonly port: number;
  readonly lines: readonly Line[];
};

export async function openPage(
  service: AdminService,
  config: Partial<AdminConfig> = {},
  pace: Partial<AdminLimits> = {},
): Promise<OpenPage> {
  const log = memoryLog();
  const page = await serveAdminPage({ ...loopback, ...config }, service, log, pace);
  const [line] = log.lines;
  const address = line?.fields.address;
  if (typeof address !== 'string') throw (line?.fields.error as Failure) ?? new Error('it does not listen');
  return {
    address,
    port: Number(new URL(address).port),
    lines: log.lines,
    [Symbol.asyncDispose]: () => page[Symbol.asyncDispose](),
  };
}

export type Got = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The Set-Cookie headers. */
  readonly set: readonly string[];
};

/** One request, with any header. */
export function send(
  address: string,
  options: RequestOptions & { readonly body?: string | Buffer; readonly ca?: string },
): Promise<Got> {
  const { body, ...more } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Got>();
  const request = (address.startsWith('https:') ? httpsRequest : httpRequest)(
    address,
    { agent: false, ...more },
    (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.once('error', reject);
      answer.once('end', () => {
        const { statusCode: status = 0, headers } = answer;
        resolve({ status, headers, text: Buffer.concat(pieces).toString(), set: headers['set-cookie'] ?? [] });
      });
    },
  );
  request.once('error', reject);
  request.end(body);
  return promise;
}

/** The response to bytes that no client library would send, until the other end closes. */
export function raw(port: number, bytes: string | Buffer, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect({ host, port }, () => socket.write(bytes));
    socket.on('data', (piece) => {
      got += piece.toString('latin1');
    });
    socket.on('error', () => resolve(got));
    socket.once('close', () => resolve(got));
  });
}

export type Browser = {
  readonly cookies: Map<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<Got>;
  /** The fields of a form, with those headers that a browser adds. */
  post(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Got>;
};

/** The address of a page, and the CA that the browser trusts. */
export type Reached = { readonly address: string; readonly ca?: string };

export function browser(page: Reached): Browser {
  const cookies = new Map<string, string>();
  const ask = async (path: string, options: RequestOptions & { body?: string }): Promise<Got> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...(cookie === '' ? {} : { cookie }), ...(options.headers as Record<string, string>) };
    const trust = page.ca === undefined ? {} : { ca: page.ca };
    const got = await send(`${page.address}${path}`, { ...options, ...trust, headers });
    for (const line of got.set) keep(cookies, line);
    return got;
  };
  return {
    cookies,
    get: (path, headers = {}) => ask(path, { headers }),
    post(path, fields, headers = {}) {
      const body = `${new URLSearchParams(fields)}`;
      const own = { origin: page.address, 'content-type': 'application/x-www-form-urlencoded' };
      const length = { 'content-length': `${Buffer.byteLength(body)}` };
      return ask(path, { method: 'POST', body, headers: { ...own, ...length, ...headers } });
    },
  };
}

function keep(cookies: Map<string, string>, line: string): void {
  const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
  if (value === '') cookies.delete(name);
  else cookies.set(name, value);
}

/** The value of the hidden field of the first form of a page. */
export function csrfIn(html: string): string {
  return /name="csrf" value="([^"]*)"/.exec(html)?.[1] ?? '';
}

/** A signed-in browser; `csrf`: the token of its forms. */
export async function signedIn(page: Reached): Promise<Browser & { readonly csrf: string }> {
  const user = browser(page);
  const { text } = await user.get('/admin/sign-in');
  await user.post('/admin/sign-in', { csrf: csrfIn(text), name: adminName, password: adminPassword });
  const { text: shown } = await user.get('/admin/overview');
  return { ...user, csrf: csrfIn(shown) };
}
