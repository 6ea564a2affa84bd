/**
 * Prefetch of depth one: a pipeline stage requests its next value while the consumer still works on the current one.
 *
 * At most one value is ready and waiting, so memory stays bounded. Ending early (break, throw) ends the source too.
 */

/**
 * The values and errors of `source`, in order. The next value is requested before the current one is handed out or,
 * where `waits` returns true, after the consumer is done with it.
 */
export async function* prefetch<T>(source: AsyncGenerator<T>, waits: () => boolean = () => false): AsyncGenerator<T> {
  let next = rejectionObservedLater(source.next());
  try {
    for (;;) {
      const current = await next;
      if (current.done === true) return;
      const isAhead = !waits();
      if (isAhead) next = rejectionObservedLater(source.next());
      yield current.value;
      if (!isAhead) next = rejectionObservedLater(source.next());
    }
  } finally {
    await next.catch(() => null);
    await source.return(undefined);
  }
}

/** Gate with one slot: a single value at a time is between `enter` and `leave`, for values too large to hold two of. */
export type Gate = {
  /** Waits until the one before has left. False: the gate was closed. */
  readonly enter: () => Promise<boolean>;
  readonly leave: () => void;
  /** Call when the consumer ends early: a producer that waits in `enter` would otherwise wait forever. */
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

/**
 * The same promise with a rejection handler attached: it is awaited later and must not count as unhandled until then.
 */
export function rejectionObservedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => null);
  return promise;
}
