/**
 * Transfer deadline: the time that a mail server has for one answer, by the bytes that it announced.
 *
 * Without it a server that only drips would occupy its connection for hours. A message that was too slow before gets
 * more time (poison-message.ts). Throws `server_timeout`; the session is closed then.
 */
import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import type { ListedMessage, Session } from '../ports.ts';
import { bytesOf, type FetchLimits } from './batches.ts';
import { type Isolation, patienceFor } from './poison-message.ts';

/** The slowest rate accepted. */
const bytesPerSMin = 16 * 1024;

type Transfer = {
  readonly session: Pick<Session, 'close'>;
  readonly clock: Clock;
  readonly limits: FetchLimits;
  readonly isolation: Isolation;
};

/** Runs `transfer`, which brings `messages`; none: an answer without content, such as sizes. */
export async function withTransferDeadline<T>(
  { limits, isolation, clock, session }: Transfer,
  messages: readonly ListedMessage[],
  transfer: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const bytes = bytesOf(messages);
  const limitMs = patienceFor(isolation.state, messages) * (limits.batchTimeoutMs + (1000 * bytes) / bytesPerSMin);
  let isLate = false;
  const deadline = clock.sleep(limitMs, done.signal).then(async () => {
    if (done.signal.aborted) return;
    isLate = true;
    await session.close();
  });
  try {
    return await transfer();
  } catch (error) {
    if (!isLate) throw error;
    isolation.attempt = { ...isolation.attempt, isTooSlow: true };
    const message = `The server is too slow: a batch of ${bytes} bytes did not arrive within ${Math.round(limitMs / 1000)} s.`;
    throw new Failure('server_timeout', message, { cause: error });
  } finally {
    done.abort();
    await deadline;
  }
}
