/**
 * How the admin page is reached, from the keys of [admin].
 *
 * Refuses whatever would let a sign-in cross a network in clear, or believe a header that anybody may send: an address that
 * others can reach needs TLS or a named proxy, a proxy needs the https origin that browsers use.
 */
import type { AdminConfig } from '../config.ts';
import { absolute, type Derivation } from './derivation.ts';
import { readAddress } from './listen.ts';
import { isLoopback } from './loopback.ts';
import { butIs, type Problem } from './problems.ts';

/** null: there is none. */
export function admin(from: Derivation, problems: Problem[]): AdminConfig | null {
  const { settings, document } = from;
  const path = 'admin.listen';
  const value = settings.admin.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8026" or "[::1]:8026", or "off"';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
    return null;
  }
  const tls = tlsFiles(from, problems);
  const { proxies } = settings.admin;
  const isInClear = tls === null && proxies.length === 0;
  if (isInClear && !isLoopback(address.host)) {
    const rule =
      'must be an address of this machine alone (127.0.0.1, [::1]) unless admin.tls_certificate_file and admin.tls_key_file are given, or admin.proxies';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
  }
  const origin = originOf(from, { isInClear, isAnyAddress: everyAddress.has(address.host) && tls !== null }, problems);
  return { ...address, tls, proxies, origin, idleMs: settings.admin.idle_min * 60_000 };
}

const everyAddress: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The files are read when the page is served: one that is missing keeps no mail waiting. */
function tlsFiles(from: Derivation, problems: Problem[]): AdminConfig['tls'] {
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

type Reach = {
  /** Neither TLS nor a proxy. */
  readonly isInClear: boolean;
  /** It listens on every address, so that none is the name that browsers use. */
  readonly isAnyAddress: boolean;
};

/** As browsers write it (RFC 6454 section 6.2): small letters, without a port that goes without saying. */
function originOf(from: Derivation, { isInClear, isAnyAddress }: Reach, problems: Problem[]): string | null {
  const path = 'admin.origin';
  const value = from.settings.admin.origin;
  const isForProxies = from.settings.admin.proxies.length > 0;
  if (value === '') {
    if (isForProxies)
      problems.push({ path, rule: `must be ${allowed}, the one of the proxy, when admin.proxies is given` });
    else if (isAnyAddress) problems.push({ path, rule: `must be ${allowed} when admin.listen is every address` });
    return null;
  }
  const url = /^https?:\/\/[^/?#@\\\s]+$/i.test(value) ? URL.parse(value) : null;
  const isSecure = url?.protocol === 'https:';
  const isNear = url !== null && isInClear && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  if (url !== null && (isSecure || isNear)) return url.origin;
  const near = isInClear ? ' (http:// for localhost alone)' : '';
  problems.push({ path, rule: `must be ${allowed}${near}${butIs(from.document, path)}` });
  return null;
}

const allowed = 'https://HOST or https://HOST:PORT, without a path';
