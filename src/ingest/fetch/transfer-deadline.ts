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
  readonly limits: Pick<FetchLimits, 'batchTimeoutMs'>;
};

/** Runs `transfer`, which brings `messages`; none: an answer without content, such as sizes. */
export async function withTransferDeadline<T>(
  context: Transfer & { readonly isolation: Isolation },
  messages: readonly ListedMessage[],
  transfer: () => Promise<T>,
): Promise<T> {
  const { isolation } = context;
  const late = (): void => {
    isolation.attempt = { ...isolation.attempt, isTooSlow: true };
  };
  return await withDeadline(context, bytesOf(messages), patienceFor(isolation.state, messages), transfer, late);
}

/** Runs `transfer`, which brings `bytes`. `patience` multiplies the time; `late` is called before it throws. */
export async function withDeadline<T>(
  { limits, clock, session }: Transfer,
  bytes: number,
  patience: number,
  transfer: () => Promise<T>,
  late: () => void = () => undefined,
): Promise<T> {
  const done = new AbortController();
  const limitMs = patience * (limits.batchTimeoutMs + (1000 * bytes) / bytesPerSMin);
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
    late();
    const message = `The server is too slow: a batch of ${bytes} bytes did not arrive within ${Math.round(limitMs / 1000)} s.`;
    throw new Failure('server_timeout', message, { cause: error });
  } finally {
    done.abort();
    await deadline;
  }
}
