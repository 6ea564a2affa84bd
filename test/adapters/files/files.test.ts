import { hash, randomUUIDv7 } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createStorage } from '../../../src/adapters/files/storage.ts';
import { isFailure } from '../../../src/errors.ts';

const dayMs = 86_400_000;
const clock = { nowMs: () => Date.UTC(2026, 10, 24, 12) };
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ticketmaild-files-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** In a buffer of its own, as the parse threads give it. */
const blobOf = (text: string) => ({
  sha256: hash('sha256', text, 'hex'),
  content: new Uint8Array(Buffer.from(text)),
});

const compressed = (source: string | Buffer) => ({
  compressed: new Uint8Array(zstdCompressSync(source)),
  sha256: hash('sha256', source, 'hex'),
});

describe('attachments on the disk', () => {
  test('are found again under their hash, readable by their owner alone', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    const blob = blobOf('a scan');
    await blobs.write([blob, blob, blobOf('another')]);
    const path = join(folder, 'blobs', blob.sha256.slice(0, 2), blob.sha256);
    expect(Buffer.from(await blobs.read(blob.sha256)).toString()).toBe('a scan');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test('a half-written file of an earlier crash is replaced by the whole one', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    const blob = blobOf('the whole scan');
    await blobs.write([blob]);
    const path = join(folder, 'blobs', blob.sha256.slice(0, 2), blob.sha256);
    await writeFile(path, 'the wh');
    await blobs.write([blobOf('the whole scan')]);
    expect(await readFile(path, 'utf8')).toBe('the whole scan');
  });

  test('a damaged one is written again with the next message that has it', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const blob = blobOf('the whole scan');
    await storage.blobs.write([blob]);
    const path = join(folder, 'blobs', blob.sha256.slice(0, 2), blob.sha256);
    await writeFile(path, 'the hole scan.');
    await storage.blobs.write([blobOf('the whole scan')]);
    expect(await readFile(path, 'utf8')).toBe('the whole scan');
  });

  test('no temporary file is left behind', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    await blobs.write(Array.from({ length: 40 }, (_, index) => blobOf(`number ${index}`)));
    const names = (await readdir(join(folder, 'blobs'), { recursive: true })).filter((name) => name.includes('.'));
    expect(names).toEqual([]);
  });

  test('a name that is not a hash never becomes a path', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    await expect(blobs.read('../../etc/passwd')).rejects.toSatisfy((error) => isFailure(error, 'source_refused'));
  });

  test('a blob that is used again is not removed as unused', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    const [old, again] = [blobOf('old'), blobOf('again')];
    await blobs.write([old, again]);
    const longAgo = new Date(Date.now() - 3 * dayMs);
    for (const { sha256 } of [old, again])
      await utimes(join(folder, 'blobs', sha256.slice(0, 2), sha256), longAgo, longAgo);
    const before = Date.now() - dayMs;
    const untouched = (await Array.fromAsync(blobs.untouchedSince(before))).sort();
    expect(untouched).toEqual([old.sha256, again.sha256].sort());
    await blobs.write([blobOf('again')]);
    expect(await blobs.removeUntouched(again.sha256, before)).toBe(false);
    expect(await blobs.removeUntouched(old.sha256, before)).toBe(true);
    expect(Buffer.from(await blobs.read(again.sha256)).toString()).toBe('again');
    await expect(blobs.read(old.sha256)).rejects.toSatisfy((error) => isFailure(error, 'disk_failed'));
  });

  test('a folder that cannot be written is a failure that names the reason', async () => {
    await writeFile(join(folder, 'blobs'), 'a file where a folder should be');
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { blobs } = storage;
    await expect(blobs.write([blobOf('x')])).rejects.toSatisfy((error) => isFailure(error, 'disk_failed'));
  });
});

describe('raw sources in segments', () => {
  test('are decompressed up to the requested length only', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { raw } = storage;
    const noise = Buffer.from(Array.from({ length: 50_000 }, () => Math.random()).join('\n'));
    for (const source of [Buffer.from('short'), noise, Buffer.alloc(20_000_000), Buffer.alloc(0)]) {
      const [place] = await raw.append([compressed(source)]);
      if (place === undefined) throw new Error('no place');
      expect(source.subarray(0, 1000).equals(await raw.read(place, 1000))).toBe(true);
      expect(source.equals(await raw.read(place))).toBe(true);
    }
  });

  test('are read back unchanged, from one file per day', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { raw } = storage;
    const places = [
      ...(await raw.append([compressed('one'), compressed('two')])),
      ...(await raw.append([compressed('three')])),
    ];
    const texts = await Promise.all(places.map(async (place) => Buffer.from(await raw.read(place)).toString()));
    expect(texts).toEqual(['one', 'two', 'three']);
    expect(new Set(places.map(({ segment }) => segment)).size).toBe(1);
  });

  test('concurrent appends do not mix', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { raw } = storage;
    const texts = Array.from({ length: 50 }, (_, index) => `message ${index} ${'x'.repeat(index * 10)}`);
    const places = (await Promise.all(texts.map((text) => raw.append([compressed(text)])))).flat();
    const found = await Promise.all(places.map(async (place) => Buffer.from(await raw.read(place)).toString()));
    expect(found).toEqual(texts);
  });

  test('a new day starts a new segment; old ones are listed once their day is over and the retention has passed', async () => {
    let now = Date.UTC(2026, 10, 20, 23);
    await using storage = createStorage(folder, { nowMs: () => now }, randomUUIDv7);
    const { raw } = storage;
    const [first] = await raw.append([compressed('a')]);
    now += 2 * 3_600_000;
    const [second] = await raw.append([compressed('b')]);
    expect(second?.segment).not.toBe(first?.segment);
    expect(await raw.segmentsBefore(Date.UTC(2026, 10, 20, 23, 30))).toEqual([]);
    expect(await raw.segmentsBefore(Date.UTC(2026, 10, 21))).toEqual([first?.segment]);
  });

  test('a source whose segment has expired is source_missing', async () => {
    await using storage = createStorage(folder, clock, randomUUIDv7);
    const { raw } = storage;
    const [place] = await raw.append([compressed('short-lived')]);
    if (place === undefined) throw new Error('nothing was appended');
    await raw.remove(place.segment);
    await expect(raw.read(place)).rejects.toSatisfy((error) => isFailure(error, 'source_missing'));
  });
});
