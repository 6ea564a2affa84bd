import { describe, expect, test } from 'vitest';
import type { SeenWorker } from '../../../src/ingest/ports.ts';
import { createFleet } from '../../../src/ingest/scheduler/workers.ts';
import { handClock } from '../samples.ts';

/** Workers as the database tells them; `gone` are processes of this machine that are known to have ended, `old` ones of an earlier boot. */
function scene() {
  const clock = handClock();
  const at = { seenAtMs: 0, live: new Map([['me', true]]), gone: new Set<string>(), old: new Set<string>() };
  const seen = { asked: 0, freedDead: 0, freedOf: [] as string[], removed: [] as string[], lines: [] as unknown[] };
  const leased = new Set<string>();
  const dead = () => [...leased].filter((owner) => at.live.get(owner) === false);
  const fleet = createFleet({
    clock,
    workers: { me: 'me', isDead: (owner) => at.gone.has(owner), isOfEarlierBoot: (owner) => at.old.has(owner) },
    log: {
      ...{ debug: () => undefined, info: () => undefined, error: () => undefined },
      warn: (fields, event) => void seen.lines.push([event, fields['worker']]),
    },
    store: {
      listWorkers: async () => {
        seen.asked += 1;
        return [...at.live].map(
          ([worker, live]): SeenWorker => ({ worker, host: `host-${worker}`, pid: 7, live, seenAtMs: at.seenAtMs }),
        );
      },
      freeDeadLeases: async (_liveMs, me) => {
        seen.freedDead += 1;
        const freed = dead().filter((owner) => owner !== me);
        for (const owner of freed) leased.delete(owner);
        return freed;
      },
      freeLeasesOf: async (owner) => {
        seen.freedOf.push(owner);
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
    await fleet.refresh();
  };
  return { at, seen, leased, fleet, later };
}

const mailboxes = Array.from({ length: 300 }, (_, index) => `box-${index}`);

describe('a worker', () => {
  test('whose row tells no time, since somebody else wrote it, is shown without one', async () => {
    const { at, fleet, later } = scene();
    at.live.set('strange', false);
    at.seenAtMs = Number.NaN;
    await later();
    expect(fleet.check()).toMatchObject({
      status: 'warning',
      since: null,
      list: [{ seen_at: null }, { seen_at: null }],
    });
  });

  test('alone is at home everywhere, and looks every two seconds', async () => {
    const { seen, fleet, later } = scene();
    expect(mailboxes.every(fleet.isHome)).toBe(true);
    await later();
    await later(1999);
    expect(seen.asked).toBe(1);
    expect(fleet.check()).toMatchObject({ status: 'ok', live: 1, list: [{ host: 'host-me' }] });
  });

  test('shares the mailboxes with those that live, and gets them back from one that does not', async () => {
    const { at, fleet, later } = scene();
    at.live.set('other', true);
    await later();
    const shared = mailboxes.filter(fleet.isHome).length;
    expect(shared).toBeGreaterThan(100);
    expect(shared).toBeLessThan(200);
    at.live.set('other', false);
    await later();
    expect(mailboxes.every(fleet.isHome)).toBe(true);
  });

  test('that is not in the list yet counts itself all the same', async () => {
    const { at, fleet, later } = scene();
    at.live.clear();
    await later();
    expect(mailboxes.every(fleet.isHome)).toBe(true);
  });
});

test('one that does not report is shown, and its mailboxes are freed at the second look', async () => {
  const { at, seen, leased, fleet, later } = scene();
  at.live.set('far', false);
  leased.add('far');
  await later();
  expect(seen.freedDead).toBe(0);
  expect(fleet.check()).toMatchObject({
    status: 'warning',
    live: 1,
    reason: 'a worker on host-far (pid 7) does not report any more',
  });
  await later();
  expect(seen.lines).toEqual([['lease.recovered', 'far']]);
  // It may only sleep: it stays in the list.
  expect(seen.removed).toEqual([]);
});

test('one that looks dead once, as after a step of the clock, keeps its mailboxes', async () => {
  const { at, seen, leased, fleet, later } = scene();
  at.live.set('far', false);
  leased.add('far');
  await later();
  at.live.set('far', true);
  await later();
  at.live.set('far', false);
  await later();
  expect(seen.freedDead).toBe(0);
  at.live.set('far', true);
  await later();
  expect(fleet.check().status).toBe('ok');
});

test('a process of this machine that has ended is forgotten, and its mailboxes are free', async () => {
  const { at, seen, leased, fleet, later } = scene();
  at.live.set('dead', false);
  at.gone.add('dead');
  leased.add('dead');
  await later();
  await later();
  expect(seen.removed).toEqual(['dead']);
  expect(seen.lines).toEqual([['lease.recovered', 'dead']]);
  expect(fleet.check()).toMatchObject({ status: 'ok', live: 1 });
});

test('one whose own reports do not get through frees and forgets the others alone', async () => {
  const { at, seen, leased, fleet, later } = scene();
  at.live.set('me', false);
  leased.add('me');
  for (let looks = 0; looks < 5; looks += 1) await later();
  expect(seen.freedDead).toBe(0);
  at.gone.add('me');
  await later();
  expect(seen).toMatchObject({ freedDead: 0, freedOf: [], removed: [], lines: [] });
  expect(mailboxes.every(fleet.isHome)).toBe(true);
  expect(fleet.check()).toMatchObject({
    status: 'warning',
    reason: 'the reports of this worker do not get through to the database',
  });
  at.live.set('far', false);
  leased.add('far');
  await later();
  await later();
  expect(seen.lines).toEqual([['lease.recovered', 'far']]);
  expect([...leased]).toEqual(['me']);
});

test('one of an earlier boot that is silent at two looks is forgotten, and its mailboxes are free', async () => {
  const { at, seen, leased, fleet, later } = scene();
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
    ['lease.recovered', 'rebooted'],
    ['lease.recovered', 'far'],
  ]);
  expect(fleet.check()).toMatchObject({ live: 1, list: [{ host: 'host-me' }, { host: 'host-far' }] });
});

test('one of another machine of the same name that reports stays, and is back when it reports again', async () => {
  const { at, seen, fleet, later } = scene();
  at.live.set('clone', true);
  at.old.add('clone');
  for (let looks = 0; looks < 3; looks += 1) await later();
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
  expect(fleet.check()).toMatchObject({ status: 'ok', live: 2 });
  expect(mailboxes.every(fleet.isHome)).toBe(false);
});
