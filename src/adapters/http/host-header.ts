/**
 * Host header (RFC 9110, section 7.2) against DNS rebinding: a page whose name resolves to this address would have its
 * origin.
 *
 * The health endpoints are served under loopback names, the address that the connection arrived at, and the configured
 * names. A request without a Host is served too: every browser sends one.
 */

import { isLoopback } from '../../config/machine.ts';

/** The host in a Host header, without brackets, in lower case; null: an invalid header. */
export function hostNameIn(host: string): string | null {
  const [, ipv6, name, port] = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9.-]{1,253}))(?::(\d{1,5}))?$/i.exec(host) ?? [];
  return Number(port ?? 0) > 65_535 ? null : ((ipv6 ?? name)?.toLowerCase() ?? null);
}

/** An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) as an IPv4 address. */
export function withoutIpv6Mapping(address: string): string {
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  return ipv4 ?? address;
}

/** `headers`: each Host of a request. `localAddress`: that of the connection; empty for a unix socket. */
export type HostCheck = (headers: readonly string[], localAddress: string) => boolean;

/** `names`: further hosts under which the endpoints are served, such as the one that Prometheus is configured with. */
export function createHostCheck(names: readonly string[]): HostCheck {
  const allowed = new Set(names.map((name) => name.toLowerCase()));
  return ([host = '', ...others], localAddress) => {
    if (others.length > 0) return false;
    if (host === '') return true;
    const name = hostNameIn(host);
    return name !== null && (isLoopback(name) || allowed.has(name) || name === withoutIpv6Mapping(localAddress));
  };
}
