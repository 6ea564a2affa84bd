/**
 * Promise mutex: critical sections run one at a time, in the order of their calls; a failed one does not block the
 * next.
 */

export interface Mutex {
  /** Runs `task` once all earlier holders are done. Resolves and rejects as `task` does. */
  run<T>(task: () => Promise<T>): Promise<T>;
  /** For a critical section that is not one function: resolves with its end. Call that exactly once. */
  acquire(): Promise<() => void>;
}

export function createMutex(): Mutex {
  let last: Promise<void> = Promise.resolve();
  const acquire = async (): Promise<() => void> => {
    const before = last;
    const { promise, resolve } = Promise.withResolvers<void>();
    last = promise;
    await before;
    return resolve;
  };
  return {
    acquire,
    async run(task) {
      const release = await acquire();
      try {
        return await task();
      } finally {
        release();
      }
    },
  };
}
