/**
 * Where the admin page is, in words: its address by the configuration, and how to get there from another machine.
 */

import type { AdminConfig } from '../config/config.ts';
import { isLoopback } from '../config/machine.ts';

/** `thisHost`: the name of this machine. */
export function pageLines(admin: AdminConfig | null, thisHost: string): readonly string[] {
  if (admin === null) {
    return [
      'The admin page is off. To have it: [admin] listen = "127.0.0.1:8026" in the configuration, then restart the daemon.',
    ];
  }
  const { host, port, origin } = admin;
  const page = `${origin ?? ownOrigin(admin, thisHost)}/admin`;
  const there = `Where the daemon serves the admin page: ${page}`;
  if (origin !== null || !isLoopback(host)) return [there];
  const tunnel = `ssh -L ${port}:${inUrl(host)}:${port} ${thisHost}`;
  return [`${there} (from this machine alone; from another one first: ${tunnel})`];
}

/** One that listens on every address is reached by the name of its machine. */
function ownOrigin({ host, port, tls }: AdminConfig, thisHost: string): string {
  const isEverywhere = host === '0.0.0.0' || host === '::';
  return `${tls === null ? 'http' : 'https'}://${isEverywhere ? thisHost : inUrl(host)}:${port}`;
}

function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
