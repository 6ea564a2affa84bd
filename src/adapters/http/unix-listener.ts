/**
 * Unix socket listener: a socket file that is created atomically, with its group and mode, in place of a stale one.
 *
 * The socket is bound in a private folder (0700), restricted, and then linked to its path, which never overwrites
 * another one. A stale socket of a dead process is moved away first; that of a live one stays. At no moment can another
 * user connect than the mode allows. Throws `refused` for a path that is no socket.
 */

import { once } from 'node:events';
import { chmod, chown, link, lstat, mkdtemp, rename, rm } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';

export type SocketFile = {
  readonly path: string;
  readonly mode: number;
  /** Group that owns the file; null: the one of this process. */
  readonly gid: number | null;
};

const connectWaitMs = 1000;

/** null: a live process listens there. Disposing the result removes the socket. */
export async function listenAtPath(file: SocketFile, server: Server): Promise<AsyncDisposable | null> {
  let entry: AsyncDisposable | null = null;
  try {
    entry = await bind(file, server);
    return entry;
  } finally {
    if (entry === null && server.listening) {
      const closed = once(server, 'close');
      server.close();
      await closed;
    }
  }
}

async function bind({ path, mode, gid }: SocketFile, server: Server): Promise<AsyncDisposable | null> {
  // As short as the name of the socket itself: the length of a socket path is limited.
  const own = await mkdtemp(join(dirname(path), '.c-'));
  try {
    if (!(await isFree(path, own))) return null;
    const bound = join(own, 's');
    server.listen(bound);
    await once(server, 'listening');
    if (gid !== null) await chown(bound, -1, gid);
    await chmod(bound, mode);
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
    throw new Failure('refused', `cannot listen: ${path} exists and is no socket`, { hint });
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
