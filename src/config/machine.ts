/**
 * This process and machine: its user, for hints on files that it may not read, the environment of its worker threads,
 * loopback names, hosts in URLs, and ports that are taken.
 */

import { once } from 'node:events';
import { getCompileCacheDir } from 'node:module';
import { createServer, isIP, isIPv4 } from 'node:net';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { causeCode } from '../errors.ts';
import type { ListenAddress } from './config.ts';

/** Name of the user of this process; `uid 995` for one without a name. */
export function thisUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (causeCode(error) === 'ERR_SYSTEM_ERROR' || causeCode(error) === 'ENOENT') return `uid ${process.getuid?.()}`;
    throw error;
  }
}

/** Hint for a file that could not be read; null when permissions are not the cause. */
export function unreadableHint(error: unknown): string | null {
  const code = causeCode(error);
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return `The user ${thisUser()} tried to read it: let that user read the file and enter the folders above it.`;
}

/** Environment of worker threads: the compile cache alone, with which a thread starts in a third of the time. */
export function workerEnvironment(): Readonly<Record<string, string>> {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}

/**
 * True for `localhost`, 127.0.0.0/8 and `::1` (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3, RFC 6761 section 6.3).
 * Any other name is not, whatever it may resolve to.
 */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/** A host as in a URL (RFC 3986 section 3.2.2): an IPv6 address in brackets. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The other address of `localhost` with that port; null: the host is neither 127.0.0.1 nor ::1. */
export function loopbackTwin(address: ListenAddress): Extract<ListenAddress, { readonly host: string }> | null {
  if ('path' in address || !['127.0.0.1', '::1'].includes(address.host)) return null;
  return { host: address.host === '::1' ? '127.0.0.1' : '::1', port: address.port };
}

/** A listen address as it is configured: HOST:PORT or unix:PATH. */
export function listenText(address: ListenAddress): string {
  return 'path' in address ? `unix:${address.path}` : `${urlHost(address.host)}:${address.port}`;
}

/**
 * True while a process listens at that port: binds it for a moment, since a connection would start the daemon where
 * systemd holds the port. A unix socket is never taken: other users cannot write its folder.
 */
export async function isTaken(address: ListenAddress): Promise<boolean> {
  if ('path' in address) return false;
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen({ host: address.host, port: address.port, exclusive: true });
    await once(server, 'listening');
    return false;
  } catch (error) {
    return causeCode(error) === 'EADDRINUSE';
  } finally {
    server.close();
  }
}

/** An IPv4 or IPv6 address without brackets. */
export function isIpAddress(text: string): boolean {
  return isIP(text) !== 0;
}
