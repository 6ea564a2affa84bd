import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createDiskWatch } from '../../../src/ingest/health/disk-watch.ts';
import type { DiskProbe } from '../../../src/ingest/ports.ts';
import { handClock } from '../samples.ts';

const megabyte = 1024 * 1024;
const full = new Failure('disk_full', 'no room');

const room = (freeBytes: number): Promise<DiskProbe> => Promise.resolve({ failure: null, freeBytes });
const fails = (failure: Failure, freeBytes: number | null): Promise<DiskProbe> =>
  Promise.resolve({ failure, freeBytes });

/** A disk whose probe resolves with `answer`, which may be a promise that never settles. */
function scene() {
  const clock = handClock();
  const changes: (string | null)[] = [];
  const at = { probes: 0, writable: 0, answer: () => room(1024 * megabyte) };
  const probe = () => {
    at.probes += 1;
    return at.answer();
  };
  const disk = createDiskWatch({ probe }, clock, {
    changed: (failure) => void changes.push(failure?.code ?? null),
    writable: () => {
      at.writable += 1;
    },
  });
  const later = async (ms: number) => {
    clock.at.ms += ms;
    await disk.refresh();
    await new Promise(setImmediate);
  };
  return { clock, changes, at, disk, later };
}

test('nothing is known before the first probe, and the first refresh waits for it', async () => {
  const { disk, changes } = scene();
  expect(disk.check()).toMatchObject({ status: 'unknown', reason: 'not probed yet' });
  await disk.refresh();
  expect(disk.check()).toMatchObject({ status: 'ok', reason: null, free_bytes: 1024 * megabyte });
  expect([disk.isFailing, changes]).toEqual([false, []]);
});

test('it is probed every eight seconds, every two while it fails, and each change is reported once', async () => {
  const { at, disk, changes, later } = scene();
  await later(0);
  await later(7999);
  expect(at.probes).toBe(1);
  at.answer = () => fails(full, 0);
  await later(1);
  expect([at.probes, disk.isFailing]).toEqual([2, true]);
  expect(disk.check()).toMatchObject({ status: 'failing', reason: 'disk_full: no room', hint: full.hint });
  const { since } = disk.check();
  await later(1999);
  expect(at.probes).toBe(2);
  await later(1);
  expect([at.probes, disk.check().since]).toEqual([3, since]);
  at.answer = () => fails(new Failure('disk_failed', 'read-only'), 600 * megabyte);
  await later(2000);
  at.answer = () => room(600 * megabyte);
  await later(2000);
  expect(disk.check()).toMatchObject({ status: 'ok', free_bytes: 600 * megabyte });
  expect([disk.isFailing, changes, at.writable]).toEqual([false, ['disk_full', 'disk_failed', null], 1]);
});

test('a disk that fills at once shows what is free now, not what was free before', async () => {
  const { at, disk, later } = scene();
  await later(0);
  at.answer = () => fails(full, 4096);
  await later(8000);
  expect(disk.check()).toMatchObject({ status: 'failing', free_bytes: 4096 });
  at.answer = () => fails(new Failure('disk_failed', 'EIO'), null);
  await later(2000);
  expect(disk.check()).toMatchObject({ status: 'failing', free_bytes: null });
});

test('a disk with room for a small file alone is full, until there is twice as much', async () => {
  const { at, disk, changes, later } = scene();
  at.answer = () => room(7 * megabyte);
  await later(0);
  expect(disk.check()).toMatchObject({
    status: 'failing',
    free_bytes: 7 * megabyte,
    reason: 'disk_full: less than 8.0 MB are free under data_dir',
  });
  at.answer = () => room(12 * megabyte);
  await later(2000);
  expect(disk.isFailing).toBe(true);
  at.answer = () => room(16 * megabyte);
  await later(2000);
  expect([disk.isFailing, changes]).toEqual([false, ['disk_full', null]]);
});

test('little free space is a warning, and does not stop polls', async () => {
  const { at, disk, changes, later } = scene();
  at.answer = () => room(511.5 * megabyte);
  await later(0);
  expect(disk.check()).toMatchObject({ status: 'warning', reason: 'only 511 MB are free under data_dir' });
  expect([disk.isFailing, changes]).toEqual([false, []]);
});

test('a disk that hangs fails after ten seconds, is not probed again meanwhile, and recovers when it answers', async () => {
  const { at, disk, changes, later } = scene();
  await later(0);
  const { promise, resolve } = Promise.withResolvers<DiskProbe>();
  at.answer = () => promise;
  await later(10_000);
  await later(10_000);
  expect(disk.isFailing).toBe(false);
  await later(1);
  expect(disk.check()).toMatchObject({
    status: 'failing',
    reason: expect.stringMatching(/^disk_failed: .*longer than 10 s$/),
  });
  expect(at.probes).toBe(2);
  resolve({ failure: null, freeBytes: 1024 * megabyte });
  await new Promise(setImmediate);
  expect([disk.isFailing, changes]).toEqual([false, ['disk_failed', null]]);
});

test('a poll that could not write has the disk as its cause when a probe fails, too', async () => {
  const { at, disk, later } = scene();
  await later(0);
  at.answer = () => fails(full, 0);
  expect(await disk.confirmPollFailure(new Failure('server_timeout', 'slow'))).toBe(false);
  expect(await disk.confirmPollFailure(full)).toBe(false);
  expect(at.probes).toBe(1);
  await later(1000);
  expect(at.probes).toBe(1);
  await later(1000);
  expect(await disk.confirmPollFailure(full)).toBe(true);
  expect(at.probes).toBe(2);
  // Polls that keep failing cause no more probes than that.
  await later(1000);
  expect(await disk.confirmPollFailure(full)).toBe(true);
  expect(at.probes).toBe(2);
});

test('a message that found no room is tried again once there is more, although the probe never failed', async () => {
  const { at, disk, later } = scene();
  at.answer = () => room(20 * megabyte);
  await later(0);
  await later(3000);
  expect(await disk.confirmPollFailure(full)).toBe(false);
  await later(2000);
  at.answer = () => room(35 * megabyte);
  await later(2000);
  expect(at.writable).toBe(0);
  at.answer = () => room(36 * megabyte);
  await later(2000);
  expect(at.writable).toBe(1);
  at.answer = () => room(800 * megabyte);
  await later(8000);
  expect(at.writable).toBe(1);
});
