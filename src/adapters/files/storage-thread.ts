/**
 * Main-thread side of the storage thread: starts it with the first task or `prepare`, batches tasks, ends it with
 * `end`.
 *
 * Tasks of one event-loop turn travel in one message, and so do their results. When the thread dies (out of memory, a
 * defect), its pending tasks fail with the reason, and the next task starts a new thread. It keeps the process alive
 * only while tasks are pending.
 */
import { Worker } from 'node:worker_threads';
import { workerEnvironment } from '../../config/machine.ts';
import type {
  SegmentOffset,
  StorageFolders,
  StorageReply,
  StorageRequest,
  StorageResult,
  StorageTask,
} from './writers.ts';

export type StorageThread = {
  /** Starts the thread without waiting for it. Never throws: the first task reports the error. */
  readonly prepare: () => void;
  /**
   * Offset of the first appended source, or null. Rejects with the code of the file system, or of the thread's death.
   */
  readonly run: (task: StorageTask) => Promise<SegmentOffset | null>;
  /** Call when no task is pending. */
  readonly end: () => Promise<void>;
};

type PendingTask = {
  readonly task: StorageTask;
  readonly resolve: (start: SegmentOffset | null) => void;
  readonly reject: (error: unknown) => void;
};
type RunningThread = { readonly worker: Worker; readonly waiting: Map<number, readonly PendingTask[]> };

/** Limits of the V8 heap; the bytes of tasks are outside of it. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 };

export function createStorageThread(folders: StorageFolders): StorageThread {
  let thread: RunningThread | null = null;
  let pending: PendingTask[] = [];
  let count = 0;
  const started = (): RunningThread => {
    const starting = startThread(folders, () => {
      if (thread === starting) thread = null;
    });
    return starting;
  };
  const send = () => {
    const batch = pending;
    pending = [];
    count += 1;
    try {
      thread ??= started();
      sendTasks(thread, count, batch);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };
  return {
    prepare: () => {
      try {
        thread ??= started();
      } catch {
        // The first task tries again and reports the error.
      }
    },
    run: (task) => {
      const { promise, resolve, reject } = Promise.withResolvers<SegmentOffset | null>();
      pending.push({ task, resolve, reject });
      if (pending.length === 1) queueMicrotask(send);
      return promise;
    },
    end: async () => {
      await thread?.worker.terminate();
    },
  };
}

/** `onEnd` is called before the pending tasks are rejected. */
function startThread(folders: StorageFolders, onEnd: () => void): RunningThread {
  const worker = new Worker(new URL('./storage.worker.ts', import.meta.url), {
    name: 'storage',
    workerData: folders,
    env: workerEnvironment(),
    execArgv: [],
    resourceLimits,
  });
  const thread: RunningThread = { worker, waiting: new Map() };
  let reason: unknown = Object.assign(new Error('the storage thread ended'), { code: 'ERR_WORKER_NOT_RUNNING' });
  worker.on('message', (reply: StorageReply) => handleReply(thread, reply));
  worker.on('error', (error) => {
    reason = error;
  });
  worker.on('exit', () => {
    onEnd();
    for (const pending of thread.waiting.values()) for (const { reject } of pending) reject(reason);
  });
  worker.unref();
  return thread;
}

function sendTasks({ worker, waiting }: RunningThread, number: number, pending: readonly PendingTask[]): void {
  const tasks = pending.map(({ task }) => task);
  const request: StorageRequest = { number, tasks };
  worker.postMessage(request, tasks.flatMap(buffersOf));
  waiting.set(number, pending);
  worker.ref();
}

function buffersOf(task: StorageTask): readonly ArrayBuffer[] {
  return task.what === 'append'
    ? task.sources.map(({ buffer }) => buffer)
    : task.blobs.map(({ content }) => content.buffer);
}

function handleReply({ worker, waiting }: RunningThread, { number, results: ended }: StorageReply): void {
  const pending = waiting.get(number) ?? [];
  waiting.delete(number);
  if (waiting.size === 0) worker.unref();
  ended.forEach((end, index) => {
    const request = pending[index];
    if (request !== undefined) settle(request, end);
  });
}

function settle({ resolve, reject }: PendingTask, end: StorageResult): void {
  if (end.ok) resolve(end.start);
  else reject(Object.assign(new Error(end.message), { code: end.code }));
}
