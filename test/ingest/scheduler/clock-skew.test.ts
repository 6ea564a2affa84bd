import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { type ClockPorts, createClockComparison } from '../../../src/ingest/scheduler/clock-skew.ts';

/** Clocks that step apart: the system time here, the database's, and the monotonic one. */
function scene() {
  const at = {
    monotonicMs: 0,
    aheadHereMs: 0,
    aheadThereMs: 0,
    isAway: false,
    isStuck: false,
    roundTripMs: 0,
    intervalMs: 60_000,
  };
  const seen = { offsets: [] as number[], stepped: [] as unknown[], madeDue: 0, stranded: [] as number[], asked: 0 };
  const baseMs = 1_800_000_000_000;
  const ports: ClockPorts = {
    clock: {
      nowMs: () => baseMs + at.monotonicMs + at.aheadHereMs,
      monotonicMs: () => at.monotonicMs,
      sleep: () => Promise.resolve(),
    },
    store: {
      databaseNowMs: async () => {
        seen.asked += 1;
        if (at.isAway) throw new Failure('database_unavailable', 'away');
        at.monotonicMs += at.roundTripMs / 2;
        const nowMs = baseMs + at.monotonicMs + at.aheadThereMs;
        at.monotonicMs += at.roundTripMs / 2;
        return nowMs;
      },
      makeAllDue: async () => {
        seen.madeDue += 1;
      },
      makeStrandedDue: async (longestWaitMs) => {
        seen.stranded.push(longestWaitMs({ pollIntervalMs: null, failures: 0 }));
        if (at.isStuck) throw new Failure('database_conflict', 'conflict');
      },
    },
    health: { recordClockOffset: (ms) => void seen.offsets.push(ms) },
    log: {
      ...{ debug: () => undefined, info: () => undefined, error: () => undefined },
      warn: (fields, event) => void seen.stepped.push([event, fields['stepped_ms']]),
    },
  };
  const compare = createClockComparison(ports, () => at.intervalMs);
  const later = async (ms = 10_000) => {
    at.monotonicMs += ms;
    await compare();
  };
  return { at, seen, later };
}

test('clocks are compared every ten seconds, and half of the round trip is subtracted', async () => {
  const { at, seen, later } = scene();
  at.aheadHereMs = 700;
  at.roundTripMs = 400;
  await later();
  await later(5000);
  expect(seen.asked).toBe(1);
  await later(5000);
  expect(seen).toMatchObject({ offsets: [700, 700], stepped: [], madeDue: 0, asked: 2 });
});

test('a step of this clock is an offset, and no step of the database', async () => {
  const { at, seen, later } = scene();
  await later();
  at.aheadHereMs = 3_600_000;
  await later();
  at.aheadHereMs = -3_600_000;
  await later();
  expect(seen).toMatchObject({ offsets: [0, 3_600_000, -3_600_000], stepped: [], madeDue: 0 });
});

test('a step of the database clock is reported, and after one back no mailbox waits for the future', async () => {
  const { at, seen, later } = scene();
  await later();
  at.aheadThereMs = 60_000;
  await later();
  expect(seen).toMatchObject({ stepped: [['database.clock_stepped', 60_000]], madeDue: 0 });
  at.aheadThereMs = 0;
  await later();
  expect(seen.stepped[1]).toEqual(['database.clock_stepped', -60_000]);
  expect(seen.madeDue).toBe(1);
  await later();
  expect([seen.stepped.length, seen.madeDue]).toEqual([2, 1]);
});

test('a drift is no step', async () => {
  const { at, seen, later } = scene();
  for (let look = 0; look < 5; look += 1) {
    at.aheadThereMs -= 4000;
    await later();
  }
  expect(seen).toMatchObject({ stepped: [], madeDue: 0 });
});

test('an unreachable database is queried again on the next tick, and a step meanwhile is detected', async () => {
  const { at, seen, later } = scene();
  await later();
  at.isAway = true;
  await expect(later()).rejects.toMatchObject({ code: 'database_unavailable' });
  at.isAway = false;
  at.aheadThereMs = -600_000;
  await later(1000);
  expect(seen).toMatchObject({ stepped: [['database.clock_stepped', -600_000]], madeDue: 1, asked: 3 });
});

test('each comparison makes due what waits longer than it may, the first one also the wait for an unstable folder', async () => {
  const { at, seen, later } = scene();
  at.isStuck = true;
  await expect(later()).rejects.toMatchObject({ code: 'database_conflict' });
  at.isStuck = false;
  at.intervalMs = 30_000;
  await later(1000);
  await later();
  at.aheadThereMs = -3_600_000;
  await later();
  expect(seen).toMatchObject({ stranded: [60_000, 30_000, 3_600_000, 3_600_000], madeDue: 1 });
});
