/**
 * What the storage thread has in common for its files: folders that last, waiting for the disk, one after the other.
 *
 * Only what waits for the disk (fsync) is asynchronous: it goes on in other threads, several files at a time. Throws what
 * the file system says.
 */
import { closeSync, existsSync, fdatasync, fsync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const syncFile = promisify(fsync);

/** Node has four threads for files and names of hosts: one is left when the disk hangs with these and one for a segment. */
const syncsAtOnce = 2;

export const syncData = promisify(fdatasync);

/** fsync of all of them. None of it goes on when it has ended, also when one of them failed. */
export async function syncAll(descriptors: readonly number[]): Promise<void> {
  const waiting = [...descriptors];
  const syncer = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await syncFile(next);
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(syncsAtOnce, waiting.length) }, syncer));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

/** Makes the names in `folders` last (fsync of a folder). */
export async function syncFolders(folders: Iterable<string>): Promise<void> {
  const descriptors: number[] = [];
  try {
    for (const folder of folders) descriptors.push(openSync(folder, 'r'));
    await syncAll(descriptors);
  } finally {
    for (const descriptor of descriptors) quietly(() => closeSync(descriptor));
  }
}

/** Makes `folder` if it is not there, and its parents. Gives the folders whose sync makes it last. */
export function makeFolder(folder: string): readonly string[] {
  const parent = dirname(folder);
  const above = existsSync(parent) ? [] : makeFolder(parent);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return [...above, parent];
}

/** For what is put away: how that ends is no news, an error is on its way or nothing depends on it. */
export function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}

/** One call after the other, in order; one that failed does not keep those after it. */
export function inTurn<Task, Result>(work: (task: Task) => Promise<Result>): (task: Task) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const done = last.then(() => work(task));
    last = done.catch(() => null);
    return done;
  };
}
