/**
 * Keeps a lease while a visit lasts, and takes over what dead processes of this machine have left behind.
 *
 * Losing the lease is told by a signal; what is written after that is refused by the fence in the database anyway. A
 * database that cannot be reached is no loss: the lease runs until its end, and the fence decides.
 */
import { isFailure } from '../errors.ts';
import { events } from '../events.ts';
import type { PollPorts } from './poll-ports.ts';
import type { IngestStore, Lease, MailboxStore } from './ports.ts';

/** Renews `lease` three times in its length until disposed. `lost` fires when another worker has it. */
export function keepLease(
  lease: Lease,
  leaseMs: number,
  ports: Pick<PollPorts, 'clock'> & { readonly store: IngestStore },
): Disposable & { readonly lost: AbortSignal } {
  const lost = new AbortController();
  const ended = new AbortController();
  void renew(lease, leaseMs, ports, lost, ended.signal);
  return { lost: lost.signal, [Symbol.dispose]: () => ended.abort() };
}

async function renew(
  lease: Lease,
  leaseMs: number,
  ports: Pick<PollPorts, 'clock'> & { readonly store: IngestStore },
  lost: AbortController,
  ended: AbortSignal,
): Promise<void> {
  while (!ended.aborted && !lost.signal.aborted) {
    await ports.clock.sleep(leaseMs / 3, ended);
    if (ended.aborted) return;
    try {
      await ports.store.renewLease(lease, leaseMs);
    } catch (error) {
      if (isFailure(error, 'lease_lost')) lost.abort();
    }
  }
}

/**
 * Frees every mailbox whose lease nobody uses: its owner was a process of this machine that is gone, or we are its
 * owner and could not let go of it because the database was away. `isVisited` says where we are at work.
 */
export async function recoverLeases(
  ports: Pick<PollPorts, 'workers' | 'log'> & { readonly store: IngestStore & Pick<MailboxStore, 'listMailboxes'> },
  isVisited: (mailboxId: string) => boolean,
): Promise<void> {
  const { store, workers, log } = ports;
  for (const mailbox of await store.listMailboxes()) {
    const owner = await store.leaseOwner(mailbox.id);
    const isOurs = owner === workers.me && !isVisited(mailbox.id);
    if (owner === null || !(isOurs || workers.isDead(owner))) continue;
    await store.freeLease(mailbox.id, owner);
    log.info({ mailbox: mailbox.name, worker: owner }, events.leaseRecovered);
  }
}
