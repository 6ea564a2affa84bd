import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createDiskWatch } from '../../../src/ingest/health/checks.ts';
import { handClock } from '../samples.ts';

const megabyte = 1024 * 1024;
const full = new Failure('disk_full', 'no room');

/** A disk whose probe resolves with `answer`, which may be a promise that never settles. */
function scene() {
  const clock = handClock();
  const changes: (string | null)[] = [];
  const at = {
    probes: 0,
    answer: (): Promise<{ freeBytes: number }> => Promise.resolve({ freeBytes: 1024 * megabyte }),
  };
  const probe = () => {
    at.probes += 1;
    return at.answer();
  };
  const disk = createDiskWatch({ probe }, clock, (failure) => void changes.push(failure?.code ?? null));
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

test('it is probed every ten seconds, every two while it fails, and each change is reported once', async () => {
  const { at, disk, changes, later } = scene();
  await later(0);
  await later(9999);
  expect(at.probes).toBe(1);
  at.answer = () => Promise.reject(full);
  await later(1);
  expect([at.probes, disk.isFailing]).toEqual([2, true]);
  expect(disk.check()).toMatchObject({ status: 'failing', reason: 'disk_full: no room', hint: full.hint });
  const { since } = disk.check();
  await later(1999);
  expect(at.probes).toBe(2);
  await later(1);
  expect([at.probes, disk.check().since]).toEqual([3, since]);
  at.answer = () => Promise.reject(new Failure('disk_failed', 'read-only'));
  await later(2000);
  at.answer = () => Promise.resolve({ freeBytes: 600 * megabyte });
  await later(2000);
  expect(disk.check()).toMatchObject({ status: 'ok', free_bytes: 600 * megabyte });
  expect([disk.isFailing, changes]).toEqual([false, ['disk_full', 'disk_failed', null]]);
});

test('little free space is a warning, and does not stop polls', async () => {
  const { at, disk, changes, later } = scene();
  at.answer = () => Promise.resolve({ freeBytes: 511.5 * megabyte });
  await later(0);
  expect(disk.check()).toMatchObject({ status: 'warning', reason: 'only 511 MB are free under data_dir' });
  expect([disk.isFailing, changes]).toEqual([false, []]);
});

test('a disk that hangs fails after ten seconds, is not probed again meanwhile, and recovers when it answers', async () => {
  const { at, disk, changes, later } = scene();
  await later(0);
  const { promise, resolve } = Promise.withResolvers<{ freeBytes: number }>();
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
  resolve({ freeBytes: 1024 * megabyte });
  await new Promise(setImmediate);
  expect([disk.isFailing, changes]).toEqual([false, ['disk_failed', null]]);
});

test('after a file could not be written the next refresh probes', async () => {
  const { at, disk, later } = scene();
  await later(0);
  await later(3000);
  expect(at.probes).toBe(1);
  disk.requestProbe();
  await later(0);
  expect(at.probes).toBe(2);
  // Polls that keep failing cause no more probes than that.
  await later(1000);
  disk.requestProbe();
  await later(0);
  expect(at.probes).toBe(2);
});
