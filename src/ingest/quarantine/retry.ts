/**
 * Hourly retry of messages that the server listed and would not deliver (`fetch_failed`): it may have been busy, or its
 * storage broken. A week later only `quarantine requeue` asks again.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { QuarantineStore } from '../stores.ts';
import { type ResolveResult, resolveOne, resultName } from './actions.ts';
import { quarantineId } from './read.ts';
import type { Resolver } from './resolve.ts';

type RetryPorts = {
  readonly store: Pick<QuarantineStore, 'quarantinedMessages' | 'discard' | 'undiscard'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly log: Log;
};

const retriedMsMax = 7 * 86_400_000;

/**
 * Runs once. `isMine`: this worker polls the mailbox. Where a message fails as before, the rest of
 * its mailbox waits for the next hour. Never rejects.
 */
export async function retryUnfetched(
  ports: RetryPorts,
  resolve: Resolver['resolve'],
  isMine: (mailboxId: string) => boolean,
): Promise<void> {
  const failed = new Set<string>();
  try {
    for await (const message of ports.store.quarantinedMessages({ mailboxId: null, reason: 'fetch_failed' })) {
      const isOld = ports.clock.nowMs() - message.quarantinedAtMs > retriedMsMax;
      if (isOld || failed.has(message.mailboxId) || !isMine(message.mailboxId)) continue;
      const result: ResolveResult = await resolveOne({ store: ports.store, resolve }, message, 'requeue');
      if (result.what === 'failed') failed.add(message.mailboxId);
      else if (result.what !== 'resolved')
        ports.log.info(
          { quarantine_id: quarantineId(message), action: 'requeue', result: resultName(result), by: 'retry' },
          events.quarantineResolved,
        );
    }
  } catch (error) {
    ports.log.warn({ error: asFailure(error) }, events.retentionFailed);
  }
}
