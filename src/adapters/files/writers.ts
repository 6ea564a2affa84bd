/**
 * Writes attachments, in the storage thread; see blobs.ts for what they are.
 *
 * All files of a task are written, then synced together, then renamed, then their folders are synced: who is told that
 * a task is done finds every blob of it after a crash. When one fails, no temporary file of the task stays. Throws what the
 * file system says.
 */

import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writevSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { detach } from '../../async/buffer-pool.ts';
import { createMutex } from '../../async/mutex.ts';
import { causeCode } from '../../errors.ts';

/** What is read at a time to compare. */
const pieceBytes = 256 * 1024;

/** A blob under its temporary name. */
type Draft = { readonly path: string; readonly temporary: string; readonly descriptor: number };

/** `lasting`: folders that this thread has synced, with the one above them. */
type Place = { readonly root: string; readonly lasting: Set<string> };

/** Blobs under `root`, which is made when the first one is written. The bytes of a task are freed. */
export function createBlobWriter(root: string): (task: BlobsTask) => Promise<void> {
  const place = { root, lasting: new Set<string>() };
  return serialized(async (task) => {
    try {
      await writeAll(place, task);
    } finally {
      for (const { content } of task.blobs) detach(content);
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
      detach(content);
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

/**
 * Appends raw sources to the segment of the day, in the storage thread; see segments.ts for what a segment is.
 *
 * Appends go one after the other, each with one write and one fdatasync. After one that failed, the file is left as it is
 * and a new one is begun; so it is when somebody took the file away, which an open file does not tell by itself. Throws what
 * the file system says.
 */

type Segment = { readonly name: string; readonly day: string; readonly descriptor: number; endOffset: number };

/** Segments in `folder`, which is made when the first source comes. The bytes of a task are freed. */
export function createSegmentWriter(folder: string): (task: AppendTask) => Promise<Start> {
  let current: Segment | null = null;
  const close = () => {
    const closing = current;
    current = null;
    // All that was told to be in it is on the disk.
    if (closing !== null) quietly(() => closeSync(closing.descriptor));
  };
  return serialized(async (task) => {
    try {
      if (current?.day !== task.day || !isInPlace(folder, current)) close();
      current ??= await beginSegment(folder, task);
      const start = await write(current, task.sources);
      if (!isInPlace(folder, current)) throw Object.assign(new Error('removed meanwhile'), { code: 'ENOENT' });
      return start;
    } catch (error) {
      close();
      throw error;
    } finally {
      for (const source of task.sources) detach(source);
    }
  });
}

/** Whether the name still leads to the file that is open. */
function isInPlace(folder: string, { name, descriptor }: Segment): boolean {
  const open = fstatSync(descriptor);
  const named = statSync(join(folder, name), { throwIfNoEntry: false });
  return named?.ino === open.ino && named.dev === open.dev;
}

async function beginSegment(folder: string, { day, id }: AppendTask): Promise<Segment> {
  const above = makeFolder(folder);
  const name = `${day}-${id}.zst`;
  const descriptor = openSync(join(folder, name), 'ax', 0o600);
  try {
    await syncFolders([folder, ...above]);
  } catch (error) {
    quietly(() => closeSync(descriptor));
    throw error;
  }
  return { name, day, descriptor, endOffset: 0 };
}

async function write(segment: Segment, sources: readonly Bytes[]): Promise<Start> {
  const start = { segment: segment.name, offset: segment.endOffset };
  const total = sources.reduce((sum, { length }) => sum + length, 0);
  // A short write is an error, because the offsets would be wrong.
  if (writevSync(segment.descriptor, sources as Bytes[]) !== total)
    throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
  for (const source of sources) detach(source);
  await syncData(segment.descriptor);
  segment.endOffset += total;
  return start;
}

/**
 * What the storage thread has in common for its files: folders that last, waiting for the disk, one after the other.
 *
 * Only what waits for the disk (fsync) is asynchronous: it goes on in other threads, several files at a time. Throws what
 * the file system says.
 */

const syncFile = promisify(fsync);

/** Node has four threads for files and names of hosts: one is left when the disk hangs with these and one for a segment. */
const syncsAtOnce = 2;

const syncData = promisify(fdatasync);

/** fsync of all of them. None of it goes on when it has ended, also when one of them failed. */
async function syncAll(descriptors: readonly number[]): Promise<void> {
  const waiting = [...descriptors];
  const syncer = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await syncFile(next);
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(syncsAtOnce, waiting.length) }, syncer));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

/** Makes the names in `folders` last (fsync of a folder). */
async function syncFolders(folders: Iterable<string>): Promise<void> {
  const descriptors: number[] = [];
  try {
    for (const folder of folders) descriptors.push(openSync(folder, 'r'));
    await syncAll(descriptors);
  } finally {
    for (const descriptor of descriptors) quietly(() => closeSync(descriptor));
  }
}

/** Makes `folder` if it is not there, and its parents. Gives the folders whose sync makes it last. */
function makeFolder(folder: string): readonly string[] {
  const parent = dirname(folder);
  const above = existsSync(parent) ? [] : makeFolder(parent);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return [...above, parent];
}

/** For what is put away: how that ends is no news, an error is on its way or nothing depends on it. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}

/** One call after the other, in order. */
function serialized<Task, Result>(work: (task: Task) => Promise<Result>): (task: Task) => Promise<Result> {
  const mutex = createMutex();
  return (task) => mutex.run(() => work(task));
}

/**
 * What the main thread and the storage thread say to each other: plain data that a message can carry.
 *
 * Bytes lie in buffers of their own, which are moved there; the thread frees them when they are written.
 */

type Bytes = Uint8Array<ArrayBuffer>;

export type Folders = { readonly blobs: string; readonly raw: string };

/** Attachments, each once. `id` is for temporary names that nobody else has. */
type BlobsTask = {
  readonly what: 'blobs';
  readonly id: string;
  readonly blobs: readonly { readonly sha256: string; readonly content: Bytes }[];
};

/** Compressed sources, to lie one after the other in the segment of `day`; `id` names a new one. */
type AppendTask = {
  readonly what: 'append';
  readonly id: string;
  readonly day: string;
  readonly sources: readonly Bytes[];
};

export type Task = BlobsTask | AppendTask;

/** Where the first of the appended sources begins. */
export type Start = { readonly segment: string; readonly offset: number };

/** `code` is that of the file system. */
export type Ended =
  | { readonly ok: true; readonly start: Start | null }
  | { readonly ok: false; readonly code: string; readonly message: string };

export type Asked = { readonly number: number; readonly tasks: readonly Task[] };

/** One end for each task, in order. */
export type Answered = { readonly number: number; readonly ended: readonly Ended[] };
