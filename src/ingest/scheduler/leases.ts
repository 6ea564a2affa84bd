/**
 * Keeps the leases of this process while its visits last, and takes over what dead processes of this machine left behind.
 *
 * All leases are prolonged together, three times in their length, which is asked anew each time. Losing one is told by a signal; what is written after that
 * is refused by the fence in the database anyway. A database that cannot be reached is no loss: the lease runs until
 * its end, and the fence decides.
 */
import type { Clock } from '../../async/clock.ts';
import { isFailure } from '../../errors.ts';
import { events } from '../../events.ts';
import type { Leases, PollPorts } from '../poll/poll-context.ts';
import type { IngestStore, Lease, MailboxStore } from '../stores.ts';

export function createLeases(
  ports: { readonly clock: Clock; readonly store: Pick<IngestStore, 'renewLeases'> },
  leaseMs: () => number,
): Leases {
  const held = new Map<Lease, AbortController>();
  let renewing: AbortController | null = null;

  const renew = async (): Promise<void> => {
    const leases = [...held.keys()];
    try {
      for (const lease of await ports.store.renewLeases(leases, leaseMs())) held.get(lease)?.abort();
    } catch (error) {
      // The next turn tries again.
      if (!isFailure(error)) throw error;
    }
  };

  const turn = async (ended: AbortSignal): Promise<void> => {
    while (!ended.aborted) {
      await ports.clock.sleep(leaseMs() / 3, ended);
      if (!ended.aborted) await renew();
    }
  };

  return {
    keep: (lease) => {
      const lost = new AbortController();
      held.set(lease, lost);
      if (renewing === null) {
        renewing = new AbortController();
        void turn(renewing.signal);
      }
      return {
        lost: lost.signal,
        [Symbol.dispose]: () => {
          held.delete(lease);
          if (held.size > 0) return;
          renewing?.abort();
          renewing = null;
        },
      };
    },
  };
}

/**
 * Frees every mailbox whose lease nobody uses: its owner was a process of this machine that is gone, or we are its
 * owner and could not let go of it because the database was away. `isVisited` says where we are at work.
 */
export async function recoverLeases(
  ports: Pick<PollPorts, 'workers' | 'log'> & { readonly store: IngestStore & Pick<MailboxStore, 'leasedMailboxes'> },
  isVisited: (mailboxId: string) => boolean,
): Promise<void> {
  const { store, workers, log } = ports;
  for (const { id, name, owner } of await store.leasedMailboxes()) {
    const isOurs = owner === workers.me && !isVisited(id);
    if (!(isOurs || workers.isDead(owner))) continue;
    await store.freeLease(id, owner);
    log.info({ mailbox: name, worker: owner }, events.leaseRecovered);
  }
}
