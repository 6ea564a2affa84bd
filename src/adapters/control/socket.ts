/**
 * Control socket files, one per worker, mode 0600: only their user and root can connect, and a client trusts no other
 * owner.
 *
 * The server refuses a data folder that others can enter. The client refuses a folder, or a socket in it, that belongs
 * to neither root nor its own user; root accepts the folder of another user where only root can have placed it there.
 * Throws `refused`, `disk_failed`, `daemon_unreachable`.
 */

import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import { listenAtPath } from '../http/unix-listener.ts';

const enterable = 0o011;

/** Makes `server` listen at `path`. null: a live process listens there. Disposing the result removes the socket. */
export async function listenAt(path: string, server: Server): Promise<AsyncDisposable | null> {
  try {
    await checkFolder(dirname(path));
    return await listenAtPath({ path, mode: 0o600, gid: null }, server);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure('disk_failed', `the control socket ${path} cannot be created (${causeCode(error)})`, {
      cause: error,
    });
  }
}

async function checkFolder(folder: string): Promise<void> {
  const { mode } = await stat(folder);
  if ((mode & enterable) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, '0');
  throw new Failure('refused', `no control socket: others can enter data_dir ${folder} (mode ${shown})`, {
    hint: `Close it: chmod 0700 ${shellArg(folder)}; the next start creates the socket.`,
  });
}

// `control.sock` is the socket of the only worker, which has no name, `control-NAME.sock` that of a named one. A
// command tries them in that order.

const unnamed = 'control.sock';
const named = /^control-[a-z0-9-]+\.sock$/;

/** The socket of the worker of that name; '' is the only worker. */
export function socketPath(dataDir: string, workerName: string): string {
  return join(dataDir, workerName === '' ? unnamed : `control-${workerName}.sock`);
}

/** `control.sock`, then the existing named sockets by name. Throws `daemon_unreachable`, `refused`. */
export async function socketPaths(dataDir: string): Promise<readonly string[]> {
  const names = await namesIn(dataDir);
  for (const name of names.filter((one) => one === unnamed || named.test(one))) await checkOwner(dataDir, name);
  return [unnamed, ...names.filter((name) => named.test(name)).toSorted()].map((name) => join(dataDir, name));
}

async function namesIn(dataDir: string): Promise<readonly string[]> {
  try {
    return await readdir(dataDir);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return [];
    const message = `cannot search for a daemon in ${dataDir} (${code})`;
    const hint = 'Only the user of the daemon and root can ask it: sudo ticketmaild …';
    throw new Failure('daemon_unreachable', message, { cause: error, ...(code === 'EACCES' ? { hint } : {}) });
  }
}

/**
 * A socket that another user made is not asked: its answers would be his words. Follows StrictModes of sshd(8).
 */
async function checkOwner(dataDir: string, name: string): Promise<void> {
  const folder = await realpath(dataDir);
  const [{ uid, mode }, socket] = await Promise.all([lstat(folder), unlessGone(lstat(join(folder, name)))]);
  const isTrusted = uid === 0 || uid === process.geteuid?.() || (await isPlacedByRoot(folder));
  if (!isTrusted || (mode & writableByOthers) !== 0) {
    const hint = `Only root or the user of the daemon may own it and write to it: see ls -ld ${shellArg(folder)}`;
    throw new Failure('refused', `no daemon is asked: ${folder} is a folder of another user`, { hint });
  }
  if (socket === null || (socket.isSocket() && (socket.uid === uid || socket.uid === 0))) return;
  const path = join(folder, name);
  const hint = `Find out who made it: ls -l ${shellArg(path)}`;
  throw new Failure('refused', `no daemon is asked: ${path} is not a socket of its own user`, { hint });
}

const writableByOthers = 0o022;

/** For root: no other user can write to a folder above, so that none put this one there. */
async function isPlacedByRoot(folder: string): Promise<boolean> {
  if (process.geteuid?.() !== 0) return false;
  const above = dirname(folder);
  if (above === folder) return true;
  const { uid, mode } = await lstat(above);
  return uid === 0 && (mode & writableByOthers) === 0 && (await isPlacedByRoot(above));
}

/** A worker that ends takes its socket away. */
async function unlessGone<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}
