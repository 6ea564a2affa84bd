/** Addresses to listen on, as HOST:PORT: of the health endpoints, and the form that all of them share. */
import type { Config } from '../config.ts';
import type { Derivation } from './derivation.ts';
import { isLoopback } from './loopback.ts';
import { butIs, type Problem } from './problems.ts';

export type ListenAddress = { readonly host: string; readonly port: number };

/** An IPv6 address stands in brackets, which the result lacks. null: `value` is none. */
export function readAddress(value: string): ListenAddress | null {
  const [, ipv6, name, portText] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+)):(\d{1,5})$/i.exec(value) ?? [];
  const host = ipv6 ?? name;
  const port = Number(portText);
  return host === undefined || port > 65_535 ? null : { host, port };
}

export function http({ settings, document }: Derivation, problems: Problem[]): Config['http'] {
  const path = 'http.listen';
  const value = settings.http.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", or "off"';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
    return null;
  }
  if (!isLoopback(address.host) && !settings.http.expose) {
    const rule = 'must be an address of this machine alone (127.0.0.1, [::1]) unless http.expose is true';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
  }
  return address;
}
