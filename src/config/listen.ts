/**
 * Listen addresses of the admin page and of the health endpoints, from the keys of [admin] and [http].
 *
 * Rejects a configuration in which a sign-in could cross a network in plain text, or in which a header of any client
 * would be trusted: an address that others can reach needs TLS or a named proxy, a proxy needs the HTTPS origin of the
 * browsers.
 */

import type { AdminConfig, Config } from './config.ts';
import { absolute, type Derivation } from './derivation.ts';
import { isLoopback } from './machine.ts';
import { type ConfigProblem, notValue } from './problems.ts';

/** null: there is no admin page. */
export function admin(from: Derivation, problems: ConfigProblem[]): AdminConfig | null {
  const { settings, document } = from;
  const path = 'admin.listen';
  const value = settings.admin.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8026" or "[::1]:8026", or "off"';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
    return null;
  }
  const tls = tlsFiles(from, problems);
  const { proxies } = settings.admin;
  const isInClear = tls === null && proxies.length === 0;
  if (isInClear && !isLoopback(address.host)) {
    const rule =
      'must be an address of this machine alone (127.0.0.1, [::1]) unless admin.tls_certificate_file and admin.tls_key_file are given, or admin.proxies';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
  }
  const origin = originOf(
    from,
    { isInClear, isWildcard: wildcardAddresses.has(address.host) && tls !== null },
    problems,
  );
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
};

/** Serialized as browsers do (RFC 6454 section 6.2): lower case, without the default port. */
function originOf(from: Derivation, { isInClear, isWildcard }: Exposure, problems: ConfigProblem[]): string | null {
  const path = 'admin.origin';
  const value = from.settings.admin.origin;
  const isForProxies = from.settings.admin.proxies.length > 0;
  if (value === '') {
    if (isForProxies)
      problems.push({ path, rule: `must be ${allowed}, the one of the proxy, when admin.proxies is given` });
    else if (isWildcard) problems.push({ path, rule: `must be ${allowed} when admin.listen is every address` });
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

export function http({ settings, document }: Derivation, problems: ConfigProblem[]): Config['http'] {
  const path = 'http.listen';
  const value = settings.http.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", or "off"';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
    return null;
  }
  if (!isLoopback(address.host) && !settings.http.allow_remote) {
    const rule = 'must be an address of this machine alone (127.0.0.1, [::1]) unless http.allow_remote is true';
    problems.push({ path, rule: `${rule}${notValue(document, path)}` });
  }
  return address;
}

type ListenAddress = { readonly host: string; readonly port: number };

/** HOST:PORT, an IPv6 address in brackets, which the result lacks; null for anything else. */
function readAddress(value: string): ListenAddress | null {
  const [, ipv6, name, portText] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+)):(\d{1,5})$/i.exec(value) ?? [];
  const host = ipv6 ?? name;
  const port = Number(portText);
  return host === undefined || port > 65_535 ? null : { host, port };
}
