import { expect, test } from 'vitest';
import { createStorageQuota, reserveBytes } from '../../../src/ingest/fetch/storage-quota.ts';
import { handClock } from '../samples.ts';

const megabyte = 1024 * 1024;
const boxA = { id: 'a', name: 'a' };
const boxB = { id: 'b', name: 'b' };

function scene() {
  const clock = handClock();
  const quota = createStorageQuota(clock);
  const isAdmitted = (box = boxA): true | number => {
    try {
      quota.of(box).admit();
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'mailbox_flooding' });
      return (error as { fields: { retry_after_ms: number } }).fields.retry_after_ms;
    }
  };
  return { clock, quota, isAdmitted };
}

test('nothing rests before a measurement, nor while there is room', () => {
  const { quota, isAdmitted } = scene();
  quota.of(boxA).stored(1000 * megabyte);
  expect(isAdmitted()).toBe(true);
  quota.measured(reserveBytes);
  expect(isAdmitted()).toBe(true);
});

test('below the reserve a mailbox above its quota rests until it is below, others do not', () => {
  const { clock, quota, isAdmitted } = scene();
  quota.of(boxA).stored(60 * megabyte);
  clock.at.ms += 600_000;
  quota.of(boxA).stored(30 * megabyte);
  quota.measured(reserveBytes - 1);
  expect(isAdmitted(boxB)).toBe(true);
  const restMs = isAdmitted();
  expect(restMs).toBeGreaterThan(2_900_000);
  expect(restMs).toBeLessThanOrEqual(3_060_000);
  clock.at.ms += Number(restMs);
  expect(isAdmitted()).toBe(true);
});

test('what was stored since the measurement is no longer free, so that a quick flood ends within the reserve', () => {
  const { quota, isAdmitted } = scene();
  quota.measured(600 * megabyte);
  const box = quota.of(boxA);
  for (let batch = 0; batch < 4; batch += 1) {
    expect(isAdmitted()).toBe(true);
    box.stored(25 * megabyte);
  }
  expect(isAdmitted()).not.toBe(true);
});

test('many floods together do not use up the reserve', () => {
  const { quota, isAdmitted } = scene();
  let free = reserveBytes - 1;
  for (let round = 0; round < 100; round += 1) {
    for (let index = 0; index < 20; index += 1) {
      const box = { id: `box${index}`, name: '' };
      quota.measured(free);
      if (isAdmitted(box) !== true) continue;
      quota.of(box).stored(megabyte);
      free -= megabyte;
    }
  }
  expect(free).toBeGreaterThan(reserveBytes / 4);
});

test('room again is reported once', () => {
  const { quota } = scene();
  expect([10, reserveBytes, reserveBytes, 10, reserveBytes].map((free) => quota.measured(free))).toEqual([
    ...[false, true, false, false, true],
  ]);
});
