/**
 * The files of the data folder: attachments (`blobs/`) and raw sources (`raw/`), written by one thread beside the main
 * one.
 *
 * Disposing lets what is under way come to its end, then ends the thread; what comes later is refused as `interrupted`.
 */
import { join } from 'node:path';
import { Failure } from '../../errors.ts';
import type { Blobs, RawSources } from '../../ingest/ports.ts';
import { createBlobs } from './blobs.ts';
import { createRawSources } from './segments.ts';
import { createStorageThread } from './storage-thread.ts';

export type Storage = {
  readonly blobs: Blobs;
  readonly raw: RawSources;
  /** Files come soon: the thread is started now, and not waited for. Never throws. */
  readonly prepare: () => void;
} & AsyncDisposable;

/** The thread starts when the first file comes, or `prepare` is called. `newId` makes names that no other worker has. */
export function createStorage(dataDir: string, clock: { nowMs(): number }, newId: () => string): Storage {
  const folders = { blobs: join(dataDir, 'blobs'), raw: join(dataDir, 'raw') };
  const thread = createStorageThread(folders);
  const blobs = createBlobs(folders.blobs, newId, thread);
  const raw = createRawSources(folders.raw, { clock, newId }, thread);
  const running = new Set<Promise<unknown>>();
  let isOver = false;
  const followed = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isOver) throw new Failure('interrupted', 'the files are closed');
    const done = work();
    running.add(done);
    try {
      return await done;
    } finally {
      running.delete(done);
    }
  };
  return {
    blobs: { ...blobs, write: (given) => followed(() => blobs.write(given)) },
    raw: { ...raw, append: (sources) => followed(() => raw.append(sources)) },
    prepare: () => {
      if (!isOver) thread.prepare();
    },
    [Symbol.asyncDispose]: async () => {
      isOver = true;
      await Promise.allSettled(running);
      await thread.end();
    },
  };
}
