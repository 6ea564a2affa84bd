/**
 * The storage thread as the main thread sees it: started when the first task comes, or is said to come soon; ended by
 * `end`.
 *
 * What is asked in the same turn goes there in one message and comes back in one, so that a window costs one of each.
 * When the thread dies (out of memory, a defect), what waits for it fails with the reason, and the next task starts another
 * one. It keeps the process alive only while somebody waits for it.
 */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Answered, Asked, Ended, Folders, Start, Task } from './writers.ts';

export type StorageThread = {
  /** Starts the thread, without waiting for it. Never throws: what is wrong is told to the first task. */
  readonly prepare: () => void;
  /** Where the sources of an append begin. Rejects with an error that has the code of the file system, or of the death. */
  readonly run: (task: Task) => Promise<Start | null>;
  /** To be called when nobody waits any more. */
  readonly end: () => Promise<void>;
};

type Asking = {
  readonly task: Task;
  readonly resolve: (start: Start | null) => void;
  readonly reject: (error: unknown) => void;
};
type Thread = { readonly worker: Worker; readonly waiting: Map<number, readonly Asking[]> };

/** Of what V8 manages: a task is small, its bytes lie outside. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 };

export function createStorageThread(folders: Folders): StorageThread {
  let thread: Thread | null = null;
  let asking: Asking[] = [];
  let count = 0;
  const started = (): Thread => {
    const starting = startThread(folders, () => {
      if (thread === starting) thread = null;
    });
    return starting;
  };
  const send = () => {
    const sending = asking;
    asking = [];
    count += 1;
    try {
      thread ??= started();
      ask(thread, count, sending);
    } catch (error) {
      for (const { reject } of sending) reject(error);
    }
  };
  return {
    prepare: () => {
      try {
        thread ??= started();
      } catch {
        // The first task tries again, and is told.
      }
    },
    run: (task) => {
      const { promise, resolve, reject } = Promise.withResolvers<Start | null>();
      asking.push({ task, resolve, reject });
      if (asking.length === 1) queueMicrotask(send);
      return promise;
    },
    end: async () => {
      await thread?.worker.terminate();
    },
  };
}

/** `onEnd` is called before those who wait are told. */
function startThread(folders: Folders, onEnd: () => void): Thread {
  const worker = new Worker(new URL('./storage.worker.ts', import.meta.url), {
    name: 'storage',
    workerData: folders,
    env: environment(),
    execArgv: [],
    resourceLimits,
  });
  const thread: Thread = { worker, waiting: new Map() };
  let reason: unknown = Object.assign(new Error('the storage thread ended'), { code: 'ERR_WORKER_NOT_RUNNING' });
  worker.on('message', (answered: Answered) => settle(thread, answered));
  worker.on('error', (error) => {
    reason = error;
  });
  worker.on('exit', () => {
    onEnd();
    for (const asking of thread.waiting.values()) for (const { reject } of asking) reject(reason);
  });
  worker.unref();
  return thread;
}

/** Nothing but where compiled code lies, if the process keeps any: a thread starts in a third of the time with it. */
function environment(): Readonly<Record<string, string>> {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}

function ask({ worker, waiting }: Thread, number: number, asking: readonly Asking[]): void {
  const tasks = asking.map(({ task }) => task);
  const asked: Asked = { number, tasks };
  worker.postMessage(asked, tasks.flatMap(buffersOf));
  waiting.set(number, asking);
  worker.ref();
}

function buffersOf(task: Task): readonly ArrayBuffer[] {
  return task.what === 'append'
    ? task.sources.map(({ buffer }) => buffer)
    : task.blobs.map(({ content }) => content.buffer);
}

function settle({ worker, waiting }: Thread, { number, ended }: Answered): void {
  const asking = waiting.get(number) ?? [];
  waiting.delete(number);
  if (waiting.size === 0) worker.unref();
  ended.forEach((end, index) => {
    const asked = asking[index];
    if (asked !== undefined) settleOne(asked, end);
  });
}

function settleOne({ resolve, reject }: Asking, end: Ended): void {
  if (end.ok) resolve(end.start);
  else reject(Object.assign(new Error(end.message), { code: end.code }));
}
