import { randomFillSync } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSwitchStateFile } from '../../../src/adapters/keyfile/state-files.ts';
import { generateKey } from '../../../src/secret/key.ts';
import { initialSwitchRow, type SwitchRow, sealSwitchRow } from '../../../src/secret/switch.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { failureOf } from './setting.ts';

const isRoot = process.geteuid?.() === 0;
const service = 54_321;
const key = generateKey((bytes) => randomFillSync(bytes));
let folder: TemporaryFolder;
let path = '';

beforeEach(async () => {
  folder = await temporaryFolder('memory');
  path = join(folder.path, 'switch-state');
});

afterEach(() => folder[Symbol.asyncDispose]());

const row = (revision: number): SwitchRow =>
  sealSwitchRow(
    { state: 'on', keyId: key.id, nextKeyId: null, revision, changedAtMs: 1_795_543_262_000, changedBy: 'ada@büro' },
    key,
  );
const memory = () => createSwitchStateFile({ dataDir: folder.path });
const write = (text: string) => writeFile(path, text, { mode: 0o600 });

describe('the switch state file', () => {
  test('is absent at first, and without a folder', async () => {
    expect(await memory().read()).toBeNull();
    expect(await createSwitchStateFile({ dataDir: join(folder.path, 'missing') }).read()).toBeNull();
  });

  test.each([initialSwitchRow, row(7)])('is read as it was written', async (given) => {
    await memory().remember(given);
    expect(await memory().read()).toEqual(given);
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect(await readdir(folder.path)).toEqual(['switch-state']);
  });

  test('never goes back to an older revision, unless it is overwritten on purpose', async () => {
    const one = memory();
    await one.remember(row(7));
    await one.remember(row(6));
    expect((await one.read())?.revision).toBe(7);
    await one.remember(row(8));
    expect((await one.read())?.revision).toBe(8);
    await one.overwrite(row(3));
    expect((await one.read())?.revision).toBe(3);
  });

  test('contains the latest of many concurrent rows', async () => {
    const one = memory();
    await Promise.all([4, 9, 2, 7, 1, 8].map((revision) => one.remember(row(revision))));
    expect((await one.read())?.revision).toBe(9);
  });

  test('is not written again when nothing changed', async () => {
    await memory().remember(row(7));
    await utimes(path, 1, 1);
    await memory().remember(row(7));
    expect((await stat(path)).mtimeMs).toBe(1000);
  });

  test('contains only the row, whatever else the object has', async () => {
    await memory().remember({ ...row(7), more: 'x' } as SwitchRow);
    expect(Object.keys(JSON.parse(await readFile(path, 'utf8')))).toEqual(Object.keys(initialSwitchRow));
  });

  test('records an issued row before and after the first accepted one, until that revision is passed', async () => {
    const one = memory();
    await one.issue(row(1), 'command', 'desk/1');
    expect(await one.read()).toBeNull();
    const issued = { revision: 1, seal: row(1).seal, origin: 'command', by: 'desk/1' };
    expect(await memory().readMemory()).toEqual({ row: null, origin: null, issued: [issued] });
    await one.withdraw(row(1).seal ?? '');
    expect((await memory().readMemory()).issued).toEqual([{ ...issued, by: null }]);
    await one.issue(row(2), 'daemon', 'desk/2');
    await one.remember(row(2));
    expect(await memory().readMemory()).toEqual({ row: row(2), origin: 'daemon', issued: [] });
    await one.remember(row(3));
    expect((await memory().readMemory()).origin).toBeNull();
    await one.withdraw(row(9).seal ?? '');
    expect((await memory().readMemory()).row).toEqual(row(3));
  });

  test('holds the last issued rows within its size', async () => {
    const one = memory();
    for (let revision = 1; revision <= 20; revision += 1) await one.issue(row(revision), 'daemon', 'x'.repeat(160));
    expect((await one.readMemory()).issued.map(({ revision }) => revision)).toEqual([13, 14, 15, 16, 17, 18, 19, 20]);
  });

  test('removes temporary files of a crash', async () => {
    const leftOver = join(folder.path, `.switch-state.${'0'.repeat(32)}.tmp`);
    await writeFile(leftOver, 'x');
    await utimes(leftOver, 1, 1);
    await memory().remember(row(1));
    expect(await readdir(folder.path)).toEqual(['switch-state']);
  });
});

const whole = (change: object): string => JSON.stringify({ ...row(7), ...change });

describe('a file that this program did not write is disk_failed, and never counts as absent', () => {
  test.each([
    ['nothing', ''],
    ['half of it', whole({}).slice(0, 40)],
    ['no JSON', 'state=on'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a text', '"on"'],
    ['an unknown state', whole({ state: 'maybe' })],
    ['a key id that is none', whole({ keyId: 'ABCDEF0123456789' })],
    ['a next key id that is none', whole({ nextKeyId: '' })],
    ['a negative revision', whole({ revision: -1 })],
    ['a broken revision', whole({ revision: 1.5 })],
    ['a revision as text', whole({ revision: '7' })],
    ['a seal that is none', whole({ seal: 'x' })],
    ['no time', whole({ changedAtMs: null })],
    ['nobody who changed it', whole({ changedBy: null })],
    ['a field too many', whole({ more: 1 })],
    ['a field too few', whole({ seal: undefined })],
    ['an origin that is none', whole({ origin: 'eve' })],
    ['an empty list of issued rows', whole({ issued: [] })],
    ['an issued row without its seal', whole({ issued: [{ revision: 8, origin: 'daemon', by: null }] })],
    ['nothing but an origin', '{"origin":"daemon"}'],
    ['a field of another name', whole({ seal: undefined, toString: 1 })],
    ['too much', whole({ changedBy: 'x'.repeat(5000) })],
  ])('%s', async (_title, text) => {
    await write(text);
    const failure = await failureOf(memory().read());
    expect(failure.code).toBe('disk_failed');
    expect(failure.message).toContain(path);
    expect(failure.hint).toContain('encryption trust-restored');
    expect((await failureOf(memory().remember(row(9)))).code).toBe('disk_failed');
    expect(await readFile(path, 'utf8')).toBe(text);
    await memory().overwrite(row(2));
    expect(await memory().read()).toEqual(row(2));
  });

  test('bytes that are no text', async () => {
    await writeFile(path, Buffer.from(whole({ changedBy: 'é' }), 'latin1'));
    expect((await failureOf(memory().read())).code).toBe('disk_failed');
  });

  test('a symbolic link, which overwriting replaces', async () => {
    await writeFile(join(folder.path, 'other'), whole({}));
    await symlink('other', path);
    const failure = await failureOf(memory().read());
    expect([failure.code, failure.message]).toEqual([
      'disk_failed',
      `the switch state file ${path} is a symbolic link`,
    ]);
    await memory().overwrite(row(2));
    expect(await readFile(join(folder.path, 'other'), 'utf8')).toBe(whole({}));
    expect(await memory().read()).toEqual(row(2));
  });

  test('a folder, which stays', async () => {
    await mkdir(path);
    for (const task of [() => memory().read(), () => memory().remember(row(1)), () => memory().overwrite(row(1))])
      expect((await failureOf(task())).code).toBe('disk_failed');
    expect(await readdir(folder.path)).toEqual(['switch-state']);
  });

  test.each([0o620, 0o602, 0o666])('one that others can write, mode %o', async (mode) => {
    await write(whole({}));
    await chmod(path, mode);
    const failure = await failureOf(memory().read());
    expect([failure.code, failure.message.includes('can be changed by others')]).toEqual(['disk_failed', true]);
    expect(failure.hint).toContain(`chmod 600 ${path}`);
    await chmod(path, 0o644);
    expect((await memory().read())?.revision).toBe(7);
  });

  test.runIf(isRoot)('one of another user', async () => {
    await write(whole({}));
    await chown(path, service, service);
    expect((await failureOf(memory().read())).message).toContain(`belongs to user ${service}`);
  });
});

test.runIf(isRoot)('root writes none into a data folder of another user', async () => {
  await chown(folder.path, service, service);
  expect(await failureOf(memory().remember(row(1)))).toMatchObject({ code: 'refused' });
  expect(await readdir(folder.path)).toEqual([]);
});
