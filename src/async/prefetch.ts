/**
 * Works on the next value while the consumer is still busy with this one: the whole of the pipeline.
 *
 * At most one value is ready and waiting, so memory stays bounded. Ending early (break, throw) ends the source too.
 */

/**
 * The values of `source` in order; the next one is asked for before this one is handed out, or, where `waits` says so,
 * after the consumer is done with it. Errors come in order.
 */
export async function* readAhead<T>(source: AsyncGenerator<T>, waits: () => boolean = () => false): AsyncGenerator<T> {
  let next = watched(source.next());
  try {
    for (;;) {
      const current = await next;
      if (current.done === true) return;
      const isAhead = !waits();
      if (isAhead) next = watched(source.next());
      yield current.value;
      if (!isAhead) next = watched(source.next());
    }
  } finally {
    await next.catch(() => null);
    await source.return(undefined);
  }
}

/** One value at a time is between `enter` and `leave`; for those that are too large to be two. */
export type Gate = {
  /** Waits until the one before has left. False: nobody is let in any more. */
  readonly enter: () => Promise<boolean>;
  readonly leave: () => void;
  /** To be called when the consumer ends early, else who waits would wait for ever, and the consumer for him. */
  readonly close: () => void;
};

export function createGate(): Gate {
  let before: PromiseWithResolvers<void> | null = null;
  let isClosed = false;
  const leave = () => before?.resolve();
  return {
    enter: async () => {
      await before?.promise;
      if (isClosed) return false;
      before = Promise.withResolvers();
      return true;
    },
    leave,
    close: () => {
      isClosed = true;
      leave();
    },
  };
}

/** The same promise, marked as looked after: its rejection is seen where it is awaited, later, and not before. */
export function watched<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => null);
  return promise;
}
