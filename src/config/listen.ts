/**
 * Listen addresses of the admin page and of the health endpoints, from the keys of [admin] and [http].
 *
 * Rejects a configuration in which a sign-in could cross a network in plain text, or in which a header of any client
 * would be trusted: an address that others can reach needs TLS or a named proxy, a proxy needs the HTTPS origin of the
 * browsers. A unix socket is for a proxy: the permissions of its file say which one.
 */

import { isAbsolute } from 'node:path';
import type { AdminConfig, Config, ListenAddress } from './config.ts';
import { absolute, type Derivation } from './derivation.ts';
import { isLoopback } from './machine.ts';
import { type ConfigProblem, notValue } from './problems.ts';

/** null: there is no admin page. */
export function admin(from: Derivation, problems: ConfigProblem[]): AdminConfig | null {
  const { settings, document } = from;
  const path = 'admin.listen';
  const value = settings.admin.listen;
  if (value === 'off') return null;
  const address = readAddress(value, 'admin', from, problems);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8026" or "[::1]:8026", unix:PATH, or "off"';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
    return null;
  }
  const tls = tlsFiles(from, problems);
  const { proxies } = settings.admin;
  const host = 'path' in address ? null : address.host;
  const isInClear = host !== null && tls === null && proxies.length === 0;
  if (isInClear && !isLoopback(host)) {
    const rule =
      'must be an address of this machine alone (127.0.0.1, [::1]) unless admin.tls_certificate_file and admin.tls_key_file are given, or admin.proxies';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
  }
  const isWildcard = host !== null && wildcardAddresses.has(host) && tls !== null;
  const isForProxy = host === null || proxies.length > 0;
  const origin = originOf(from, { isInClear, isWildcard, isForProxy }, problems);
  return { ...address, tls, proxies, origin, sessionTimeoutMs: settings.admin.session_timeout_min * 60_000 };
}

const wildcardAddresses: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The files are read when the page is served: a missing one does not stop polling. */
function tlsFiles(from: Derivation, problems: ConfigProblem[]): AdminConfig['tls'] {
  const { tls_certificate_file: certificate, tls_key_file: key } = from.settings.admin;
  if (certificate === '' && key === '') return null;
  const [given, missing] =
    certificate === '' ? ['tls_key_file', 'tls_certificate_file'] : ['tls_certificate_file', 'tls_key_file'];
  if (certificate === '' || key === '') {
    problems.push({ path: `admin.${given}`, rule: `needs admin.${missing} as well` });
    return null;
  }
  return {
    certificateFile: absolute(from, 'admin.tls_certificate_file', certificate, problems),
    keyFile: absolute(from, 'admin.tls_key_file', key, problems),
  };
}

type Exposure = {
  /** Neither TLS nor a proxy. */
  readonly isInClear: boolean;
  /** It listens on a wildcard address, which no browser uses. */
  readonly isWildcard: boolean;
  /** It listens on a unix socket, or proxies are named. */
  readonly isForProxy: boolean;
};

/** Serialized as browsers do (RFC 6454 section 6.2): lower case, without the default port. */
function originOf(from: Derivation, exposure: Exposure, problems: ConfigProblem[]): string | null {
  const { isInClear, isWildcard, isForProxy } = exposure;
  const path = 'admin.origin';
  const value = from.settings.admin.origin;
  if (value === '') {
    if (isForProxy) {
      const when = from.settings.admin.proxies.length > 0 ? 'admin.proxies is given' : 'admin.listen is a unix socket';
      problems.push({ path, rule: `must be ${allowed}, the one of the proxy, when ${when}` });
    } else if (isWildcard) problems.push({ path, rule: `must be ${allowed} when admin.listen is every address` });
    return null;
  }
  const url = /^https?:\/\/[^/?#@\\\s]+$/i.test(value) ? URL.parse(value) : null;
  const isSecure = url?.protocol === 'https:';
  const isNear = url !== null && isInClear && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  if (url !== null && (isSecure || isNear)) return url.origin;
  const near = isInClear ? ' (http:// for localhost alone)' : '';
  problems.push({ path, rule: `must be ${allowed}${near}${notValue(from.document, path)}` });
  return null;
}

const allowed = 'https://HOST or https://HOST:PORT, without a path';

export function http(from: Derivation, problems: ConfigProblem[]): Config['http'] {
  const { settings, document } = from;
  const path = 'http.listen';
  const value = settings.http.listen;
  if (value === 'off') return null;
  const address = readAddress(value, 'http', from, problems);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", unix:PATH, or "off"';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
    return null;
  }
  if (!('path' in address) && !isLoopback(address.host) && !settings.http.allow_remote) {
    const rule = 'must be an address of this machine alone (127.0.0.1, [::1]) unless http.allow_remote is true';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
  }
  return { ...address, hosts: settings.http.hosts };
}

/** With room for the name of the file while it is made; a socket path has 107 bytes (unix(7)). */
const socketPathBytesMax = 90;

/** HOST:PORT, an IPv6 address in brackets, which the result lacks, or unix:PATH; null for anything else. */
function readAddress(
  value: string,
  table: 'admin' | 'http',
  { settings }: Derivation,
  problems: ConfigProblem[],
): ListenAddress | null {
  const { listen_group: group } = settings[table];
  if (value.startsWith('unix:')) {
    const path = value.slice('unix:'.length);
    return isAbsolute(path) && Buffer.byteLength(path) <= socketPathBytesMax ? { path, group: group || null } : null;
  }
  if (group !== '') problems.push({ path: `${table}.listen_group`, rule: `needs ${table}.listen = "unix:PATH"` });
  const [, ipv6, name, portText] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+)):(\d{1,5})$/i.exec(value) ?? [];
  // Both addresses of localhost are held (loopback-twin.ts), whatever the name resolves to.
  const host = name?.toLowerCase() === 'localhost' ? '127.0.0.1' : (ipv6 ?? name);
  const port = Number(portText);
  return host === undefined || port > 65_535 ? null : { host, port };
}
