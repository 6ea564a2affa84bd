/**
 * Serialized session: a mutex around the calls of one IMAP session, so that the stages of a poll can share it.
 *
 * An IMAP connection does one thing at a time, while the stages run beside each other. A fetch holds the mutex from its
 * first row to its last, so its reader must not call the session in between. Closing does not wait: it ends any call.
 */
import { createMutex, type Mutex } from '../../async/mutex.ts';
import type { FetchedSource, Session } from '../ports.ts';

export function serialized(session: Session): Session {
  const mutex = createMutex();
  return {
    folder: session.folder,
    certificateEndsAtMs: session.certificateEndsAtMs,
    get endsInMs() {
      return session.endsInMs;
    },
    get listingFailure() {
      return session.listingFailure;
    },
    get hasMore() {
      return session.hasMore;
    },
    get supportsIdle() {
      return session.supportsIdle;
    },
    idle: (ms, stop) => mutex.run(() => session.idle(ms, stop)),
    listAbove: (uid) => mutex.run(() => session.listAbove(uid)),
    uidBefore: (atMs) => mutex.run(() => session.uidBefore(atMs)),
    sizes: (uids) => mutex.run(() => session.sizes(uids)),
    fetch: (uids) => fetchAlone(session, uids, mutex),
    fetchHeader: (uid, bytesMax) => mutex.run(() => session.fetchHeader(uid, bytesMax)),
    apply: (action, uids) => mutex.run(() => session.apply(action, uids)),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

async function* fetchAlone(session: Session, uids: readonly number[], mutex: Mutex): AsyncGenerator<FetchedSource> {
  const release = await mutex.acquire();
  try {
    yield* session.fetch(uids);
  } finally {
    release();
  }
}
