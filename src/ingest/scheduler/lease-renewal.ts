/**
 * Lease renewal: all leases of this process are renewed together, three times within their length, while their polls
 * last.
 *
 * The loss of a lease fires a signal; writes after that are refused by the fencing token in the database anyway. An
 * unreachable database loses no lease: it stays valid until it expires.
 */
import type { Clock } from '../../async/clock.ts';
import { isFailure } from '../../errors.ts';
import { events } from '../../events.ts';
import type { Leases, PollPorts } from '../poll/poll-context.ts';
import type { IngestStore, Lease, MailboxStore } from '../stores.ts';

/** `leaseMs` is read on every renewal. */
export function createLeases(
  ports: { readonly clock: Clock; readonly store: Pick<IngestStore, 'renewLeases'> },
  leaseMs: () => number,
): Leases {
  const renewed = new Map<Lease, AbortController>();
  let renewing: AbortController | null = null;

  const renew = async (): Promise<void> => {
    const leases = [...renewed.keys()];
    try {
      for (const lease of await ports.store.renewLeases(leases, leaseMs())) renewed.get(lease)?.abort();
    } catch (error) {
      // The next renewal tries again.
      if (!isFailure(error)) throw error;
    }
  };

  const renewUntil = async (ended: AbortSignal): Promise<void> => {
    while (!ended.aborted) {
      await ports.clock.sleep(leaseMs() / 3, ended);
      if (!ended.aborted) await renew();
    }
  };

  return {
    autoRenew: (lease) => {
      const lost = new AbortController();
      renewed.set(lease, lost);
      if (renewing === null) {
        renewing = new AbortController();
        void renewUntil(renewing.signal);
      }
      return {
        lost: lost.signal,
        [Symbol.dispose]: () => {
          renewed.delete(lease);
          if (renewed.size > 0) return;
          renewing?.abort();
          renewing = null;
        },
      };
    },
  };
}

/**
 * Reclaims leases whose owner cannot use them: a dead process of this machine, or this process where no poll of it uses
 * the lease (it could not be released while the database was unavailable). `isPolled`: a poll of this process does.
 */
export async function reclaimUnusedLeases(
  ports: Pick<PollPorts, 'worker' | 'log'> & { readonly store: IngestStore & Pick<MailboxStore, 'leasedMailboxes'> },
  isPolled: (mailboxId: string) => boolean,
): Promise<void> {
  const { store, worker, log } = ports;
  for (const { id, name, owner } of await store.leasedMailboxes()) {
    const isUnused = owner === worker.name && !isPolled(id);
    if (!(isUnused || worker.isDead(owner))) continue;
    await store.reclaimLease(owner, id);
    log.info({ mailbox: name, worker: owner }, events.leaseReclaimed);
  }
}
