/**
 * Lets the stages of a poll share one session: each call waits for its turn.
 *
 * One IMAP connection does one thing at a time, while the stages run beside each other: the next window is fetched
 * while this one is stored and then marked as seen. A fetch has its turn from its first row to its last, so its reader
 * must not call the session in between.
 */
import type { Fetched, Session } from '../ports.ts';

type Turns = { readonly take: () => Promise<() => void> };

/** `session` with its calls in the order they were made. Closing takes no turn: it ends whatever is under way. */
export function inTurns(session: Session): Session {
  const turns = createTurns();
  const alone = async <T>(task: () => Promise<T>): Promise<T> => {
    const done = await turns.take();
    try {
      return await task();
    } finally {
      done();
    }
  };
  return {
    folder: session.folder,
    certificateEndsAtMs: session.certificateEndsAtMs,
    get canWatch() {
      return session.canWatch;
    },
    watch: (ms, stop) => alone(() => session.watch(ms, stop)),
    listAbove: (uid) => alone(() => session.listAbove(uid)),
    uidBefore: (atMs) => alone(() => session.uidBefore(atMs)),
    sizes: (uids) => alone(() => session.sizes(uids)),
    fetch: (uids) => fetchAlone(session, uids, turns),
    fetchHeader: (uid, bytesMax) => alone(() => session.fetchHeader(uid, bytesMax)),
    apply: (action, uids) => alone(() => session.apply(action, uids)),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

async function* fetchAlone(session: Session, uids: readonly number[], turns: Turns): AsyncGenerator<Fetched> {
  const done = await turns.take();
  try {
    yield* session.fetch(uids);
  } finally {
    done();
  }
}

function createTurns(): Turns {
  let last: Promise<void> = Promise.resolve();
  return {
    take: async () => {
      const before = last;
      const { promise, resolve } = Promise.withResolvers<void>();
      last = promise;
      await before;
      return resolve;
    },
  };
}
