import { execFileSync, spawn } from 'node:child_process';
import { chmod, chown, lstat, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wrapKeys } from '../../../src/adapters/keyfile/age.ts';
import { keyIds } from '../../../src/secret/key.ts';
import { ended, runProgram } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import {
  contentOf,
  copyTo,
  failureOf,
  freshKeys,
  keyFileIn,
  passphraseOf,
  pathIn,
  pause,
  said,
  testWorkFactor,
} from './setting.ts';

const isRoot = process.geteuid?.() === 0;
const service = 54_321;
const now = Date.UTC(2026, 10, 24, 18, 1, 2, 345);
const right = 'correct horse battery staple';
let folder: TemporaryFolder;
let path = '';

beforeEach(async () => {
  folder = await temporaryFolder('keys');
  path = pathIn(folder.path);
});

afterEach(() => folder[Symbol.asyncDispose]());

const names = async () => (await readdir(folder.path)).sort();
const put = async (kind: string): Promise<void> => {
  if (kind === 'a file') await writeFile(path, 'something', { mode: 0o600 });
  if (kind === 'a folder') await mkdir(path);
  if (kind === 'a link') await symlink(join(folder.path, 'nowhere'), path);
  if (kind === 'a pipe') execFileSync('mkfifo', [path]);
};
const kinds = ['a file', 'a folder', 'a link', 'a pipe'] as const;
const leftOver = (letter: string) => join(folder.path, `.encryption-key.bin.${letter.repeat(32)}.tmp`);

describe('creating the key file', () => {
  test('writes the keys and nothing else, mode 0600 whatever the umask says', async () => {
    const keys = freshKeys(3);
    const umask = process.umask(0o777);
    await keyFileIn(folder.path)
      .create(keys)
      .finally(() => process.umask(umask));
    expect((await readFile(path)).equals(contentOf(keys))).toBe(true);
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect(await names()).toEqual(['encryption-key.bin']);
    expect(said(await keyFileIn(folder.path).read())).toEqual(keyIds(keys));
  });

  test('writes a wrapped file as it is', async () => {
    const keys = freshKeys();
    const wrapped = await wrapKeys(keys, passphraseOf(right), testWorkFactor);
    await keyFileIn(folder.path).create(keys, wrapped);
    expect((await readFile(path)).equals(wrapped)).toBe(true);
  });

  test.each(kinds)('is refused when %s is there, which stays', async (kind) => {
    await put(kind);
    const before = await lstat(path, { bigint: true });
    const failure = await failureOf(keyFileIn(folder.path).create(freshKeys()));
    expect([failure.code, failure.message]).toEqual(['already_exists', `${path} exists already`]);
    expect((await lstat(path, { bigint: true })).ino).toBe(before.ino);
    expect(await names()).toEqual(['encryption-key.bin']);
  });

  test('has exactly one winner, however many try at once', async () => {
    for (let round = 0; round < 25; round += 1) {
      await using place = await temporaryFolder('race');
      const tries = await Promise.allSettled(
        Array.from({ length: 8 }, async () => {
          const keys = freshKeys();
          await keyFileIn(place.path).create(keys);
          return keyIds(keys);
        }),
      );
      const winners = tries.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
      expect(winners).toHaveLength(1);
      expect(said(await keyFileIn(place.path).read())).toEqual(winners[0]);
      for (const one of tries) if (one.status === 'rejected') expect(one.reason.code).toBe('already_exists');
      expect(await readdir(place.path)).toHaveLength(1);
    }
  });

  test('fails without a folder, and says where', async () => {
    const failure = await failureOf(keyFileIn(join(folder.path, 'missing')).create(freshKeys()));
    expect(failure.code).toBe('disk_failed');
    expect(failure.message).toContain(`${join(folder.path, 'missing')}/encryption-key.bin`);
    expect(failure.hint).toContain('does not exist');
  });

  test('that the disk has no room for is disk_full, and leaves nothing', async () => {
    const writer = new URL('./writer.ts', import.meta.url).pathname;
    const said = await runProgram('prlimit', ['--fsize=16', '--', process.execPath, writer, folder.path]);
    expect(said).toBe('ready\ndisk_full\n');
    expect(await names()).toEqual([]);
  });
});

describe('replacing the key file', () => {
  test('takes the place of what is there, and of nothing', async () => {
    const keyFile = keyFileIn(folder.path);
    for (const keys of [freshKeys(), freshKeys(2)]) {
      await keyFile.replace(keys);
      expect(said(await keyFile.read())).toEqual(keyIds(keys));
    }
    expect(await names()).toEqual(['encryption-key.bin']);
  });

  test('makes a damaged or open file good', async () => {
    await writeFile(path, 'damaged', { mode: 0o644 });
    await chmod(path, 0o644);
    const keys = freshKeys();
    await keyFileIn(folder.path).replace(keys);
    expect(said(await keyFileIn(folder.path).read())).toEqual(keyIds(keys));
  });

  test.each(['a folder', 'a link', 'a pipe'])(
    'is refused when %s is there: what it protects is not known',
    async (kind) => {
      await put(kind);
      expect((await failureOf(keyFileIn(folder.path).replace(freshKeys()))).code).toBe('key_file_refused');
      expect(await names()).toEqual(['encryption-key.bin']);
    },
  );

  test('killed at any moment leaves a whole file; what it left beside goes with the next writing', async () => {
    await keyFileIn(folder.path).create(freshKeys());
    let leftBehind = 0;
    for (let round = 0; round < 8; round += 1) {
      const child = spawn(process.execPath, [new URL('./writer.ts', import.meta.url).pathname, folder.path]);
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await pause(5 + Math.random() * 20);
      child.kill('SIGKILL');
      await ended(child);
      expect(Array.isArray(said(await keyFileIn(folder.path).read()))).toBe(true);
    }
    for (const name of await names()) {
      if (name === 'encryption-key.bin') continue;
      leftBehind += 1;
      expect((await stat(join(folder.path, name))).mode & 0o077).toBe(0);
      await utimes(join(folder.path, name), 1, 1);
    }
    await keyFileIn(folder.path).replace(freshKeys());
    expect(await names()).toEqual(['encryption-key.bin']);
    expect(leftBehind).toBeLessThanOrEqual(8);
  });
});

describe('what a crash left behind', () => {
  test('is removed when it is older than a minute, and nothing that is named otherwise', async () => {
    const old = (Date.now() - 61_000) / 1000;
    const kept = [
      '.encryption-key.bin.tmp',
      `.other.bin.${'a'.repeat(32)}.tmp`,
      `.encryption-key.bin.${'A'.repeat(32)}.tmp`,
    ];
    for (const file of [leftOver('a'), leftOver('b'), leftOver('c'), ...kept.map((name) => join(folder.path, name))])
      await writeFile(file, 'x');
    for (const file of [leftOver('a'), leftOver('b'), ...kept.map((name) => join(folder.path, name))])
      await utimes(file, old, old);
    await mkdir(leftOver('d'));
    await utimes(leftOver('d'), old, old);
    await keyFileIn(folder.path).create(freshKeys());
    expect(await names()).toEqual(
      [...kept, basename(leftOver('c')), basename(leftOver('d')), 'encryption-key.bin'].sort(),
    );
  });
});

describe('setting aside', () => {
  test.each(kinds)('renames %s to a name with reason and time', async (kind) => {
    await put(kind);
    const before = await lstat(path, { bigint: true });
    const aside = await keyFileIn(folder.path, { nowMs: () => now }).setAside('disabled');
    expect(aside).toMatch(/encryption-key\.bin\.disabled-20261124T180102Z-[0-9a-f]{8}$/);
    expect((await lstat(String(aside), { bigint: true })).ino).toBe(before.ino);
    expect(await names()).toEqual([basename(String(aside))]);
  });

  test.each(kinds)('overwrites nothing when the name of %s is taken', async (kind) => {
    const keyFile = keyFileIn(folder.path, { nowMs: () => now });
    const aside = [];
    for (let time = 0; time < 3; time += 1) {
      await put(kind);
      aside.push(await keyFile.setAside('damaged'));
    }
    expect(new Set(aside).size).toBe(3);
    expect(await names()).toEqual(aside.map((one) => basename(String(one))).sort());
  });

  test('gives null without a file, and without a folder', async () => {
    expect(await keyFileIn(folder.path).setAside('damaged')).toBeNull();
    expect(await keyFileIn(join(folder.path, 'missing')).setAside('damaged')).toBeNull();
  });

  test('of one file by several at once loses nothing', async () => {
    await writeFile(path, contentOf(freshKeys()));
    const aside = await Promise.all(
      Array.from({ length: 4 }, () => keyFileIn(folder.path, { nowMs: () => now }).setAside('disabled')),
    );
    expect(aside.filter((one) => one !== null).length).toBeGreaterThanOrEqual(1);
    for (const name of await names()) expect((await stat(join(folder.path, name))).size).toBe(32);
    await expect(lstat(path)).rejects.toThrow('ENOENT');
  });
});

describe.runIf(isRoot)('root, in a data folder of the service', () => {
  const giveFolder = () => chown(folder.path, service, service + 1);

  test('reads what the service wrote, and writes nothing: a command has become the service by then', async () => {
    await giveFolder();
    expect(await failureOf(keyFileIn(folder.path).create(freshKeys()))).toMatchObject({ code: 'refused' });
    expect(await names()).toEqual([]);
    process.seteuid?.(service);
    await keyFileIn(folder.path)
      .create(freshKeys())
      .finally(() => process.seteuid?.(0));
    const before = await readFile(path);
    const keyFile = keyFileIn(folder.path, { says: right });
    expect(said(await keyFile.read())).toHaveLength(1);
    expect(await failureOf(keyFile.protect(passphraseOf(right)))).toMatchObject({ code: 'refused' });
    expect(await failureOf(keyFile.replace(freshKeys(2)))).toMatchObject({ code: 'refused' });
    expect(await readFile(path)).toEqual(before);
    expect(await stat(path)).toMatchObject({ uid: service });
  });

  test('owns a copy elsewhere itself', async () => {
    await using elsewhere = await temporaryFolder('backup');
    const keyFile = keyFileIn(folder.path);
    await keyFile.create(freshKeys());
    await giveFolder();
    await copyTo(keyFile, join(elsewhere.path, 'copy'));
    expect((await stat(join(elsewhere.path, 'copy'))).uid).toBe(0);
  });

  test('the service can set aside a file that belongs to root', async () => {
    await giveFolder();
    await writeFile(path, contentOf(freshKeys()), { mode: 0o600 });
    process.seteuid?.(service);
    const aside = await keyFileIn(folder.path, { nowMs: () => now })
      .setAside('damaged')
      .finally(() => process.seteuid?.(0));
    expect(aside).toMatch(/encryption-key\.bin\.damaged-20261124T180102Z-[0-9a-f]{8}$/);
    expect(await names()).toEqual([basename(String(aside))]);
  });
});
