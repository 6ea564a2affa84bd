/** Verified reads: a row may name segments and blobs of this program, and whole frames with their SHA-256. */
import { hash, randomUUIDv7 } from 'node:crypto';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { blobPath, segmentName, segmentPath } from '../../../src/adapters/files/names.ts';
import { createStorage } from '../../../src/adapters/files/storage.ts';
import type { StoredSource } from '../../../src/ingest/model.ts';
import { runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const sha256Of = (content: string | Uint8Array) => hash('sha256', content, 'hex');
const frameOf = (content: string | Uint8Array) => ({
  compressed: new Uint8Array(zstdCompressSync(content)),
  sha256: sha256Of(content),
});

async function stored(...contents: readonly (string | Uint8Array)[]) {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('stored'));
  const storage = building.use(createStorage(folder.path, { nowMs: Date.now }, randomUUIDv7));
  const sources = await storage.raw.append(contents.map(frameOf));
  const undo = building.move();
  const [first] = sources;
  if (first === undefined) throw new Error('nothing is stored');
  const path = (source: StoredSource) => join(folder.path, 'raw', source.segment);
  return { folder: folder.path, storage, sources, first, path, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

const refused = (message: string) => ({ code: 'source_refused', message: expect.stringContaining(message) });

test.each([
  '../../etc/passwd',
  '/etc/passwd',
  '',
  '.',
  '..',
  'x.zst',
  '20261124-a.zst',
  `20261124-${randomUUIDv7()}.zst/../x`,
  `./20261124-${randomUUIDv7()}.zst`,
  `20261124-${randomUUIDv7()}.zst\n`,
  `20261124-${randomUUIDv7()}.zst\0`,
  `20261124-${randomUUIDv7().toUpperCase()}.zst`,
])('%j is not the name of a segment', async (name) => {
  await using at = await stored('a source');
  expect(segmentPath('/raw', name)).toBeNull();
  await expect(at.storage.raw.read({ ...at.first, segment: name })).rejects.toMatchObject(refused('no segment'));
  expect(await at.storage.raw.lengthOf(name)).toBeNull();
  await at.storage.raw.remove(name);
});

test('names that the writers make are accepted; others cannot be made', () => {
  expect(segmentPath('/raw', segmentName('20261124', randomUUIDv7()))).toMatch(/^\/raw\/20261124-[0-9a-f-]{36}\.zst$/);
  for (const id of ['../../x', '', 'a']) expect(() => segmentName('20261124', id)).toThrow('not the name');
  for (const name of ['', '../../../etc/passwd', 'a'.repeat(63), 'A'.repeat(64), `${'a'.repeat(64)}\n`])
    expect(blobPath('/blobs', name)).toBeNull();
});

test.each([
  [{ offset: -1 }, 'no place'],
  [{ lengthBytes: 0 }, 'no place'],
  [{ lengthBytes: -5 }, 'no place'],
  [{ offset: 0.5 }, 'no place'],
  [{ lengthBytes: Number.MAX_SAFE_INTEGER, offset: 9 }, 'no place'],
  [{ offset: 1 }, 'no frame'],
  [{ sha256: '' }, 'another SHA-256'],
  [{ sha256: sha256Of('b source') }, 'another SHA-256'],
])('a row with %j is refused', async (wrong, message) => {
  await using at = await stored('a source', 'b source');
  await expect(at.storage.raw.read({ ...at.first, ...wrong })).rejects.toMatchObject(refused(message));
  await expect(at.storage.raw.read({ ...at.first, ...wrong }, 3)).rejects.toMatchObject(refused(message));
});

test('a place after the end is missing, whatever its length; no memory is taken for it', async () => {
  await using at = await stored('a source');
  for (const lengthBytes of [100, 2 ** 40])
    await expect(at.storage.raw.read({ ...at.first, lengthBytes })).rejects.toMatchObject({ code: 'source_missing' });
});

test('a row that names several frames gets no more than the first one states', async () => {
  const many = Array.from({ length: 200 }, () => new Uint8Array(1_000_000));
  await using at = await stored(...many);
  const lengthBytes = at.sources.reduce((sum, source) => sum + source.lengthBytes, 0);
  const before = process.memoryUsage().arrayBuffers;
  await expect(at.storage.raw.read({ ...at.first, lengthBytes })).rejects.toMatchObject(refused('another SHA-256'));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
  await using small = await stored('short', new Uint8Array(200_000));
  const noise = crypto.getRandomValues(new Uint8Array(65_536));
  await small.storage.raw.append([frameOf(noise), frameOf(noise)]);
  await expect(small.storage.raw.read({ ...small.first, lengthBytes: 131_000 })).rejects.toMatchObject(
    refused('more than one frame'),
  );
});

test('a frame that states another size than it has is refused (decompression bomb)', async () => {
  await using at = await stored('a source');
  const bomb = zstdCompressSync(Buffer.alloc(100_000_000), { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } });
  await writeFile(at.path(at.first), bomb);
  const row = { ...at.first, lengthBytes: bomb.length };
  await expect(at.storage.raw.read(row)).rejects.toMatchObject(refused('no frame'));
  const lying = zstdCompressSync(Buffer.alloc(70_000));
  // Frame_Content_Size of four bytes after magic and descriptor: 16 instead of 70,000.
  lying.writeUInt32LE(16, 5);
  await writeFile(at.path(at.first), lying);
  await expect(at.storage.raw.read({ ...row, lengthBytes: lying.length })).rejects.toMatchObject({
    code: 'source_refused',
  });
});

test('links, folders and pipes in the place of a file are refused, at once', async () => {
  await using at = await stored('a source');
  const outside = join(at.folder, 'outside');
  await rename(at.path(at.first), outside);
  await symlink(outside, at.path(at.first));
  await expect(at.storage.raw.read(at.first)).rejects.toMatchObject(refused('not a regular file'));
  expect(await at.storage.raw.lengthOf(at.first.segment)).toBeNull();
  const [folder, pipe] = ['1', '2'].map((day) => segmentName(`2026112${day}`, randomUUIDv7()));
  await mkdir(join(at.folder, 'raw', folder ?? ''));
  await runProgram('mkfifo', [join(at.folder, 'raw', pipe ?? '')]);
  for (const segment of [folder, pipe])
    await expect(at.storage.raw.read({ ...at.first, segment: segment ?? '' })).rejects.toMatchObject(
      refused('not a regular file'),
    );
});

test('an attachment is read from its own file, with its own bytes', async () => {
  await using at = await stored('a source');
  const content = Buffer.from('the scan');
  const sha256 = sha256Of(content);
  await at.storage.blobs.write([{ sha256, content: new Uint8Array(content) }]);
  const path = blobPath(join(at.folder, 'blobs'), sha256) ?? '';
  expect(await readFile(path, 'utf8')).toBe('the scan');
  await writeFile(path, 'another.');
  await expect(at.storage.blobs.read(sha256)).rejects.toMatchObject(refused('other bytes'));
  await rename(path, join(at.folder, 'elsewhere'));
  await symlink(join(at.folder, 'elsewhere'), path);
  await expect(at.storage.blobs.read(sha256)).rejects.toMatchObject(refused('not a regular file'));
  await rename(join(path, '..'), join(at.folder, 'prefix'));
  await symlink(join(at.folder, 'prefix'), join(path, '..'));
  await writeFile(join(at.folder, 'elsewhere'), 'the scan');
  await expect(at.storage.blobs.read(sha256)).rejects.toMatchObject(refused('not a regular file'));
});
