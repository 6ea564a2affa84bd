/**
 * Under which names the admin page is reached.
 *
 * A name that is not ours is not answered: a page of somebody else whose name was made to lead here (DNS rebinding) would be
 * of the same origin as ours. On loopback any name of this machine is, with any port, since tunnels choose their own.
 */

import type { AdminConfig } from '../../config/config.ts';
import { isLoopback } from '../../config/machine.ts';

export type Place = {
  /** Browsers reach it by https. */
  readonly isSecure: boolean;
  /** The origin of the page as a browser names it that sent this Host (RFC 9110 section 7.2). null: not ours. */
  originOf(host: string): string | null;
};

export function createPlace({ host, tls, origin }: Pick<AdminConfig, 'host' | 'tls' | 'origin'>): Place {
  const isSecure = tls !== null || origin?.startsWith('https:') === true;
  const listening = host.toLowerCase();
  const isOurs = isLoopback(listening) ? isLoopback : (name: string) => name === listening;
  return {
    isSecure,
    originOf(text) {
      const name = nameOf(text);
      if (name === null) return null;
      const named = URL.parse(`${isSecure ? 'https' : 'http'}://${text}`)?.origin ?? null;
      if (origin !== null) return named === origin ? origin : null;
      return isOurs(name) ? named : null;
    },
  };
}

/** The host in a Host header, without brackets, in small letters; null: the header is of another form. */
function nameOf(host: string): string | null {
  const [, ipv6, name, port] = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9.-]{1,253}))(?::(\d{1,5}))?$/i.exec(host) ?? [];
  return Number(port ?? 0) > 65_535 ? null : ((ipv6 ?? name)?.toLowerCase() ?? null);
}
