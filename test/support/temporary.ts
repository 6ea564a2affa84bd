/**
 * Temporary folders that do not stay behind.
 *
 * Within one test run all of them lie under one folder that the run's global setup makes and removes; outside a run
 * (the demo, a benchmark) each process has a folder of its own, removed as it exits. `await using` removes one early.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Names the folder of the whole run for the worker processes; set by the global setup alone. */
export const runFolderVariable = 'TICKETMAILD_TEST_FOLDER';

export type TemporaryFolder = { readonly path: string } & AsyncDisposable;

let ownRunFolder: string | null = null;

/** The folder that holds everything temporary of this run. Others may enter it: mail servers drop their rights. */
export function runFolder(): string {
  const given = process.env[runFolderVariable];
  if (given !== undefined) return given;
  ownRunFolder ??= makeOwnRunFolder();
  return ownRunFolder;
}

function makeOwnRunFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ticketmaild-'));
  chmodSync(path, 0o755);
  // What was killed just now may still be writing.
  process.once('exit', () => rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }));
  return path;
}

/** A new empty folder, mode 0700, whose name begins with `name`. */
export async function temporaryFolder(name = 'folder'): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(runFolder(), `${name}-`));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }),
  };
}
