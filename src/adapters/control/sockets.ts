/**
 * The control sockets of a data folder: one for each worker that runs on it.
 *
 * The only worker, which has no name, listens at `control.sock`; one that is named listens at `control-NAME.sock`. A
 * command looks for them in that order, because it knows nothing of the names.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';

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
