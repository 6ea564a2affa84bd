/**
 * Hourly retry of messages that the server listed and would not deliver (`fetch_failed`): it may have been busy, or its
 * storage broken. A week later only `quarantine requeue` asks again.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../model.ts';
import { endpointKey, isServerFailure } from '../poll/server-failures.ts';
import type { MailboxStore, QuarantineStore } from '../stores.ts';
import { type ResolveResult, resolveOne, resultName } from './actions.ts';
import { quarantineId } from './read.ts';
import type { Resolver } from './resolve.ts';

type RetryPorts = {
  readonly store: Pick<QuarantineStore, 'quarantinedMessages' | 'discard' | 'undiscard'> &
    Pick<MailboxStore, 'listMailboxes'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly log: Log;
};

const retriedMsMax = 7 * 86_400_000;

/**
 * Runs once. `isMine`: this worker polls the mailbox. Only mailboxes whose polls succeed: no login is tried beside what
 * `pause` and the suspension of logins allow. Where a message fails as before, the rest of its mailbox waits for the
 * next hour; after a server failure all its mailboxes do. Never rejects.
 */
export async function retryUnfetched(
  ports: RetryPorts,
  resolve: Resolver['resolve'],
  isMine: (mailboxId: string) => boolean,
): Promise<void> {
  try {
    const mailboxes = (await ports.store.listMailboxes()).filter((one) => isPolled(one) && isMine(one.id));
    const waiting = new Map(mailboxes.map((mailbox) => [mailbox.id, mailbox]));
    for await (const message of ports.store.quarantinedMessages({ mailboxId: null, reason: 'fetch_failed' })) {
      const mailbox = waiting.get(message.mailboxId);
      const isOld = ports.clock.nowMs() - message.quarantinedAtMs > retriedMsMax;
      if (isOld || mailbox === undefined) continue;
      const result: ResolveResult = await resolveOne({ store: ports.store, resolve }, message, 'requeue');
      if (result.what === 'failed') {
        waiting.delete(mailbox.id);
        if (isServerFailure(result.failure)) removeServer(waiting, mailbox);
      } else if (result.what !== 'resolved')
        ports.log.info(
          { quarantine_id: quarantineId(message), action: 'requeue', result: resultName(result), by: 'retry' },
          events.quarantineResolved,
        );
    }
  } catch (error) {
    ports.log.warn({ error: asFailure(error) }, events.retentionFailed);
  }
}

function isPolled(mailbox: Mailbox & { readonly health: MailboxHealth }): boolean {
  const { failures, loginFailures } = mailbox.health;
  return mailbox.state === 'active' && !isInvalid(mailbox) && failures === 0 && loginFailures === 0;
}

function removeServer(waiting: Map<string, Mailbox>, { connection }: Mailbox): void {
  const server = endpointKey(connection);
  for (const [id, one] of waiting) if (endpointKey(one.connection) === server) waiting.delete(id);
}
