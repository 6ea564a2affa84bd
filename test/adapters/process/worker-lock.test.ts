import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { thisWorker } from '../../../src/adapters/process/identity.ts';
import { createWorkerLock } from '../../../src/adapters/process/worker-lock.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of stack.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function newFolder(): Promise<string> {
  const folder = await temporaryFolder('lock');
  stack.push(folder);
  return folder.path;
}

/** A run of `worker` at `atMs` that ends as its process would, with or without a shutdown. */
async function run(folder: string, worker: string, atMs: number, end: 'stopped' | 'crashed') {
  await using lock = createWorkerLock(folder, '', () => atMs);
  const crashedAtMs = await lock.take(worker);
  if (end === 'stopped') await lock.markStopped();
  return { crashedAtMs, knows: (other: string) => lock.isFormerHolder(other) };
}

const path = (folder: string) => join(folder, 'worker.lock');
const recordOf = async (folder: string) => JSON.parse(await readFile(path(folder), 'utf8'));

test('a run that ended without a shutdown is a crash, one that was stopped is none', async () => {
  const folder = await newFolder();
  expect((await run(folder, 'a', 1000, 'stopped')).crashedAtMs).toEqual([]);
  expect((await run(folder, 'b', 2000, 'crashed')).crashedAtMs).toEqual([]);
  expect((await run(folder, 'c', 3000, 'crashed')).crashedAtMs).toEqual([3000]);
  expect((await run(folder, 'd', 4000, 'stopped')).crashedAtMs).toEqual([3000, 4000]);
  expect((await run(folder, 'e', 5000, 'stopped')).crashedAtMs).toEqual([3000, 4000]);
});

test('the next holder knows that the former holders have ended, and no other worker', async () => {
  const folder = await newFolder();
  await run(folder, 'a', 1000, 'crashed');
  await run(folder, 'b', 2000, 'stopped');
  const { knows } = await run(folder, 'c', 3000, 'crashed');
  expect(['a', 'b', 'c', 'd', ''].map(knows)).toEqual([true, true, false, false, false]);
});

test('while a worker holds the lock, another one learns nothing and changes nothing', async () => {
  const folder = await newFolder();
  await run(folder, 'a', 1000, 'crashed');
  await using holder = createWorkerLock(folder, '', () => 2000);
  await holder.take('b');
  const before = await recordOf(folder);
  const { crashedAtMs, knows } = await run(folder, 'c', 3000, 'stopped');
  expect([crashedAtMs, knows('a'), knows('b')]).toEqual([[], false, false]);
  expect(await recordOf(folder)).toEqual(before);
  expect(spawnSync('flock', ['--nonblock', path(folder), 'true']).status).toBe(1);
});

test('named workers of one data folder have a lock each', async () => {
  const folder = await newFolder();
  await using one = createWorkerLock(folder, 'one', () => 1000);
  await using two = createWorkerLock(folder, 'two', () => 1000);
  await one.take('a');
  await two.take('b');
  await run(folder, 'c', 1000, 'crashed');
  expect(await readFile(join(folder, 'worker-one.lock'), 'utf8')).toContain('"worker":"a"');
  expect(await readFile(join(folder, 'worker-two.lock'), 'utf8')).toContain('"worker":"b"');
});

test('a copy of the data folder knows no worker to be dead: the original may still run', async () => {
  const [folder, copy] = [await newFolder(), await newFolder()];
  await using holder = createWorkerLock(folder, '', () => 1000);
  await holder.take('a');
  await cp(folder, copy, { recursive: true });
  const { crashedAtMs, knows } = await run(copy, 'b', 2000, 'crashed');
  expect([crashedAtMs, knows('a')]).toEqual([[], false]);
  expect((await run(copy, 'c', 3000, 'crashed')).knows('b')).toBe(true);
});

test('a holder on another kernel is not known to be dead, and its end is counted', async () => {
  const folder = await newFolder();
  await run(folder, 'a', 1000, 'crashed');
  await writeFile(path(folder), JSON.stringify({ ...(await recordOf(folder)), boot: 'of another machine' }));
  const { crashedAtMs, knows } = await run(folder, 'b', 2000, 'crashed');
  expect([crashedAtMs, knows('a')]).toEqual([[2000], false]);
});

test('a file system that was mounted again is another one: no worker is known to be dead, and its end is counted', async () => {
  const folder = await newFolder();
  await run(folder, 'a', 1000, 'crashed');
  await writeFile(path(folder), JSON.stringify({ ...(await recordOf(folder)), device: '0' }));
  const { crashedAtMs, knows } = await run(folder, 'b', 2000, 'crashed');
  expect([crashedAtMs, knows('a')]).toEqual([[2000], false]);
});

test.each([
  ['nothing', ''],
  ['half a record', '{"worker":"a","boot'],
  ['another program', '1234\n'],
  [
    'fields that are not known',
    '{"worker":"a","boot":null,"device":"","inode":"","isStopped":false,"former":[],"more":1}',
  ],
])('a file with %s names no worker, and is written again', async (_what, content) => {
  const folder = await newFolder();
  await writeFile(path(folder), content);
  expect((await run(folder, 'a', 1000, 'crashed')).crashedAtMs).toEqual([]);
  expect((await run(folder, 'b', 2000, 'crashed')).crashedAtMs).toEqual([2000]);
});

test.each([
  ['a link', (at: string) => symlink(`${at}-elsewhere`, at)],
  ['a folder', (at: string) => mkdir(at)],
  ['a named pipe', async (at: string) => void spawnSync('mkfifo', [at])],
])('%s in its place is neither followed nor changed, and nothing is known', async (_what, make) => {
  const folder = await newFolder();
  await make(path(folder));
  for (const worker of ['a', 'b']) {
    const { crashedAtMs, knows } = await run(folder, worker, 1000, 'crashed');
    expect([crashedAtMs, knows('a')]).toEqual([[], false]);
  }
  await expect(readFile(`${path(folder)}-elsewhere`)).rejects.toThrow('ENOENT');
});

test('a folder that is gone is no error', async () => {
  const folder = await newFolder();
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true });
  expect((await run(folder, 'a', 1000, 'stopped')).crashedAtMs).toEqual([]);
  await mkdir(folder);
});

test('the record keeps the mode 0600, no more than some names, and 256 crashes', async () => {
  const folder = await newFolder();
  for (let index = 0; index < 12; index += 1) await run(folder, `w${index}`, 1000 + index, 'crashed');
  const record = await recordOf(folder);
  expect(record).toMatchObject({ worker: 'w11', former: ['w10', 'w9', 'w8', 'w7', 'w6', 'w5', 'w4', 'w3'] });
  const crashes = Array.from({ length: 256 }, (_, index) => 1_800_000_000_000 + index);
  await writeFile(path(folder), JSON.stringify({ ...record, crashedAtMs: crashes }));
  const { crashedAtMs } = await run(folder, 'next', 1_900_000_000_000, 'crashed');
  expect([crashedAtMs.length, crashedAtMs.at(-1)]).toEqual([256, 1_900_000_000_000]);
  expect((await recordOf(folder)).crashedAtMs).toEqual(crashedAtMs);
});

test('of a process that can be looked up, /proc decides, whatever the lock says', () => {
  const { name } = thisWorker();
  expect(thisWorker(() => true).isDead(name)).toBe(false);
  expect(thisWorker(() => true).isDead('container/00000000/1/1/1')).toBe(true);
  expect(thisWorker(() => false).isDead('container/00000000/1/1/1')).toBe(false);
});
