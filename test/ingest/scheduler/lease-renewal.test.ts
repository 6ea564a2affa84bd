import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createLeases, reclaimUnusedLeases } from '../../../src/ingest/scheduler/lease-renewal.ts';
import type { Lease } from '../../../src/ingest/stores.ts';

const leaseOf = (mailboxId: string): Lease => ({ mailboxId, owner: 'me', epoch: 1 });

/** Leases that are renewed whenever `renew` is called. */
function scene() {
  const at = { leaseMs: 60_000, lost: [] as Lease[], failure: null as Error | null };
  const seen = { renewed: [] as string[][], forMs: [] as number[], waits: [] as number[] };
  let wake: (() => void) | null = null;
  const leases = createLeases(
    {
      clock: {
        ...{ nowMs: () => 0, monotonicMs: () => 0 },
        sleep: (ms, signal) => {
          seen.waits.push(ms);
          return new Promise((resolve) => {
            wake = resolve;
            signal.addEventListener('abort', () => resolve(), { once: true });
          });
        },
      },
      store: {
        renewLeases: async (held, leaseMs) => {
          seen.renewed.push(held.map(({ mailboxId }) => mailboxId));
          seen.forMs.push(leaseMs);
          if (at.failure !== null) throw at.failure;
          return at.lost;
        },
      },
    },
    () => at.leaseMs,
  );
  const renew = async () => {
    wake?.();
    await new Promise(setImmediate);
  };
  return { at, seen, leases, renew };
}

test('all leases are renewed together, three times within their length, until they are disposed', async () => {
  const { seen, leases, renew } = scene();
  const [a, b] = [leases.autoRenew(leaseOf('a')), leases.autoRenew(leaseOf('b'))];
  await renew();
  a[Symbol.dispose]();
  await renew();
  b[Symbol.dispose]();
  await renew();
  expect(seen.renewed).toEqual([['a', 'b'], ['b']]);
  expect(seen.waits).toEqual([20_000, 20_000, 20_000]);
  using _c = leases.autoRenew(leaseOf('c'));
  await renew();
  expect(seen.renewed.at(-1)).toEqual(['c']);
});

test('a changed length takes effect with the next renewal', async () => {
  const { at, seen, leases, renew } = scene();
  using _a = leases.autoRenew(leaseOf('a'));
  at.leaseMs = 30_000;
  await renew();
  expect([seen.forMs, seen.waits]).toEqual([[30_000], [20_000, 10_000]]);
});

test('the loss of a lease fires the signal of that one alone', async () => {
  const { at, leases, renew } = scene();
  const first = leaseOf('a');
  using a = leases.autoRenew(first);
  using b = leases.autoRenew(leaseOf('b'));
  at.lost = [first];
  await renew();
  expect([a.lost.aborted, b.lost.aborted]).toEqual([true, false]);
});

test('an unreachable database loses no lease, and renewal is tried again', async () => {
  const { at, seen, leases, renew } = scene();
  using a = leases.autoRenew(leaseOf('a'));
  at.failure = new Failure('database_unavailable', 'away');
  await renew();
  at.failure = null;
  await renew();
  expect([a.lost.aborted, seen.renewed.length]).toEqual([false, 2]);
});

test('leases of dead processes of this machine, and own ones that no poll uses, are reclaimed', async () => {
  const owners = { a: 'dead', b: 'elsewhere', c: 'me', d: 'me' };
  const reclaimed: string[] = [];
  const lines: unknown[] = [];
  const store = {
    leasedMailboxes: async () => Object.entries(owners).map(([id, owner]) => ({ id, name: `box-${id}`, owner })),
    reclaimLease: async (_owner: string, id: string) => void reclaimed.push(id),
  };
  const log = { info: (fields: unknown, event: string) => void lines.push([event, fields]) };
  const worker = { name: 'me', isDead: (owner: string) => owner === 'dead' };
  await reclaimUnusedLeases(
    { store, log, worker } as unknown as Parameters<typeof reclaimUnusedLeases>[0],
    (id) => id === 'd',
  );
  expect(reclaimed).toEqual(['a', 'c']);
  expect(lines[0]).toEqual(['lease.reclaimed', { mailbox: 'box-a', worker: 'dead' }]);
});
