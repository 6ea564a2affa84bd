/**
 * What a request must be before anything of it is done or its body is read.
 *
 * The address is one of ours to the letter: what would have to be decoded or tidied up first is none. A form must come from
 * a page of ours: browsers say so in `Origin` (Fetch standard) and Sec-Fetch-Site (W3C Fetch Metadata), and cannot be made
 * to say otherwise.
 */

import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { RefusalReason } from '../../../admin/service.ts';
import { addressGroup } from '../../../admin/sign-in/limits.ts';
import type { AdminConfig } from '../../../config/config.ts';
import { isLoopback } from '../../../config/machine.ts';

export type RequestRefusal = { readonly reason: RefusalReason; readonly code?: number };

export const bodyBytesMax = 16 * 1024;

/** The path as it stands in the request; null: it would mean something else once it was decoded or tidied up. */
export function pathOf(url: string): string | null {
  const [path = ''] = url.split('?', 1);
  return /^\/[\w.~/-]*$/.test(path) && !/\/\/|\.\./.test(path) ? path : null;
}

/** The value of a header that may be there once; null: it is not; 'several': more than once. */
function singleHeader(request: IncomingMessage, name: string): { readonly value: string | null } | 'several' {
  const values = request.headersDistinct[name] ?? [];
  return values.length > 1 ? 'several' : { value: values[0] ?? null };
}

/** The origin of the page for this request, or why it is turned away. */
export function pageOrigin(
  request: IncomingMessage,
  hosts: AllowedHosts,
): { readonly origin: string } | RequestRefusal {
  const host = singleHeader(request, 'host');
  if (host === 'several' || host.value === null) return { reason: 'bad_request' };
  const origin = hosts.originOf(host.value);
  return origin === null ? { reason: 'foreign_host' } : { origin };
}

/** False: it asks for what nobody here can do (RFC 9110 section 10.1.1). Its body is there: it need not be told to go on. */
export function expectsNothing(request: IncomingMessage): boolean {
  const expect = singleHeader(request, 'expect');
  return expect !== 'several' && (expect.value === null || /^100-continue$/i.test(expect.value));
}

/** Why a form is turned away; null: it is not. */
export function checkForm(request: IncomingMessage, ours: string): RequestRefusal | null {
  const [origin, site, type] = ['origin', 'sec-fetch-site', 'content-type'].map((name) => singleHeader(request, name));
  if (origin === undefined || site === undefined || type === undefined) return { reason: 'bad_request' };
  if (origin === 'several' || site === 'several' || type === 'several') return { reason: 'bad_request' };
  if (origin.value !== ours) return { reason: 'foreign_origin' };
  if (site.value !== null && site.value !== 'same-origin') return { reason: 'foreign_origin' };
  if (!/^application\/x-www-form-urlencoded(; ?charset=utf-8)?$/i.test(type.value ?? ''))
    return { reason: 'bad_request', code: 415 };
  const length = request.headers['content-length'];
  if (length === undefined || request.headers['transfer-encoding'] !== undefined)
    return { reason: 'bad_request', code: 411 };
  return Number(length) > bodyBytesMax ? { reason: 'too_large' } : null;
}

/**
 * Under which names the admin page is reached.
 *
 * A name that is not ours is not answered: a page of somebody else whose name was made to lead here (DNS rebinding) would be
 * of the same origin as ours. On loopback any name of this machine is, with any port, since tunnels choose their own.
 */

export type AllowedHosts = {
  /** Browsers reach it by https. */
  readonly isSecure: boolean;
  /** The origin of the page as a browser names it that sent this Host (RFC 9110 section 7.2). null: not ours. */
  originOf(host: string): string | null;
};

export function createAllowedHosts({ host, tls, origin }: Pick<AdminConfig, 'host' | 'tls' | 'origin'>): AllowedHosts {
  const isSecure = tls !== null || origin?.startsWith('https:') === true;
  const listening = host.toLowerCase();
  const isOurs = isLoopback(listening) ? isLoopback : (name: string) => name === listening;
  return {
    isSecure,
    originOf(text) {
      const name = hostNameIn(text);
      if (name === null) return null;
      const named = URL.parse(`${isSecure ? 'https' : 'http'}://${text}`)?.origin ?? null;
      if (origin !== null) return named === origin ? origin : null;
      return isOurs(name) ? named : null;
    },
  };
}

/** The host in a Host header, without brackets, in small letters; null: the header is of another form. */
function hostNameIn(host: string): string | null {
  const [, ipv6, name, port] = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9.-]{1,253}))(?::(\d{1,5}))?$/i.exec(host) ?? [];
  return Number(port ?? 0) > 65_535 ? null : ((ipv6 ?? name)?.toLowerCase() ?? null);
}

/**
 * Who is at the other end: of the connection, and behind the proxies that are named in the configuration.
 *
 * X-Forwarded-For is read from its end, as each proxy adds what it saw there. What stands before the first address that is no
 * proxy was written by whoever it is, and is not looked at.
 */

export type TrustedProxies = {
  /** False for all but the proxies, where there are any. */
  mayConnect(address: string): boolean;
  /** The client's address, given the X-Forwarded-For headers in their order. null: a proxy wrote something else than one. */
  clientAddress(peer: string, forwarded: readonly string[]): string | null;
  /** Whose places a connection takes: one client has its whole /64. null: many share the address, by a proxy or a tunnel. */
  connectionGroup(peer: string): string | null;
};

export function createTrustedProxies(proxies: readonly string[]): TrustedProxies {
  if (proxies.length === 0)
    return {
      mayConnect: () => true,
      clientAddress: (peer) => withoutIpv6Mapping(peer),
      connectionGroup: (peer) => (isLoopback(withoutIpv6Mapping(peer)) ? null : addressGroup(peer)),
    };
  const named = new BlockList();
  for (const proxy of proxies) named.addAddress(proxy, family(proxy));
  const isProxy = (address: string): boolean => isIP(address) !== 0 && named.check(address, family(address));
  return {
    mayConnect: (address) => isProxy(withoutIpv6Mapping(address)),
    clientAddress(peer, forwarded) {
      const seen = forwarded.flatMap((header) => header.split(','));
      for (const entry of seen.toReversed()) {
        const address = withoutIpv6Mapping(entry.trim());
        if (isIP(address) === 0) return null;
        if (!isProxy(address)) return address;
      }
      return withoutIpv6Mapping(peer);
    },
    connectionGroup: () => null,
  };
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** An IPv4 address that came in IPv6 form (RFC 4291 section 2.5.5.2), as itself. */
function withoutIpv6Mapping(address: string): string {
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  return ipv4 ?? address;
}
