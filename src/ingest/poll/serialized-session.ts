/**
 * Serialized session: a mutex around the calls of one IMAP session, so that the stages of a poll can share it.
 *
 * An IMAP connection does one thing at a time, while the stages run beside each other. A fetch holds the mutex from its
 * first row to its last, so its reader must not call the session in between. Closing does not wait: it ends any call.
 * A preempted session is closed, and its calls throw `interrupted`, which says nothing about server and messages.
 */
import { createMutex } from '../../async/mutex.ts';
import { Failure } from '../../errors.ts';
import type { Session } from '../ports.ts';

/** `preempted`: closes the session when it fires. */
export function serialized(session: Session, preempted?: AbortSignal): Session {
  const mutex = createMutex();
  const run = <T>(call: () => Promise<T>): Promise<T> => mutex.run(() => call().catch(thrown(preempted)));
  preempted?.addEventListener('abort', () => void session.close(), { once: true });
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
    idle: (ms, stop) => run(() => session.idle(ms, stop)),
    verify: () => session.verify(),
    listAbove: (uid) => run(() => session.listAbove(uid)),
    uidBefore: (atMs) => run(() => session.uidBefore(atMs)),
    sizes: (uids) => run(() => session.sizes(uids)),
    identify: (uids) => run(() => session.identify(uids)),
    fetch: async function* (uids) {
      const release = await mutex.acquire();
      try {
        yield* session.fetch(uids);
      } catch (error) {
        thrown(preempted)(error);
      } finally {
        release();
      }
    },
    fetchHeader: (uid, bytesMax) => run(() => session.fetchHeader(uid, bytesMax)),
    apply: (action, uids, isRepeat) => run(() => session.apply(action, uids, isRepeat)),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

/** Throws what a call has thrown; `interrupted` once the session was closed for others. */
function thrown(preempted?: AbortSignal): (error: unknown) => never {
  return (error) => {
    if (preempted?.aborted === true) throw new Failure('interrupted', 'other mailboxes wait', { cause: error });
    throw error;
  };
}
