/**
 * Control socket file: created atomically, so that at no moment another user than its own, and root, can connect.
 *
 * The socket is bound in a private folder (0700), restricted to 0600, and then linked to its path, which never
 * overwrites another one. A stale socket of a dead process is moved away first. Throws `refused` for a data folder that
 * others can enter and for a path that is no socket, `disk_failed`.
 */

import { once } from 'node:events';
import { chmod, link, lstat, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';

const enterable = 0o011;
const connectWaitMs = 1000;

/** Makes `server` listen at `path`. null: a live process listens there. Disposing the result removes the socket. */
export async function listenAt(path: string, server: Server): Promise<AsyncDisposable | null> {
  try {
    await checkFolder(dirname(path));
    return await listenPrivately(path, server);
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

async function listenPrivately(path: string, server: Server): Promise<AsyncDisposable | null> {
  // As short as the name of the socket itself: the length of a socket path is limited.
  const own = await mkdtemp(join(dirname(path), '.c-'));
  try {
    if (!(await isFree(path, own))) return null;
    const bound = join(own, 's');
    server.listen(bound);
    await once(server, 'listening');
    await chmod(bound, 0o600);
    const made = await lstat(bound);
    if (!(await linked(bound, path))) return null;
    return { [Symbol.asyncDispose]: () => removeOwn(path, made) };
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

/** False: a live process listens at `path`. A stale socket is moved into the folder `own`. */
async function isFree(path: string, own: string): Promise<boolean> {
  const found = await unlessAbsent(lstat(path));
  if (found === null) return true;
  if (!found.isSocket()) {
    const hint = 'Check what it is, and move it away.';
    throw new Failure('refused', `no control socket: ${path} exists and is no socket`, { hint });
  }
  if (await isAnswered(path)) return false;
  const aside = join(own, 'x');
  if ((await unlessAbsent(rename(path, aside).then(() => true))) === null) return true;
  // Between the check and the move another process may have replaced it by a live socket.
  if (!(await isAnswered(aside))) return true;
  await linked(aside, path);
  return false;
}

/** False: certainly no process listens at the socket. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = createConnection(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(connectWaitMs) });
    return true;
  } catch (error) {
    return causeCode(error) !== 'ECONNREFUSED' && causeCode(error) !== 'ENOENT';
  } finally {
    socket.destroy();
  }
}

/** False: `to` exists already. */
async function linked(from: string, path: string): Promise<boolean> {
  try {
    await link(from, path);
    return true;
  } catch (error) {
    if (causeCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Leaves a socket alone by which another process replaced it. */
async function removeOwn(path: string, made: { readonly ino: number; readonly dev: number }): Promise<void> {
  const found = await unlessAbsent(lstat(path));
  if (found !== null && found.ino === made.ino && found.dev === made.dev) await rm(path, { force: true });
}

/** null: the file does not exist. */
async function unlessAbsent<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

// One control socket per worker: `control.sock` for the only worker, which has no name, `control-NAME.sock` for a named
// one. A command tries them in that order.

const unnamed = 'control.sock';
const named = /^control-[a-z0-9-]+\.sock$/;

/** The socket of the worker of that name; '' is the only worker. */
export function socketPath(dataDir: string, workerName: string): string {
  return join(dataDir, workerName === '' ? unnamed : `control-${workerName}.sock`);
}

/** `control.sock`, then the existing named sockets by name. Throws `daemon_unreachable`. */
export async function socketPaths(dataDir: string): Promise<readonly string[]> {
  const names = await namesIn(dataDir);
  return [unnamed, ...names.filter((name) => named.test(name)).toSorted()].map((name) => join(dataDir, name));
}

async function namesIn(dataDir: string): Promise<readonly string[]> {
  try {
    return await readdir(dataDir);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return [];
    throw new Failure('daemon_unreachable', `cannot search for a daemon in ${dataDir} (${code})`, { cause: error });
  }
}
