/**
 * The time that a server has for what it is asked for, by what is to come: one that only drips would hold its place for
 * hours.
 */
import { Failure } from '../errors.ts';
import type { Arriving } from './arrivals.ts';
import type { Listed } from './ports.ts';

/** A server slower than this is given up. */
const bytesPerSMin = 16 * 1024;

/** Ends the session when `fetching`, of these mails, takes longer than the slowest server that is put up with. */
export async function inTime<T>(from: Arriving, mails: readonly Listed[], fetching: () => Promise<T>): Promise<T> {
  const { limits, narrowing, clock, session } = from;
  const done = new AbortController();
  const bytes = bytesOf(mails);
  const [first, ...more] = mails;
  const patience = first === undefined || more.length > 0 ? 1 : narrowing.patienceFor(first.uid);
  const limitMs = patience * (limits.windowMs + (1000 * bytes) / bytesPerSMin);
  let isLate = false;
  const watch = clock.sleep(limitMs, done.signal).then(async () => {
    if (done.signal.aborted) return;
    isLate = true;
    await session.close();
  });
  try {
    return await fetching();
  } catch (error) {
    if (!isLate) throw error;
    narrowing.isLate();
    const message = `The server is too slow: a window of ${bytes} bytes did not come within ${Math.round(limitMs / 1000)} s.`;
    throw new Failure('server_timeout', message, { cause: error });
  } finally {
    done.abort();
    await watch;
  }
}

export function bytesOf(mails: readonly Listed[]): number {
  return mails.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
