/**
 * The place of the control socket: made so that at no moment anybody but its user, and root, can connect.
 *
 * The socket is bound in a folder of its own with mode 0700, closed to others (0600), and only then linked to its
 * place, which never overwrites one that somebody made meanwhile. What a dead process left there is moved away first.
 * Throws `refused` for a folder that others can enter and for a thing at its place that is no socket, `disk_failed`.
 */

import { once } from 'node:events';
import { chmod, link, lstat, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';

const enterable = 0o011;
const connectWaitMs = 1000;

/** Makes `server` listen at `path`. null: a process that lives listens there. The result removes the socket again. */
export async function listenAt(path: string, server: Server): Promise<AsyncDisposable | null> {
  try {
    await checkFolder(dirname(path));
    return await listenPrivately(path, server);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure('disk_failed', `the control socket ${path} cannot be made (${causeCode(error)})`, {
      cause: error,
    });
  }
}

async function checkFolder(folder: string): Promise<void> {
  const { mode } = await stat(folder);
  if ((mode & enterable) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, '0');
  throw new Failure('refused', `no control socket: others can enter data_dir ${folder} (mode ${shown})`, {
    hint: `Close it: chmod 0700 ${shellArg(folder)}; the next start makes the socket.`,
  });
}

async function listenPrivately(path: string, server: Server): Promise<AsyncDisposable | null> {
  // As short as the name of the socket itself, because the length of a socket's path is limited.
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

/** False when a process that lives listens at `path`. What a dead one left is moved into the folder `own`. */
async function isFree(path: string, own: string): Promise<boolean> {
  const there = await ifThere(lstat(path));
  if (there === null) return true;
  if (!there.isSocket()) {
    const hint = 'Look what it is, and move it away.';
    throw new Failure('refused', `no control socket: ${path} is there and is no socket`, { hint });
  }
  if (await isAnswered(path)) return false;
  const aside = join(own, 'x');
  if ((await ifThere(rename(path, aside).then(() => true))) === null) return true;
  // Between the look and the move somebody else may have replaced it by a socket that lives.
  if (!(await isAnswered(aside))) return true;
  await linked(aside, path);
  return false;
}

/** True when somebody listens at the socket, as far as that can be known. */
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

/** False when there is something at `path` already. */
async function linked(from: string, path: string): Promise<boolean> {
  try {
    await link(from, path);
    return true;
  } catch (error) {
    if (causeCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Leaves one alone that another process made in its place. */
async function removeOwn(path: string, made: { readonly ino: number; readonly dev: number }): Promise<void> {
  const there = await ifThere(lstat(path));
  if (there !== null && there.ino === made.ino && there.dev === made.dev) await rm(path, { force: true });
}

/** null when the file is not there. */
async function ifThere<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/**
 * The control sockets of a data folder: one for each worker that runs on it.
 *
 * The only worker, which has no name, listens at `control.sock`; one that is named listens at `control-NAME.sock`. A
 * command looks for them in that order, because it knows nothing of the names.
 */

const unnamed = 'control.sock';
const named = /^control-[a-z0-9-]+\.sock$/;

/** Where the worker of that name listens; '' is the only one. */
export function socketPath(dataDir: string, workerName: string): string {
  return join(dataDir, workerName === '' ? unnamed : `control-${workerName}.sock`);
}

/** Every place to ask: `control.sock`, then the named ones that are there, by name. Throws `daemon_unreachable`. */
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
    throw new Failure('daemon_unreachable', `no daemon can be looked for in ${dataDir} (${code})`, { cause: error });
  }
}
