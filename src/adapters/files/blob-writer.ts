/**
 * Writes attachments, in the storage thread; see blobs.ts for what they are.
 *
 * All files of a task are written, then synced together, then renamed, then their folders are synced: who is told that
 * a task is done finds every blob of it after a crash. When one fails, no temporary file of the task stays. Throws what the
 * file system says.
 */
import { closeSync, openSync, readSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { release } from '../../async/buffer-pool.ts';
import { causeCode } from '../../errors.ts';
import type { BlobsTask } from './storage-tasks.ts';
import { inTurn, makeFolder, quietly, syncAll, syncFolders } from './sync.ts';

/** What is read at a time to compare. */
const pieceBytes = 256 * 1024;

/** A blob under its temporary name. */
type Draft = { readonly path: string; readonly temporary: string; readonly descriptor: number };

/** `lasting`: folders that this thread has synced, with the one above them. */
type Place = { readonly root: string; readonly lasting: Set<string> };

/** Blobs under `root`, which is made when the first one is written. The bytes of a task are freed. */
export function createBlobWriter(root: string): (task: BlobsTask) => Promise<void> {
  const place = { root, lasting: new Set<string>() };
  return inTurn(async (task) => {
    try {
      await writeAll(place, task);
    } finally {
      for (const { content } of task.blobs) release(content);
    }
  });
}

async function writeAll({ root, lasting }: Place, { id, blobs }: BlobsTask): Promise<void> {
  const drafts: Draft[] = [];
  const folders = new Set(blobs.map(({ sha256 }) => dirname(pathOf(root, sha256))));
  const toSync = new Set<string>();
  // What fails here leaves names in them that may not last.
  for (const folder of folders) if (!lasting.delete(folder)) toSync.add(root).add(folder);
  try {
    for (const { sha256, content } of blobs) {
      const path = pathOf(root, sha256);
      if (!touch(path, content)) {
        const draft = beginBlob(path, id, toSync);
        drafts.push(draft);
        writeFileSync(draft.descriptor, content);
      }
      release(content);
    }
    await syncAll(drafts.map(({ descriptor }) => descriptor));
    for (let draft = drafts.pop(); draft !== undefined; draft = drafts.pop()) finish(draft);
  } catch (error) {
    drafts.forEach(discard);
    throw error;
  }
  await syncFolders(toSync);
  for (const folder of folders) lasting.add(folder);
}

function pathOf(root: string, sha256: string): string {
  return join(root, sha256.slice(0, 2), sha256);
}

/** True when the whole blob is there, unharmed; its time is now, so that it is not taken for unused. */
function touch(path: string, content: Uint8Array): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.size !== content.length) return false;
  try {
    if (!holds(path, content)) return false;
    const now = new Date();
    utimesSync(path, now, now);
    return true;
  } catch (error) {
    // Housekeeping has just moved it away.
    if (causeCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Whether the file has these bytes, of which few are in memory twice. */
function holds(path: string, content: Uint8Array): boolean {
  const descriptor = openSync(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, content.length));
    for (let at = 0; at < content.length; ) {
      const count = readSync(descriptor, piece, 0, piece.length, at);
      if (count === 0 || !piece.subarray(0, count).equals(content.subarray(at, at + count))) return false;
      at += count;
    }
    return true;
  } finally {
    closeSync(descriptor);
  }
}

/** Makes the folder when it is not there: it is the first one in it, or somebody removed it meanwhile. */
function beginBlob(path: string, id: string, toSync: Set<string>): Draft {
  const folder = dirname(path);
  const temporary = `${path}.${id}.tmp`;
  const open = () => ({ path, temporary, descriptor: openSync(temporary, 'wx', 0o600) });
  toSync.add(folder);
  try {
    return open();
  } catch (error) {
    if (causeCode(error) !== 'ENOENT') throw error;
    for (const parent of makeFolder(folder)) toSync.add(parent);
    return open();
  }
}

function finish({ path, temporary, descriptor }: Draft): void {
  closeSync(descriptor);
  renameSync(temporary, path);
}

function discard({ temporary, descriptor }: Draft): void {
  quietly(() => closeSync(descriptor));
  quietly(() => rmSync(temporary, { force: true }));
}
