/**
 * Server authentication for a whole password: which channels prove that the other end is the database server.
 *
 * These do: TLS with a verified or pinned certificate; a unix socket in folders where not every user may create files;
 * a pinned RSA key of the server. On any other channel (TCP without TLS) another program may listen while the server is
 * down, so that only a challenge response is sent.
 */
import { existsSync, lstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import type { DatabaseConfig } from '../../../config/config.ts';
import { isLoopback } from '../../../config/machine.ts';

export type Channel =
  /** The whole password may cross it as it is. */
  | { readonly kind: 'private' }
  /** The whole password may cross it encrypted to this key (PEM). */
  | { readonly kind: 'pinned'; readonly serverKeyPem: string }
  | { readonly kind: 'open'; readonly why: string };

/** Reads the folders of a unix socket, so it is called when a server asks for the password, after the connect. */
export function channelTo(
  { tls, serverKeyPem }: Pick<Extract<DatabaseConfig, { kind: 'mysql' }>, 'tls' | 'serverKeyPem'>,
  { host, socketPath }: { readonly host: string; readonly socketPath: string | null },
): Channel {
  if (tls === 'verify') return { kind: 'private' };
  const shared = socketPath === null ? null : sharedFolderOf(socketPath);
  if (socketPath !== null && shared === null) return { kind: 'private' };
  if (serverKeyPem !== null) return { kind: 'pinned', serverKeyPem };
  if (shared !== null) return { kind: 'open', why: `its socket is in ${shared}, where every user may create files` };
  const why = !isLoopback(host)
    ? 'any program may answer'
    : host.toLowerCase() === 'localhost'
      ? 'any user of this machine may listen on the one of 127.0.0.1 and ::1 that it leaves free'
      : 'any user of this machine may listen there while it is down';
  return { kind: 'open', why: `over TCP without TLS ${why}` };
}

const writableByAll = 0o002;
const sticky = 0o1000;

/**
 * The folder on the way to `path` in which every user may put something else in its place, or null. With the sticky
 * bit, what is there already and belongs to root or to this user stays.
 */
function sharedFolderOf(path: string): string | null {
  const folder = dirname(path);
  const real = existsSync(folder) ? join(realpathSync(folder), basename(path)) : path;
  const replaceable = [...pathsTo(path), ...pathsTo(real)].find(isReplaceable);
  return replaceable === undefined ? null : dirname(replaceable);
}

/** `/run/a/b`: `/run`, `/run/a`, `/run/a/b`. */
function pathsTo(path: string): readonly string[] {
  const names = path.split(sep).filter((name) => name !== '');
  return names.map((_, at) => join(sep, ...names.slice(0, at + 1)));
}

function isReplaceable(path: string): boolean {
  const folder = statSync(dirname(path), { throwIfNoEntry: false });
  if (folder === undefined || (folder.mode & writableByAll) === 0) return false;
  if ((folder.mode & sticky) === 0) return true;
  const owner = lstatSync(path, { throwIfNoEntry: false })?.uid;
  return owner !== 0 && owner !== process.getuid?.();
}
