import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { diskProbe } from '../../../src/adapters/files/data-folder.ts';
import { runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const isRoot = process.getuid?.() === 0;

/** A file system of 256 KB, mounted for a test. */
async function tinyDisk() {
  const folder = await temporaryFolder('probe');
  const path = join(folder.path, 'data');
  await mkdir(path);
  await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=0700', 'tiny', path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await runProgram('umount', ['--lazy', path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

test('the probe of a writable folder returns its free space and leaves no file', async () => {
  await using folder = await temporaryFolder('probe');
  const { failure, freeBytes } = await diskProbe(folder.path, '1').probe();
  expect(failure).toBeNull();
  expect(freeBytes).toBeGreaterThan(0);
  expect(await readdir(folder.path)).toEqual([]);
});

test('a missing folder is disk_failed, and ok again when it is back', async () => {
  await using folder = await temporaryFolder('probe');
  const path = join(folder.path, 'data');
  const disk = diskProbe(path, '1');
  const message = `a file under data_dir ${path} cannot be written or read (ENOENT)`;
  expect(await disk.probe()).toMatchObject({ failure: { code: 'disk_failed', message }, freeBytes: null });
  await mkdir(path);
  expect(await disk.probe()).toMatchObject({ failure: null, freeBytes: expect.any(Number) });
});

test('each worker has a probe file of its own', async () => {
  await using folder = await temporaryFolder('probe');
  // In the way of the second one alone.
  await mkdir(join(folder.path, '.disk-probe-2'));
  expect(await diskProbe(folder.path, '1').probe()).toMatchObject({ failure: null });
  expect(await diskProbe(folder.path, '2').probe()).toMatchObject({ failure: { code: 'disk_failed' } });
});

test.skipIf(!isRoot)(
  'a disk without room for more than crumbs is disk_full, and no half file stays (needs root to mount one)',
  async () => {
    await using disk = await tinyDisk();
    const filler = join(disk.path, 'filler');
    await runProgram('sh', ['-c', 'head -c 253952 /dev/zero > "$1"', 'sh', filler]);
    const probe = diskProbe(disk.path, '1');
    expect(await probe.probe()).toMatchObject({ failure: { code: 'disk_full' }, freeBytes: 8_192 });
    expect(await readdir(disk.path)).toEqual(['filler']);
    await rm(filler);
    const { failure, freeBytes } = await probe.probe();
    expect(failure).toBeNull();
    expect(freeBytes).toBeGreaterThan(200_000);
  },
);

test.skipIf(!isRoot)('a read-only file system is disk_failed (needs root to mount one)', async () => {
  await using disk = await tinyDisk();
  const probe = diskProbe(disk.path, '1');
  await runProgram('mount', ['-o', 'remount,ro', disk.path]);
  const message = expect.stringContaining('EROFS');
  expect(await probe.probe()).toMatchObject({ failure: { code: 'disk_failed', message } });
  await runProgram('mount', ['-o', 'remount,rw', disk.path]);
  expect(await probe.probe()).toMatchObject({ failure: null });
});
