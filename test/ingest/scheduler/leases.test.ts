import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createLeases, recoverLeases } from '../../../src/ingest/scheduler/leases.ts';
import type { Lease } from '../../../src/ingest/stores.ts';

const leaseOf = (mailboxId: string): Lease => ({ mailboxId, owner: 'me', epoch: 1 });

/** Leases that are prolonged whenever `turn` is called. */
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
  const turn = async () => {
    wake?.();
    await new Promise(setImmediate);
  };
  return { at, seen, leases, turn };
}

test('all leases are prolonged together, three times in their length, until they are let go of', async () => {
  const { seen, leases, turn } = scene();
  const [a, b] = [leases.keep(leaseOf('a')), leases.keep(leaseOf('b'))];
  await turn();
  a[Symbol.dispose]();
  await turn();
  b[Symbol.dispose]();
  await turn();
  expect(seen.renewed).toEqual([['a', 'b'], ['b']]);
  expect(seen.waits).toEqual([20_000, 20_000, 20_000]);
  using _c = leases.keep(leaseOf('c'));
  await turn();
  expect(seen.renewed.at(-1)).toEqual(['c']);
});

test('another length holds from the next turn on', async () => {
  const { at, seen, leases, turn } = scene();
  using _a = leases.keep(leaseOf('a'));
  at.leaseMs = 30_000;
  await turn();
  expect([seen.forMs, seen.waits]).toEqual([[30_000], [20_000, 10_000]]);
});

test('losing one is told to that one alone', async () => {
  const { at, leases, turn } = scene();
  const first = leaseOf('a');
  using a = leases.keep(first);
  using b = leases.keep(leaseOf('b'));
  at.lost = [first];
  await turn();
  expect([a.lost.aborted, b.lost.aborted]).toEqual([true, false]);
});

test('a database that is away is no loss, and is asked again', async () => {
  const { at, seen, leases, turn } = scene();
  using a = leases.keep(leaseOf('a'));
  at.failure = new Failure('database_unavailable', 'away');
  await turn();
  at.failure = null;
  await turn();
  expect([a.lost.aborted, seen.renewed.length]).toEqual([false, 2]);
});

test('what is left over is freed: of the dead of this machine, and ours that no visit uses', async () => {
  const owners = { a: 'dead', b: 'elsewhere', c: 'me', d: 'me' };
  const freed: string[] = [];
  const lines: unknown[] = [];
  const store = {
    leasedMailboxes: async () => Object.entries(owners).map(([id, owner]) => ({ id, name: `box-${id}`, owner })),
    freeLease: async (id: string) => void freed.push(id),
  };
  const log = { info: (fields: unknown, event: string) => void lines.push([event, fields]) };
  const workers = { me: 'me', isDead: (owner: string) => owner === 'dead' };
  await recoverLeases({ store, log, workers } as unknown as Parameters<typeof recoverLeases>[0], (id) => id === 'd');
  expect(freed).toEqual(['a', 'c']);
  expect(lines[0]).toEqual(['lease.recovered', { mailbox: 'box-a', worker: 'dead' }]);
});
