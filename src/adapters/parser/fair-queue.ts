/**
 * Fair queue: round-robin between lanes, in batches bounded by count and bytes, with a limit of concurrent batches.
 *
 * No lane waits longer than one batch of each other lane. A lane that expects more tasks waits until a batch is worth
 * its cost, or until `flush`.
 */

export type FairQueueLimits<T> = {
  readonly runningMax: number;
  readonly countMax: number;
  readonly bytesMax: number;
  /** Tasks, or bytes, that are worth a batch of a lane that expects more. */
  readonly countEnough: number;
  readonly bytesEnough: number;
  readonly bytesOf: (task: T) => number;
};

type QueuedTask<T, R> = {
  readonly task: T;
  readonly resolve: (result: Promise<R>) => void;
  readonly reject: (error: unknown) => void;
};

export type FairQueue<T, R> = {
  /** Resolves with the result. `isFollowed`: the lane expects more, until `flush`. */
  add(task: T, lane: string, isFollowed?: boolean): Promise<R>;
  /** Nothing follows in that lane: its queued tasks are due. */
  flush(lane: string): void;
};

type QueueLane<T, R> = { readonly waiting: QueuedTask<T, R>[]; bytes: number; isFollowed: boolean };

/** `work` returns one result per task of a batch, in order. */
export function createFairQueue<T, R>(
  work: (batch: readonly T[]) => Promise<readonly Promise<R>[]>,
  limits: FairQueueLimits<T>,
): FairQueue<T, R> {
  // In round-robin order; empty lanes are absent.
  const lanes = new Map<string, QueueLane<T, R>>();
  let running = 0;
  const isDue = ({ waiting, bytes, isFollowed }: QueueLane<T, R>) =>
    !isFollowed || waiting.length >= limits.countEnough || bytes >= limits.bytesEnough;
  const next = () => {
    const [name, lane] = lanes.entries().find(([, one]) => isDue(one)) ?? [null, null];
    if (running >= limits.runningMax || lane === null) return;
    running += 1;
    const batch = takeBatch(lane.waiting, limits);
    lane.bytes -= bytesOf(batch, limits);
    lanes.delete(name);
    if (lane.waiting.length > 0) lanes.set(name, lane);
    void runBatch(work, batch).finally(() => {
      running -= 1;
      next();
    });
    next();
  };
  return {
    add: (task, name, isFollowed = false) =>
      new Promise((resolve, reject) => {
        const lane = lanes.get(name) ?? { waiting: [], bytes: 0, isFollowed };
        lane.waiting.push({ task, resolve, reject });
        lane.bytes += limits.bytesOf(task);
        lane.isFollowed = isFollowed;
        lanes.set(name, lane);
        next();
      }),
    flush: (name) => {
      const lane = lanes.get(name);
      if (lane === undefined) return;
      lane.isFollowed = false;
      next();
    },
  };
}

function bytesOf<T, R>(tasks: readonly QueuedTask<T, R>[], limits: FairQueueLimits<T>): number {
  return tasks.reduce((sum, { task }) => sum + limits.bytesOf(task), 0);
}

async function runBatch<T, R>(
  work: (batch: readonly T[]) => Promise<readonly Promise<R>[]>,
  batch: readonly QueuedTask<T, R>[],
): Promise<void> {
  try {
    const results = await work(batch.map(({ task }) => task));
    for (const [index, { resolve, reject }] of batch.entries()) {
      const result = results[index];
      if (result === undefined) reject(new Error('a task of a batch has no result'));
      else resolve(result);
    }
  } catch (error) {
    for (const { reject } of batch) reject(error);
  }
}

/** Takes from the front as many as the limits allow, at least one. */
function takeBatch<T, R>(waiting: QueuedTask<T, R>[], limits: FairQueueLimits<T>): readonly QueuedTask<T, R>[] {
  let count = 0;
  let bytes = 0;
  for (const { task } of waiting) {
    bytes += limits.bytesOf(task);
    if (count === limits.countMax || (count > 0 && bytes > limits.bytesMax)) break;
    count += 1;
  }
  return waiting.splice(0, count);
}
