/**
 * Durable writers of the storage thread: blobs by write, fsync, rename and fsync of the folder; segments by append.
 *
 * A task that is done survives a crash as a whole. Only fsync is asynchronous: it runs in other threads, several files
 * at a time. Throws the errors of the file system.
 */

import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsync,
  lstatSync,
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
import { blobPath, segmentName } from './names.ts';

/** Bytes compared at a time. */
const chunkBytes = 256 * 1024;

/** A blob that is not yet renamed. */
type TemporaryBlob = { readonly path: string; readonly temporary: string; readonly descriptor: number };

/** `durable`: folders that this thread has synced, with their parents. */
type BlobFolder = { readonly root: string; readonly durable: Set<string> };

/**
 * Writer of blobs under `root`, which is created with the first one. An existing blob is only touched, which protects
 * it from the purge of unused ones. When one fails, the temporary files of its task are removed. The bytes of a task
 * are freed.
 */
export function createBlobWriter(root: string): (task: BlobsTask) => Promise<void> {
  const place = { root, durable: new Set<string>() };
  return serialized(async (task) => {
    try {
      await writeAll(place, task);
    } finally {
      for (const { content } of task.blobs) detach(content);
    }
  });
}

async function writeAll({ root, durable }: BlobFolder, { id, blobs }: BlobsTask): Promise<void> {
  const temporaries: TemporaryBlob[] = [];
  const folders = new Set(blobs.map(({ sha256 }) => dirname(pathOf(root, sha256))));
  const toSync = new Set<string>();
  // After a failure their new names may not be durable.
  for (const folder of folders) if (!durable.delete(folder)) toSync.add(root).add(folder);
  try {
    for (const { sha256, content } of blobs) {
      const path = pathOf(root, sha256);
      if (!touch(path, content)) {
        const draft = createTemporary(path, id, toSync);
        temporaries.push(draft);
        writeFileSync(draft.descriptor, content);
      }
      detach(content);
    }
    await syncAll(temporaries.map(({ descriptor }) => descriptor));
    for (let draft = temporaries.pop(); draft !== undefined; draft = temporaries.pop()) publish(draft);
  } catch (error) {
    temporaries.forEach(discard);
    throw error;
  }
  await syncFolders(toSync);
  for (const folder of folders) durable.add(folder);
}

function pathOf(root: string, sha256: string): string {
  const path = blobPath(root, sha256);
  if (path === null) throw new Error('not the SHA-256 of a blob');
  return path;
}

/** True when the blob exists with this content; sets its time to now, so that it does not count as unused. */
function touch(path: string, content: Uint8Array): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || !found.isFile() || found.size !== content.length) return false;
  try {
    if (!hasContent(path, content)) return false;
    const now = new Date();
    utimesSync(path, now, now);
    return true;
  } catch (error) {
    // The purge has just renamed it.
    if (causeCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Compares in chunks, to bound the memory. */
function hasContent(path: string, content: Uint8Array): boolean {
  const descriptor = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, content.length));
    for (let at = 0; at < content.length; ) {
      const count = readSync(descriptor, chunk, 0, chunk.length, at);
      if (count === 0 || !chunk.subarray(0, count).equals(content.subarray(at, at + count))) return false;
      at += count;
    }
    return true;
  } finally {
    closeSync(descriptor);
  }
}

/** Creates the folder when it is missing. */
function createTemporary(path: string, id: string, toSync: Set<string>): TemporaryBlob {
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

function publish({ path, temporary, descriptor }: TemporaryBlob): void {
  closeSync(descriptor);
  renameSync(temporary, path);
}

function discard({ temporary, descriptor }: TemporaryBlob): void {
  ignoreErrors(() => closeSync(descriptor));
  ignoreErrors(() => rmSync(temporary, { force: true }));
}

type OpenSegment = { readonly name: string; readonly day: string; readonly descriptor: number; endOffset: number };

/**
 * Writer of segments in `folder`, which is created with the first source. Appends are serialized, each with one write
 * and one fdatasync. After a failed append, and when the file was removed, a new segment is created, so that offsets
 * are never wrong. The bytes of a task are freed.
 */
export function createSegmentWriter(folder: string): (task: AppendTask) => Promise<SegmentOffset> {
  let current: OpenSegment | null = null;
  const close = () => {
    const closing = current;
    current = null;
    // All that was confirmed is on the disk.
    if (closing !== null) ignoreErrors(() => closeSync(closing.descriptor));
  };
  return serialized(async (task) => {
    try {
      if (current?.day !== task.day || !isInPlace(folder, current)) close();
      current ??= await createSegment(folder, task);
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

/** True when the name still refers to the open file. */
function isInPlace(folder: string, { name, descriptor }: OpenSegment): boolean {
  const open = fstatSync(descriptor);
  const named = statSync(join(folder, name), { throwIfNoEntry: false });
  return named?.ino === open.ino && named.dev === open.dev;
}

async function createSegment(folder: string, { day, id }: AppendTask): Promise<OpenSegment> {
  const above = makeFolder(folder);
  const name = segmentName(day, id);
  const descriptor = openSync(join(folder, name), 'ax', 0o600);
  try {
    await syncFolders([folder, ...above]);
  } catch (error) {
    ignoreErrors(() => closeSync(descriptor));
    throw error;
  }
  return { name, day, descriptor, endOffset: 0 };
}

async function write(segment: OpenSegment, sources: readonly OwnedBytes[]): Promise<SegmentOffset> {
  const start = { segment: segment.name, offset: segment.endOffset };
  const total = sources.reduce((sum, { length }) => sum + length, 0);
  // A short write is an error, because the offsets would be wrong.
  if (writevSync(segment.descriptor, sources as OwnedBytes[]) !== total)
    throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
  for (const source of sources) detach(source);
  await syncData(segment.descriptor);
  segment.endOffset += total;
  return start;
}

const syncFile = promisify(fsync);

/** libuv has four threads for files and DNS: one is free while the disk hangs with these and one for a segment. */
const syncConcurrencyMax = 2;

const syncData = promisify(fdatasync);

/** fsync of all. When it ends, also with a failure, no fsync is in progress. */
async function syncAll(descriptors: readonly number[]): Promise<void> {
  const waiting = [...descriptors];
  const syncer = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await syncFile(next);
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(syncConcurrencyMax, waiting.length) }, syncer));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

/** Makes the names in `folders` durable (fsync of a folder). */
async function syncFolders(folders: Iterable<string>): Promise<void> {
  const descriptors: number[] = [];
  try {
    for (const folder of folders) descriptors.push(openSync(folder, 'r'));
    await syncAll(descriptors);
  } finally {
    for (const descriptor of descriptors) ignoreErrors(() => closeSync(descriptor));
  }
}

/** Creates `folder` and its parents where missing; returns the folders to sync for that. */
function makeFolder(folder: string): readonly string[] {
  const parent = dirname(folder);
  const above = existsSync(parent) ? [] : makeFolder(parent);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return [...above, parent];
}

/** For cleanup, whose errors do not matter: another error is thrown, or nothing depends on it. */
function ignoreErrors(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}

/** Serializes the calls of `work`. */
function serialized<Task, Result>(work: (task: Task) => Promise<Result>): (task: Task) => Promise<Result> {
  const mutex = createMutex();
  return (task) => mutex.run(() => work(task));
}

// Messages between main thread and storage thread. Buffers are transferred; the thread frees them after writing.

type OwnedBytes = Uint8Array<ArrayBuffer>;

export type StorageFolders = { readonly blobs: string; readonly raw: string };

/** Attachments, each once. `id` makes the temporary names unique. */
type BlobsTask = {
  readonly what: 'blobs';
  readonly id: string;
  readonly blobs: readonly { readonly sha256: string; readonly content: OwnedBytes }[];
};

/** Compressed sources to append to the segment of `day`; `id` names a new segment. */
type AppendTask = {
  readonly what: 'append';
  readonly id: string;
  readonly day: string;
  readonly sources: readonly OwnedBytes[];
};

export type StorageTask = BlobsTask | AppendTask;

/** Offset of the first appended source. */
export type SegmentOffset = { readonly segment: string; readonly offset: number };

/** `code`: of the file system. */
export type StorageResult =
  | { readonly ok: true; readonly start: SegmentOffset | null }
  | { readonly ok: false; readonly code: string; readonly message: string };

export type StorageRequest = { readonly number: number; readonly tasks: readonly StorageTask[] };

/** One result per task, in order. */
export type StorageReply = { readonly number: number; readonly results: readonly StorageResult[] };
