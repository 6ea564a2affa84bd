/**
 * Runs in a worker thread: attachments and raw sources in, told when they are on the disk.
 *
 * What the file system refuses is an answer; what is a defect of ours ends the thread. Calls that only touch memory of the
 * system are synchronous: they are cheaper so, and nobody but the storage waits for this thread.
 */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { causeCode } from '../../errors.ts';
import type { Answered, Asked, Ended, Folders, Task } from './writers.ts';
import { createBlobWriter, createSegmentWriter } from './writers.ts';

// Threads are ended, and do not come to the end where it would be written.
flushCompileCache();

const folders: Folders = workerData;
const writeBlobs = createBlobWriter(folders.blobs);
const append = createSegmentWriter(folders.raw);

async function endOf(task: Task): Promise<Ended> {
  try {
    if (task.what === 'append') return { ok: true, start: await append(task) };
    await writeBlobs(task);
    return { ok: true, start: null };
  } catch (error) {
    return { ok: false, code: causeCode(error), message: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', async ({ number, tasks }: Asked) => {
  const answered: Answered = { number, ended: await Promise.all(tasks.map(endOf)) };
  parentPort?.postMessage(answered);
});

parentPort?.on('messageerror', (error) => {
  throw error;
});
