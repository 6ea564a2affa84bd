/**
 * Request checks before routing: path, Host (against DNS rebinding), Origin and Fetch Metadata (against CSRF), trusted
 * proxies.
 *
 * A path must match literally, without decoding or normalization. A form must be sent by a page of this origin:
 * browsers state it in `Origin` (Fetch standard) and `Sec-Fetch-Site` (W3C Fetch Metadata), which no script can forge.
 */

import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { RefusalReason } from '../../../admin/service.ts';
import { addressGroup } from '../../../admin/sign-in/limits.ts';
import type { AdminConfig } from '../../../config/config.ts';
import { isLoopback } from '../../../config/machine.ts';
import { hostNameIn, withoutIpv6Mapping } from '../../http/host-header.ts';

export type RequestRefusal = { readonly reason: RefusalReason; readonly code?: number };

export const bodyBytesMax = 16 * 1024;

/** The path as written in the request; null: decoding or normalization would change it. */
export function pathOf(url: string): string | null {
  const [path = ''] = url.split('?', 1);
  return /^\/[\w.~/-]*$/.test(path) && !/\/\/|\.\./.test(path) ? path : null;
}

/** The value of a header that may occur once; null: absent. */
function singleHeader(request: IncomingMessage, name: string): { readonly value: string | null } | 'several' {
  const values = request.headersDistinct[name] ?? [];
  return values.length > 1 ? 'several' : { value: values[0] ?? null };
}

/** The origin of the page for this request, or why it is refused. */
export function pageOrigin(
  request: IncomingMessage,
  hosts: AllowedHosts,
): { readonly origin: string } | RequestRefusal {
  const host = singleHeader(request, 'host');
  if (host === 'several' || host.value === null) return { reason: 'bad_request' };
  const origin = hosts.originOf(host.value);
  return origin === null ? { reason: 'foreign_host' } : { origin };
}

/** False: an unknown expectation (RFC 9110, section 10.1.1). */
export function isExpectationMet(request: IncomingMessage): boolean {
  const expect = singleHeader(request, 'expect');
  return expect !== 'several' && (expect.value === null || /^100-continue$/i.test(expect.value));
}

/** Why a form is refused; null: it is not. */
export function checkForm(request: IncomingMessage, pageOrigin: string): RequestRefusal | null {
  const [origin, site, type] = ['origin', 'sec-fetch-site', 'content-type'].map((name) => singleHeader(request, name));
  if (origin === undefined || site === undefined || type === undefined) return { reason: 'bad_request' };
  if (origin === 'several' || site === 'several' || type === 'several') return { reason: 'bad_request' };
  if (origin.value !== pageOrigin) return { reason: 'foreign_origin' };
  if (site.value !== null && site.value !== 'same-origin') return { reason: 'foreign_origin' };
  if (!/^application\/x-www-form-urlencoded(; ?charset=utf-8)?$/i.test(type.value ?? ''))
    return { reason: 'bad_request', code: 415 };
  const length = request.headers['content-length'];
  if (length === undefined || request.headers['transfer-encoding'] !== undefined)
    return { reason: 'bad_request', code: 411 };
  return Number(length) > bodyBytesMax ? { reason: 'too_large' } : null;
}

// Allowed hosts. A foreign name is not served: a page whose name resolves to this address (DNS rebinding) would have
// the same origin as this one. On loopback every loopback name is allowed with any port, because tunnels choose their
// own.

export type AllowedHosts = {
  /** Browsers reach the page by https. */
  readonly isSecure: boolean;
  /** The origin of the page for a browser that sent this Host (RFC 9110, section 7.2); null: a foreign name. */
  originOf(host: string): string | null;
};

type HostSettings = Pick<AdminConfig, 'tls' | 'origin'> & ({ readonly host: string } | { readonly path: string });

export function createAllowedHosts({ tls, origin, ...address }: HostSettings): AllowedHosts {
  const isSecure = tls !== null || origin?.startsWith('https:') === true;
  const listening = 'path' in address ? null : address.host.toLowerCase();
  const isAllowed = listening !== null && isLoopback(listening) ? isLoopback : (name: string) => name === listening;
  return {
    isSecure,
    originOf(text) {
      const name = hostNameIn(text);
      if (name === null) return null;
      const named = URL.parse(`${isSecure ? 'https' : 'http'}://${text}`)?.origin ?? null;
      if (origin !== null) return named === origin ? origin : null;
      return isAllowed(name) ? named : null;
    },
  };
}

// Trusted proxies. X-Forwarded-For is read from its end, where each proxy appends the address that it saw. Entries
// before the first address that is no proxy were written by the client and are ignored.

export type TrustedProxies = {
  /** False for all but the proxies, if any are configured. */
  mayConnect(address: string): boolean;
  /**
   * The client's address, given the X-Forwarded-For headers in order; null: a proxy wrote an invalid entry, or, at a
   * unix socket, none.
   */
  clientAddress(peer: string, forwarded: readonly string[]): string | null;
  /**
   * The client to which connections are counted, an IPv6 one by its /64; null: many share the address, by proxy or
   * tunnel.
   */
  connectionGroup(peer: string): string | null;
};

/** `isUnixSocket`: the permissions of its file decide who connects, and a peer without an address is the proxy. */
export function createTrustedProxies(proxies: readonly string[], isUnixSocket = false): TrustedProxies {
  if (proxies.length === 0 && !isUnixSocket)
    return {
      mayConnect: () => true,
      clientAddress: (peer) => withoutIpv6Mapping(peer),
      connectionGroup: (peer) => (isLoopback(withoutIpv6Mapping(peer)) ? null : addressGroup(peer)),
    };
  const named = new BlockList();
  for (const proxy of proxies) named.addAddress(proxy, family(proxy));
  const isProxy = (address: string): boolean =>
    address === '' ? isUnixSocket : isIP(address) !== 0 && named.check(address, family(address));
  // A proxy on this machine that connects to `localhost` comes from either of its addresses.
  const isNear = ['127.0.0.1', '::1'].some(isProxy);
  return {
    mayConnect: (address) =>
      isProxy(withoutIpv6Mapping(address)) || (isNear && ['127.0.0.1', '::1'].includes(withoutIpv6Mapping(address))),
    clientAddress(peer, forwarded) {
      const entries = forwarded.flatMap((header) => header.split(','));
      for (const entry of entries.toReversed()) {
        const address = withoutIpv6Mapping(entry.trim());
        if (isIP(address) === 0) return null;
        if (!isProxy(address)) return address;
      }
      return withoutIpv6Mapping(peer) || null;
    },
    connectionGroup: () => null,
  };
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
