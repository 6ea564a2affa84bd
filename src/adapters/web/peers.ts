/**
 * Who is at the other end: of the connection, and behind the proxies that are named in the configuration.
 *
 * X-Forwarded-For is read from its end, as each proxy adds what it saw there. What stands before the first address that is no
 * proxy was written by whoever it is, and is not looked at.
 */
import { BlockList, isIP } from 'node:net';
import { addressGroup } from '../../admin/sign-in/limits.ts';
import { isLoopback } from '../../config/machine.ts';

export type Peers = {
  /** False for all but the proxies, where there are any. */
  mayConnect(address: string): boolean;
  /** The client's address, given the X-Forwarded-For headers in their order. null: a proxy wrote something else than one. */
  clientOf(peer: string, forwarded: readonly string[]): string | null;
  /** Whose places a connection takes: one client has its whole /64. null: many share the address, by a proxy or a tunnel. */
  placesOf(peer: string): string | null;
};

export function createPeers(proxies: readonly string[]): Peers {
  if (proxies.length === 0)
    return {
      mayConnect: () => true,
      clientOf: (peer) => plain(peer),
      placesOf: (peer) => (isLoopback(plain(peer)) ? null : addressGroup(peer)),
    };
  const named = new BlockList();
  for (const proxy of proxies) named.addAddress(proxy, family(proxy));
  const isProxy = (address: string): boolean => isIP(address) !== 0 && named.check(address, family(address));
  return {
    mayConnect: (address) => isProxy(plain(address)),
    clientOf(peer, forwarded) {
      const seen = forwarded.flatMap((header) => header.split(','));
      for (const entry of seen.toReversed()) {
        const address = plain(entry.trim());
        if (isIP(address) === 0) return null;
        if (!isProxy(address)) return address;
      }
      return plain(peer);
    },
    placesOf: () => null,
  };
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** An IPv4 address that came in IPv6 form (RFC 4291 section 2.5.5.2), as itself. */
function plain(address: string): string {
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  return ipv4 ?? address;
}
