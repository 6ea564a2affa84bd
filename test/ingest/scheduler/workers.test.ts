import { describe, expect, test } from 'vitest';
import type { WorkerRow } from '../../../src/ingest/ports.ts';
import { createLiveWorkers, preferredWorker } from '../../../src/ingest/scheduler/workers.ts';
import { handClock } from '../samples.ts';

/** Rows of workers; `gone`: processes of this machine that have ended, `old`: workers of an earlier boot. */
function scene() {
  const clock = handClock();
  const at = { seenAtMs: 0, live: new Map([['me', true]]), gone: new Set<string>(), old: new Set<string>() };
  const seen = {
    asked: 0,
    deadReclaims: 0,
    reclaimedOf: [] as string[],
    removed: [] as string[],
    lines: [] as unknown[],
  };
  const leased = new Set<string>();
  const dead = () => [...leased].filter((owner) => at.live.get(owner) === false);
  const workers = createLiveWorkers({
    clock,
    worker: { name: 'me', isDead: (owner) => at.gone.has(owner), isOfEarlierBoot: (owner) => at.old.has(owner) },
    log: {
      ...{ debug: () => undefined, info: () => undefined, error: () => undefined },
      warn: (fields, event) => void seen.lines.push([event, fields['worker']]),
    },
    store: {
      listWorkers: async () => {
        seen.asked += 1;
        return [...at.live].map(
          ([worker, live]): WorkerRow => ({ worker, host: `host-${worker}`, pid: 7, live, seenAtMs: at.seenAtMs }),
        );
      },
      reclaimLeasesOfDeadWorkers: async (_liveMs, me) => {
        seen.deadReclaims += 1;
        const reclaimed = dead().filter((owner) => owner !== me);
        for (const owner of reclaimed) leased.delete(owner);
        return reclaimed;
      },
      reclaimAllLeases: async (owner) => {
        seen.reclaimedOf.push(owner);
        return leased.delete(owner);
      },
      removeWorker: async (worker) => {
        seen.removed.push(worker);
        at.live.delete(worker);
      },
    },
  });
  const later = async (ms = 2000) => {
    clock.at.ms += ms;
    await workers.refresh();
  };
  return { at, seen, leased, workers, later };
}

const mailboxes = Array.from({ length: 300 }, (_, index) => `box-${index}`);

describe('a worker', () => {
  test('whose row has an invalid time is shown without one', async () => {
    const { at, workers, later } = scene();
    at.live.set('strange', false);
    at.seenAtMs = Number.NaN;
    await later();
    expect(workers.check()).toMatchObject({
      status: 'warning',
      since: null,
      list: [{ seen_at: null }, { seen_at: null }],
    });
  });

  test('alone is preferred for every mailbox, and reads the heartbeats every two seconds', async () => {
    const { seen, workers, later } = scene();
    expect(mailboxes.every(workers.isPreferredHere)).toBe(true);
    await later();
    await later(1999);
    expect(seen.asked).toBe(1);
    expect(workers.check()).toMatchObject({ status: 'ok', live: 1, list: [{ host: 'host-me' }] });
  });

  test('shares the mailboxes with the live ones, and takes over those of a dead one', async () => {
    const { at, workers, later } = scene();
    at.live.set('other', true);
    await later();
    const shared = mailboxes.filter(workers.isPreferredHere).length;
    expect(shared).toBeGreaterThan(100);
    expect(shared).toBeLessThan(200);
    at.live.set('other', false);
    await later();
    expect(mailboxes.every(workers.isPreferredHere)).toBe(true);
  });

  test('counts as live before its first heartbeat', async () => {
    const { at, workers, later } = scene();
    at.live.clear();
    await later();
    expect(mailboxes.every(workers.isPreferredHere)).toBe(true);
  });
});

test('a silent worker is shown, and its leases are reclaimed at the second read', async () => {
  const { at, seen, leased, workers, later } = scene();
  at.live.set('far', false);
  leased.add('far');
  await later();
  expect(seen.deadReclaims).toBe(0);
  expect(workers.check()).toMatchObject({
    status: 'warning',
    live: 1,
    reason: 'no heartbeat from the worker on host-far (pid 7)',
  });
  await later();
  expect(seen.lines).toEqual([['lease.reclaimed', 'far']]);
  // It may only be suspended: it stays in the list.
  expect(seen.removed).toEqual([]);
});

test('a worker that looks dead once, as after a clock step, keeps its leases', async () => {
  const { at, seen, leased, workers, later } = scene();
  at.live.set('far', false);
  leased.add('far');
  await later();
  at.live.set('far', true);
  await later();
  at.live.set('far', false);
  await later();
  expect(seen.deadReclaims).toBe(0);
  at.live.set('far', true);
  await later();
  expect(workers.check().status).toBe('ok');
});

test('an ended process of this machine is removed, and its leases are reclaimed', async () => {
  const { at, seen, leased, workers, later } = scene();
  at.live.set('dead', false);
  at.gone.add('dead');
  leased.add('dead');
  await later();
  await later();
  expect(seen.removed).toEqual(['dead']);
  expect(seen.lines).toEqual([['lease.reclaimed', 'dead']]);
  expect(workers.check()).toMatchObject({ status: 'ok', live: 1 });
});

test('a worker whose own heartbeats fail reclaims the leases of others alone', async () => {
  const { at, seen, leased, workers, later } = scene();
  at.live.set('me', false);
  leased.add('me');
  for (let reads = 0; reads < 5; reads += 1) await later();
  expect(seen.deadReclaims).toBe(0);
  at.gone.add('me');
  await later();
  expect(seen).toMatchObject({ deadReclaims: 0, reclaimedOf: [], removed: [], lines: [] });
  expect(mailboxes.every(workers.isPreferredHere)).toBe(true);
  expect(workers.check()).toMatchObject({
    status: 'warning',
    reason: 'the heartbeats of this worker do not reach the database',
  });
  at.live.set('far', false);
  leased.add('far');
  await later();
  await later();
  expect(seen.lines).toEqual([['lease.reclaimed', 'far']]);
  expect([...leased]).toEqual(['me']);
});

test('a worker of an earlier boot that is silent at two reads is removed, and its leases are reclaimed', async () => {
  const { at, seen, leased, workers, later } = scene();
  for (const worker of ['rebooted', 'far']) {
    at.live.set(worker, false);
    leased.add(worker);
  }
  at.old.add('rebooted');
  await later();
  expect(seen.removed).toEqual([]);
  await later();
  expect(seen.removed).toEqual(['rebooted']);
  expect(seen.lines).toEqual([
    ['lease.reclaimed', 'rebooted'],
    ['lease.reclaimed', 'far'],
  ]);
  expect(workers.check()).toMatchObject({ live: 1, list: [{ host: 'host-me' }, { host: 'host-far' }] });
});

test('a worker on another machine of the same name stays while it sends heartbeats, and returns with them', async () => {
  const { at, seen, workers, later } = scene();
  at.live.set('clone', true);
  at.old.add('clone');
  for (let reads = 0; reads < 3; reads += 1) await later();
  at.live.set('clone', false);
  await later();
  at.live.set('clone', true);
  await later();
  expect(seen.removed).toEqual([]);
  at.live.set('clone', false);
  await later();
  await later();
  expect(seen.removed).toEqual(['clone']);
  at.live.set('clone', true);
  await later();
  expect(workers.check()).toMatchObject({ status: 'ok', live: 2 });
  expect(mailboxes.every(workers.isPreferredHere)).toBe(false);
});

describe('rendezvous hashing', () => {
  const ids = Array.from(
    { length: 4000 },
    (_, index) => `01a20d92-573e-7e7d-b241-${index.toString(16).padStart(12, '0')}`,
  );
  const workers = [1, 2, 3, 4].map((pid) => `desk/1234abcd/4026531836/10${pid}/5554443${pid}`);

  test('spreads mailboxes evenly over four workers', () => {
    const counts = Map.groupBy(ids, (id) => preferredWorker(id, workers));
    for (const worker of workers) expect(counts.get(worker)?.length).toBeGreaterThan(900);
    for (const worker of workers) expect(counts.get(worker)?.length).toBeLessThan(1100);
  });

  test('moves only the mailboxes of a worker that leaves, and agrees on every worker', () => {
    const remaining = workers.slice(1);
    for (const id of ids) {
      const before = preferredWorker(id, workers);
      const after = preferredWorker(id, remaining.toReversed());
      if (before !== workers[0]) expect(after).toBe(before);
      expect(after).toBe(preferredWorker(id, remaining));
    }
  });
});
