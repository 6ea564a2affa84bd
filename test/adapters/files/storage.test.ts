import { execFile } from 'node:child_process';
import { hash, randomUUIDv7 } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import { zstdCompressSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { createStorage } from '../../../src/adapters/files/storage.ts';
import type { StoredSource } from '../../../src/ingest/model.ts';
import type { RawSources } from '../../../src/ingest/ports.ts';
import { runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const isRoot = process.getuid?.() === 0;

const open = (path: string) => createStorage(path, { nowMs: Date.now }, randomUUIDv7);

const blobOf = (content: Uint8Array<ArrayBuffer>) => ({ sha256: hash('sha256', content, 'hex'), content });
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const blobsOf = (count: number) => Array.from({ length: count }, (_, index) => blobOf(bytesOf(`number ${index}`)));
const compressed = (text: string) => ({
  compressed: new Uint8Array(zstdCompressSync(text)),
  sha256: hash('sha256', text, 'hex'),
});
const pathOf = (folder: string, sha256: string) => join(folder, 'blobs', sha256.slice(0, 2), sha256);

/** The storage thread that `start` starts. */
async function threadOf(start: () => Promise<unknown>): Promise<Worker> {
  const { promise, resolve } = Promise.withResolvers<Worker>();
  process.once('worker', resolve);
  await start();
  return await promise;
}

async function textsAt(raw: RawSources, places: readonly StoredSource[]): Promise<string[]> {
  return await Promise.all(places.map(async (place) => Buffer.from(await raw.read(place)).toString()));
}

async function filesBelow(path: string): Promise<string[]> {
  const found = await readdir(path, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map(({ name }) => name);
}

test('buffers are transferred; a part of a larger buffer is copied', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const [own, part] = [bytesOf('its own'), bytesOf('before|a part|after').subarray(7, 13)];
  const [source, a, b] = [compressed('own source'), compressed('a'), compressed('b')];
  const sourcePart = new Uint8Array(Buffer.concat([a.compressed, b.compressed]));
  const [first, second] = [blobOf(own), blobOf(part)];
  const { length } = a.compressed;
  const writing = storage.blobs.write([first, second, { ...first, content: bytesOf('its own') }]);
  const appending = storage.raw.append([
    source,
    { ...a, compressed: sourcePart.subarray(0, length) },
    { ...b, compressed: sourcePart.subarray(length) },
  ]);
  await writing;
  const places = await appending;
  expect([own.length, part.length, source.compressed.length, sourcePart.length > 0]).toEqual([0, 6, 0, true]);
  expect(Buffer.from(await storage.blobs.read(first.sha256)).toString()).toBe('its own');
  expect(Buffer.from(await storage.blobs.read(second.sha256)).toString()).toBe('a part');
  expect(await textsAt(storage.raw, places)).toEqual(['own source', 'a', 'b']);
});

test('the memory of a duplicate is released, too', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const twice = [blobOf(bytesOf('the same')), blobOf(bytesOf('the same'))];
  await storage.blobs.write(twice);
  expect(twice.map(({ content }) => content.length)).toEqual([0, 0]);
  expect(await filesBelow(folder.path)).toEqual([twice[0]?.sha256]);
});

test('a detached buffer is never written as an empty file', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const blob = blobOf(bytesOf('once'));
  await storage.blobs.write([blob]);
  await rm(pathOf(folder.path, blob.sha256));
  await expect(storage.blobs.write([blob])).rejects.toMatchObject({ code: 'unexpected' });
  expect(await filesBelow(folder.path)).toEqual([]);
});

test('an empty attachment is an empty file', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const empty = blobOf(new Uint8Array());
  await storage.blobs.write([empty]);
  expect(await storage.blobs.read(empty.sha256)).toHaveLength(0);
});

test('a batch is one message there and one back', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const thread = await threadOf(() => storage.raw.append([compressed('first')]));
  const asked = vi.spyOn(thread, 'postMessage');
  const answered = vi.fn();
  thread.on('message', answered);
  await Promise.all([storage.raw.append([compressed('a'), compressed('b')]), storage.blobs.write(blobsOf(20))]);
  expect([asked.mock.calls.length, answered.mock.calls.length]).toEqual([1, 1]);
});

test('appends are stored in the order of their calls', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const texts = Array.from({ length: 30 }, (_, index) => `source ${index}`);
  const appending: Promise<readonly StoredSource[]>[] = [];
  for (const text of texts) {
    appending.push(storage.raw.append([compressed(text), compressed(`${text}, second`)]));
    // Some go in one message, some in messages of their own.
    if (appending.length % 3 === 0) await new Promise(setImmediate);
  }
  const places = (await Promise.all(appending)).flat();
  expect(await textsAt(storage.raw, places)).toEqual(texts.flatMap((text) => [text, `${text}, second`]));
  expect(places.map(({ offset }) => offset)).toEqual(places.map(({ offset }) => offset).toSorted((a, b) => a - b));
  expect(await readdir(join(folder.path, 'raw'))).toEqual([places[0]?.segment]);
});

test('folders have mode 0700, and are created again when they were removed', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const [blob] = blobsOf(1);
  if (blob === undefined) throw new Error('no blob');
  const path = pathOf(folder.path, blob.sha256);
  const write = () => Promise.all([storage.blobs.write(blobsOf(1)), storage.raw.append([compressed('x')])]);
  await write();
  for (const made of [join(folder.path, 'raw'), join(folder.path, 'blobs'), join(path, '..')])
    expect((await stat(made)).mode & 0o777).toBe(0o700);
  await rm(join(folder.path, 'blobs'), { recursive: true });
  await write();
  expect(await readFile(path, 'utf8')).toBe('number 0');
});

const takenAway: readonly (readonly [what: string, take: (raw: string, segment: string) => Promise<void>])[] = [
  ['the segment is deleted', (raw, segment) => rm(join(raw, segment))],
  [
    'the segment is replaced',
    (raw, segment) =>
      writeFile(join(raw, `${segment}.new`), 'x').then(() => rename(join(raw, `${segment}.new`), join(raw, segment))),
  ],
  ['the folder is deleted', (raw) => rm(raw, { recursive: true })],
  [
    'the folder is moved elsewhere, with a link to it',
    async (raw) => {
      await rename(raw, `${raw}-elsewhere`);
      await symlink(`${raw}-elsewhere`, raw);
    },
  ],
];

test.each(takenAway)('when %s while it is written to, later sources are found again', async (_what, take) => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const [first] = await storage.raw.append([compressed('before')]);
  await take(join(folder.path, 'raw'), first?.segment ?? '');
  const later = [
    ...(await storage.raw.append([compressed('after')])),
    ...(await storage.raw.append([compressed('last')])),
  ];
  expect(await textsAt(storage.raw, later)).toEqual(['after', 'last']);
});

test('an error of the file system fails its task only, with its code, and later tasks succeed', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  await writeFile(join(folder.path, 'raw'), 'a file where a folder should be');
  const [appended, written] = await Promise.allSettled([
    storage.raw.append([compressed('x')]),
    storage.blobs.write(blobsOf(3)),
  ]);
  expect(written.status).toBe('fulfilled');
  expect(appended).toMatchObject({
    reason: {
      code: 'disk_failed',
      message: 'a raw source cannot be written or read (EEXIST)',
      cause: { code: 'EEXIST', message: expect.stringContaining(join(folder.path, 'raw')) },
    },
  });
  await rm(join(folder.path, 'raw'));
  expect(await textsAt(storage.raw, await storage.raw.append([compressed('again')]))).toEqual(['again']);
});

test('when one of many fails, the temporary files of the others are removed', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const blobs = blobsOf(40);
  await mkdir(join(folder.path, 'blobs'));
  await writeFile(join(folder.path, 'blobs', blobs[39]?.sha256.slice(0, 2) ?? ''), 'in the way');
  const ours = blobs.filter(({ sha256 }) => sha256.slice(0, 2) !== blobs[39]?.sha256.slice(0, 2));
  await expect(storage.blobs.write([...ours, ...blobs.slice(39)])).rejects.toMatchObject({ code: 'disk_failed' });
  expect(await filesBelow(folder.path)).toEqual([blobs[39]?.sha256.slice(0, 2)]);
});

test.skipIf(!isRoot)(
  'after a short write a new segment is begun, and places are right (needs root to mount one)',
  async () => {
    await using folder = await temporaryFolder('storage');
    const path = join(folder.path, 'data');
    await mkdir(path);
    await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tiny', path]);
    try {
      await using storage = open(path);
      const places = [...(await storage.raw.append([compressed('before')]))];
      const noise = () => crypto.getRandomValues(new Uint8Array(65_536));
      const tooMuch = Array.from({ length: 20 }, () => ({ compressed: noise(), sha256: '' }));
      await expect(storage.raw.append(tooMuch)).rejects.toMatchObject({ code: 'disk_full' });
      const large = Array.from({ length: 20 }, () => blobOf(noise()));
      await expect(storage.blobs.write(large)).rejects.toMatchObject({ code: 'disk_full', cause: { code: 'ENOSPC' } });
      expect(await filesBelow(join(path, 'blobs'))).toEqual([]);
      const [half] = await readdir(join(path, 'raw'));
      expect((await stat(join(path, 'raw', half ?? ''))).size).toBeGreaterThan(100_000);
      await runProgram('truncate', ['--size=100000', join(path, 'raw', half ?? '')]);
      places.push(...(await storage.raw.append([compressed('after'), compressed('wards')])));
      expect(await textsAt(storage.raw, places)).toEqual(['before', 'after', 'wards']);
      expect(places.map(({ offset }) => offset)).toEqual([0, 0, compressed('after').compressed.length]);
    } finally {
      await runProgram('umount', ['--lazy', path]);
    }
  },
);

test('when the thread dies, pending tasks fail, and the next batch starts a new thread', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const before: StoredSource[] = [];
  const thread = await threadOf(async () => before.push(...(await storage.raw.append([compressed('before')]))));
  const waiting = Promise.allSettled([storage.raw.append([compressed('lost')]), storage.blobs.write(blobsOf(64))]);
  await thread.terminate();
  for (const ended of await waiting)
    expect(ended).toMatchObject({ reason: { code: 'disk_failed', message: expect.stringContaining('ERR_WORKER') } });
  await storage.blobs.write(blobsOf(64));
  const after = await storage.raw.append([compressed('after')]);
  expect(await textsAt(storage.raw, [...before, ...after])).toEqual(['before', 'after']);
  expect(after[0]).toMatchObject({ offset: 0, segment: expect.not.stringMatching(before[0]?.segment ?? '') });
});

test('a defect ends the thread only, and is the cause of the failure', async () => {
  await using folder = await temporaryFolder('storage');
  await using storage = open(folder.path);
  const thread = await threadOf(() => storage.blobs.write(blobsOf(1)));
  thread.postMessage({ number: 7 });
  await expect(storage.blobs.write(blobsOf(2))).rejects.toMatchObject({
    code: 'disk_failed',
    message: 'an attachment cannot be written or read (TypeError)',
  });
  await storage.blobs.write(blobsOf(2));
});

test('disposing waits for writes in progress; later writes fail', async () => {
  await using folder = await temporaryFolder('storage');
  const storage = open(folder.path);
  const thread = await threadOf(() => storage.blobs.write(blobsOf(1)));
  const writing = storage.blobs.write(blobsOf(200));
  const appending = storage.raw.append([compressed('last')]);
  await storage[Symbol.asyncDispose]();
  expect(thread.threadId).toBe(-1);
  await expect(writing).resolves.toBeUndefined();
  expect(await textsAt(storage.raw, await appending)).toEqual(['last']);
  expect(await readdir(join(folder.path, 'blobs'), { recursive: true }).then((names) => new Set(names).size)).toBe(
    200 + new Set(blobsOf(200).map(({ sha256 }) => sha256.slice(0, 2))).size,
  );
  await expect(storage.blobs.write(blobsOf(1))).rejects.toMatchObject({ code: 'interrupted' });
  await expect(storage.raw.append([compressed('x')])).rejects.toMatchObject({ code: 'interrupted' });
});

test('disposing without a write starts no thread', async () => {
  await using folder = await temporaryFolder('storage');
  const started = vi.fn();
  process.once('worker', started);
  await open(folder.path)[Symbol.asyncDispose]();
  process.off('worker', started);
  expect(started).not.toHaveBeenCalled();
});

test('a process that ends without disposing waits for writes in progress only', async () => {
  await using folder = await temporaryFolder('storage');
  const module = new URL('../../../src/adapters/files/storage.ts', import.meta.url).href;
  const code = `
    const { createStorage } = await import(${JSON.stringify(module)});
    const storage = createStorage(process.argv[1], { nowMs: Date.now }, process.getBuiltinModule('node:crypto').randomUUIDv7);
    await storage.raw.append([{ compressed: new Uint8Array(3), sha256: '' }]);
    setTimeout(() => void storage.raw.append([{ compressed: new Uint8Array(4), sha256: '' }]), 50);
  `;
  await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code, folder.path]);
  const [segment] = await readdir(join(folder.path, 'raw'));
  expect((await stat(join(folder.path, 'raw', segment ?? ''))).size).toBe(7);
});
