/**
 * A queue that hands what waits to a worker in portions, and takes turns between lanes.
 *
 * One task alone when nothing else waits, several of one lane together when they do; then the next lane has its turn,
 * so that who queues much, or what takes long, keeps nobody else waiting for more than one portion. Bounded by count
 * and bytes for a portion, and by portions under way at a time.
 */

export type QueueBounds<T> = {
  readonly runningMax: number;
  readonly countMax: number;
  readonly bytesMax: number;
  readonly bytesOf: (task: T) => number;
};

type Waiting<T, R> = {
  readonly task: T;
  readonly resolve: (result: Promise<R>) => void;
  readonly reject: (error: unknown) => void;
};

/** Gives a function that queues a task in a lane; `work` answers each task of a portion, in order. */
export function createQueue<T, R>(
  work: (portion: readonly T[]) => Promise<readonly Promise<R>[]>,
  bounds: QueueBounds<T>,
): (task: T, lane: string) => Promise<R> {
  // In the order of their turns; a lane without tasks is left out.
  const lanes = new Map<string, Waiting<T, R>[]>();
  let running = 0;
  const next = () => {
    const [lane, waiting] = lanes.entries().next().value ?? [null, null];
    if (running >= bounds.runningMax || waiting === null) return;
    running += 1;
    const portion = takePortion(waiting, bounds);
    lanes.delete(lane);
    if (waiting.length > 0) lanes.set(lane, waiting);
    void handOut(work, portion).finally(() => {
      running -= 1;
      next();
    });
    next();
  };
  return (task, lane) =>
    new Promise((resolve, reject) => {
      const waiting = lanes.get(lane);
      if (waiting === undefined) lanes.set(lane, [{ task, resolve, reject }]);
      else waiting.push({ task, resolve, reject });
      next();
    });
}

async function handOut<T, R>(
  work: (portion: readonly T[]) => Promise<readonly Promise<R>[]>,
  portion: readonly Waiting<T, R>[],
): Promise<void> {
  try {
    const results = await work(portion.map(({ task }) => task));
    for (const [index, { resolve, reject }] of portion.entries()) {
      const result = results[index];
      if (result === undefined) reject(new Error('a task of a portion was not answered'));
      else resolve(result);
    }
  } catch (error) {
    for (const { reject } of portion) reject(error);
  }
}

/** Takes from the front as many as the bounds allow, and one at least. */
function takePortion<T, R>(waiting: Waiting<T, R>[], bounds: QueueBounds<T>): readonly Waiting<T, R>[] {
  let count = 0;
  let bytes = 0;
  for (const { task } of waiting) {
    bytes += bounds.bytesOf(task);
    if (count === bounds.countMax || (count > 0 && bytes > bounds.bytesMax)) break;
    count += 1;
  }
  return waiting.splice(0, count);
}
