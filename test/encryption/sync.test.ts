import { expect, test } from 'vitest';
import { type SyncPorts, startSync } from '../../src/encryption/sync.ts';
import { Failure } from '../../src/errors.ts';
import type { LogFields } from '../../src/events.ts';

const view = { state: { kind: 'closed' }, switch: { revision: 0 }, hasPlaintext: false };

/** A sync loop with manual iterations; `at.failure`: of its heartbeats, `at.refreshFailure`: of the vault. */
async function scene() {
  const at: {
    failure: Failure | null;
    refreshFailure: Failure | null;
    monotonicMs: number;
    isMigrated: boolean;
    duringReport: () => void;
  } = {
    ...{ failure: null, refreshFailure: null, monotonicMs: 0, isMigrated: true, duringReport: () => undefined },
  };
  const found = { hasPlaintext: false, sweeps: 0 };
  const due: { isRenewalDue: boolean; renewals: number; failure: Failure | null } = {
    ...{ isRenewalDue: false, renewals: 0, failure: null },
  };
  const refresh = async () => {
    if (at.refreshFailure !== null) throw at.refreshFailure;
    return { ...view, hasPlaintext: found.hasPlaintext, isRenewalDue: due.isRenewalDue };
  };
  const reports: string[] = [];
  const lines: unknown[] = [];
  let waiting: (() => void)[] = [];
  const note = (fields: LogFields, event: string) =>
    void lines.push([event, (fields['error'] as Failure | undefined)?.code, fields['failures']]);
  const ports = {
    vault: { view: { ...view, isRenewalDue: false }, refresh, keys: () => [], wrapped: () => null },
    store: {
      reportWorker: async ({ worker }: { worker: string }) => {
        const { failure } = at;
        at.duringReport();
        if (failure !== null) throw failure;
        reports.push(worker);
      },
      removeWorker: async () => undefined,
    },
    sealPlaintext: async () => {
      found.sweeps += 1;
      found.hasPlaintext = false;
    },
    renewSwitch: async () => {
      due.renewals += 1;
      if (due.failure !== null) throw due.failure;
      due.isRenewalDue = false;
    },
    clock: {
      nowMs: () => at.monotonicMs,
      monotonicMs: () => at.monotonicMs,
      sleep: (_ms: number, signal: AbortSignal) =>
        new Promise<void>((resolve) => {
          waiting.push(resolve);
          signal.addEventListener('abort', () => resolve());
        }),
    },
    worker: { name: 'me', isDead: () => false },
    log: { debug: note, info: note, warn: note, error: note },
    isMigrated: () => at.isMigrated,
    ...{ host: 'desk', pid: 1 },
  };
  const sync = await startSync(ports as unknown as SyncPorts);
  const turns = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) {
      at.monotonicMs += 2000;
      const due = waiting;
      waiting = [];
      for (const wake of due) wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { at, found, due, reports, lines, turns, [Symbol.asyncDispose]: () => sync[Symbol.asyncDispose]() };
}

test('plain text that the vault finds is sealed in the same iteration, while the database refuses heartbeats too', async () => {
  await using sync = await scene();
  const { at, found, turns } = sync;
  await turns(2);
  expect(found.sweeps).toBe(0);
  at.failure = new Failure('database_denied', 'The database refuses access.');
  found.hasPlaintext = true;
  await turns(1);
  expect(found).toEqual({ hasPlaintext: false, sweeps: 1 });
  await turns(2);
  expect(found.sweeps).toBe(1);
});

test('a withdrawn row is passed by the switch in force, as soon as the database takes it and no operation runs', async () => {
  await using sync = await scene();
  const { due, lines, turns } = sync;
  due.isRenewalDue = true;
  for (const code of ['database_failed', 'operation_running', 'switch_changed'] as const) {
    due.failure = new Failure(code, 'not now');
    await turns(1);
  }
  expect([due.renewals, lines]).toEqual([3, []]);
  due.failure = null;
  await turns(3);
  expect([due.renewals, lines]).toEqual([4, [['switch.renewed', undefined, undefined]]]);
});

test('a failing heartbeat is logged when its reason changes and at growing intervals, and retried by the next iteration', async () => {
  await using sync = await scene();
  const { at, reports, lines, turns } = sync;
  await turns(1);
  expect(reports).toEqual(['me', 'me']);
  at.failure = new Failure('database_failed', 'The database reported an error.');
  await turns(3);
  at.failure = new Failure('database_denied', 'The database refuses access.');
  await turns(1);
  expect(lines).toEqual([
    ['worker.heartbeat_failed', 'database_failed', 1],
    ['worker.heartbeat_failed', 'database_failed', 2],
    ['worker.heartbeat_failed', 'database_denied', 4],
  ]);
  at.failure = null;
  await turns(1);
  expect(reports).toHaveLength(3);
  at.failure = new Failure('database_denied', 'The database refuses access.');
  await turns(1);
  expect(lines).toHaveLength(4);
});

test('an unavailable database is logged by the scheduler, not for each failed heartbeat', async () => {
  await using sync = await scene();
  sync.at.failure = new Failure('database_unavailable', 'away');
  await sync.turns(5);
  expect(sync.lines).toEqual([]);
  sync.at.failure = null;
  await sync.turns(1);
  expect(sync.reports).toHaveLength(2);
});

test('a heartbeat that fails before the migration of this start has ended is not logged, and is logged afterwards', async () => {
  await using sync = await scene();
  sync.at.isMigrated = false;
  sync.at.failure = new Failure('database_outdated', 'no such table: workers');
  await sync.turns(4);
  expect(sync.lines).toEqual([]);
  sync.at.isMigrated = true;
  await sync.turns(1);
  expect(sync.lines).toEqual([['worker.heartbeat_failed', 'database_outdated', 1]]);
});

test('a heartbeat that fails while the migration ends is not logged: its statement found no table', async () => {
  await using sync = await scene();
  sync.at.isMigrated = false;
  sync.at.failure = new Failure('database_outdated', 'no such table: workers');
  sync.at.duringReport = () => {
    sync.at.isMigrated = true;
    sync.at.failure = null;
  };
  await sync.turns(3);
  expect(sync.lines).toEqual([]);
  expect(sync.reports.length).toBeGreaterThan(1);
});

test('an iteration that fails is logged as a failed sync', async () => {
  await using sync = await scene();
  sync.at.refreshFailure = new Failure('disk_failed', 'The key file cannot be read.');
  await sync.turns(2);
  expect(sync.lines).toEqual([
    ['encryption.sync_failed', 'disk_failed', 1],
    ['encryption.sync_failed', 'disk_failed', 2],
  ]);
});

test('a full disk is logged as disk.failed alone, not as a failed sync', async () => {
  await using sync = await scene();
  sync.at.refreshFailure = new Failure('disk_full', 'data/switch-state cannot be written or read (ENOSPC)');
  await sync.turns(4);
  expect(sync.lines).toEqual([]);
});
