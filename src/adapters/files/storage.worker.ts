/**
 * Storage worker thread: writes attachments and raw sources, and replies when they are durable (fsync).
 *
 * An error of the file system is a result; a defect ends the thread. Calls that only reach the page cache are
 * synchronous, which is cheaper and delays no other thread.
 */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { causeCode } from '../../errors.ts';
import type { StorageFolders, StorageReply, StorageRequest, StorageResult, StorageTask } from './writers.ts';
import { createBlobWriter, createSegmentWriter } from './writers.ts';

// The thread is terminated, so the cache is not written at exit.
flushCompileCache();

const folders: StorageFolders = workerData;
const writeBlobs = createBlobWriter(folders.blobs);
const append = createSegmentWriter(folders.raw);

async function run(task: StorageTask): Promise<StorageResult> {
  try {
    if (task.what === 'append') return { ok: true, start: await append(task) };
    await writeBlobs(task);
    return { ok: true, start: null };
  } catch (error) {
    return { ok: false, code: causeCode(error), message: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', async ({ number, tasks }: StorageRequest) => {
  const reply: StorageReply = { number, results: await Promise.all(tasks.map(run)) };
  parentPort?.postMessage(reply);
});

parentPort?.on('messageerror', (error) => {
  throw error;
});
