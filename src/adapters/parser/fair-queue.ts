/**
 * A queue that hands what waits to a worker in portions, and takes turns between lanes.
 *
 * One task alone when nothing else waits, several of one lane together when they do; then the next lane has its turn,
 * so that who queues much, or what takes long, keeps nobody else waiting for more than one portion. Bounded by count
 * and bytes for a portion, and by portions under way at a time. A lane that expects more tasks at once waits for enough of
 * them, since every portion has its price.
 */

export type QueueBounds<T> = {
  readonly runningMax: number;
  readonly countMax: number;
  readonly bytesMax: number;
  /** So many tasks, or bytes, of a lane that expects more are worth a portion. */
  readonly countEnough: number;
  readonly bytesEnough: number;
  readonly bytesOf: (task: T) => number;
};

type Waiting<T, R> = {
  readonly task: T;
  readonly resolve: (result: Promise<R>) => void;
  readonly reject: (error: unknown) => void;
};

export type Queue<T, R> = {
  /** Resolves with the answer. `isFollowed`: the lane expects more, until `hurry`. */
  add(task: T, lane: string, isFollowed?: boolean): Promise<R>;
  /** Nothing follows in that lane: what waits is handed out. */
  hurry(lane: string): void;
};

type Lane<T, R> = { readonly waiting: Waiting<T, R>[]; bytes: number; isFollowed: boolean };

/** `work` answers each task of a portion, in order. */
export function createQueue<T, R>(
  work: (portion: readonly T[]) => Promise<readonly Promise<R>[]>,
  bounds: QueueBounds<T>,
): Queue<T, R> {
  // In the order of their turns; a lane without tasks is left out.
  const lanes = new Map<string, Lane<T, R>>();
  let running = 0;
  const isWorthIt = ({ waiting, bytes, isFollowed }: Lane<T, R>) =>
    !isFollowed || waiting.length >= bounds.countEnough || bytes >= bounds.bytesEnough;
  const next = () => {
    const [name, lane] = lanes.entries().find(([, one]) => isWorthIt(one)) ?? [null, null];
    if (running >= bounds.runningMax || lane === null) return;
    running += 1;
    const portion = takePortion(lane.waiting, bounds);
    lane.bytes -= bytesOf(portion, bounds);
    lanes.delete(name);
    if (lane.waiting.length > 0) lanes.set(name, lane);
    void handOut(work, portion).finally(() => {
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
        lane.bytes += bounds.bytesOf(task);
        lane.isFollowed = isFollowed;
        lanes.set(name, lane);
        next();
      }),
    hurry: (name) => {
      const lane = lanes.get(name);
      if (lane === undefined) return;
      lane.isFollowed = false;
      next();
    },
  };
}

function bytesOf<T, R>(tasks: readonly Waiting<T, R>[], bounds: QueueBounds<T>): number {
  return tasks.reduce((sum, { task }) => sum + bounds.bytesOf(task), 0);
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
