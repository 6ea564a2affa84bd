import { execFileSync } from 'node:child_process';
import { chmod, chown, lstat, mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createProofFile } from '../../../src/adapters/keyfile/state-files.ts';
import { proofProblem } from '../../../src/encryption/control.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { failureOf, pause } from './setting.ts';

const isRoot = process.geteuid?.() === 0;
const stranger = 54_321;
let folder: TemporaryFolder;
let path = '';

beforeEach(async () => {
  folder = await temporaryFolder('proof');
  path = join(folder.path, 'can-disable-encryption.txt');
});

afterEach(() => folder[Symbol.asyncDispose]());

const proof = (dataDir = folder.path) => createProofFile({ dataDir });
const problem = async (sinceMs: number) => proofProblem(await proof().checks(sinceMs));
/** A request of a moment ago: file timestamps are coarse. */
async function asked(): Promise<number> {
  const sinceMs = Date.now();
  await pause(30);
  return sinceMs;
}

describe('the proof', () => {
  test('counts when created after the request, even empty, and with the usual mode', async () => {
    const sinceMs = await asked();
    await writeFile(path, '', { mode: 0o644 });
    expect(await problem(sinceMs)).toBeNull();
    expect(proof().path).toBe(path);
  });

  test('counts when touched after the request', async () => {
    await writeFile(path, 'yes');
    const sinceMs = await asked();
    execFileSync('touch', [path]);
    expect(await problem(sinceMs)).toBeNull();
  });

  test('that is missing is requested', async () => {
    expect(await problem(0)).toBe(`${path} does not exist: create it with touch ${path}`);
    expect(proofProblem(await proof(join(folder.path, 'no')).checks(0))).toContain('does not exist');
  });

  test('that existed before the request does not count, whatever its times are set to', async () => {
    await writeFile(path, 'yes');
    const tomorrow = Date.now() / 1000 + 86_400;
    await utimes(path, tomorrow, tomorrow);
    const sinceMs = await asked();
    expect(await problem(sinceMs)).toContain('is older than this request');
  });

  test('that was only renamed or closed after the request does not count', async () => {
    await writeFile(path, 'yes', { mode: 0o666 });
    const sinceMs = await asked();
    await chmod(path, 0o600);
    expect(await problem(sinceMs)).toContain('is older than this request');
  });

  test('that others can write does not count', async () => {
    await writeFile(path, 'yes');
    for (const mode of [0o620, 0o602, 0o777]) {
      await chmod(path, mode);
      expect(await problem(0)).toContain('can be changed by others than its owner');
    }
  });

  test('that is no regular file does not count', async () => {
    await writeFile(join(folder.path, 'real'), 'yes');
    await symlink('real', path);
    expect(await problem(0)).toBe(`${path} is a symbolic link`);
    await proof().remove();
    await mkdir(path);
    expect(await problem(0)).toBe(`${path} is a folder`);
  });

  test.runIf(isRoot)('of another user does not count, unless root finds it in the folder of that user', async () => {
    await writeFile(path, 'yes');
    await chown(path, stranger, stranger);
    expect(await problem(0)).toContain(`belongs to user ${stranger}`);
    await chown(folder.path, stranger, stranger);
    expect(await problem(0)).toBeNull();
  });

  test.runIf(isRoot)('of root counts for the service', async () => {
    await chown(folder.path, stranger, stranger);
    await writeFile(path, 'yes', { mode: 0o644 });
    process.seteuid?.(stranger);
    expect(await problem(0).finally(() => process.seteuid?.(0))).toBeNull();
  });

  test('is reported check by check', async () => {
    const named = async (sinceMs: number) =>
      (await proof().checks(sinceMs)).map(({ name, ok, why, hint }) => [name, ok, why, hint]);
    const unseen = (name: string) => [name, false, null, null];
    const absent = `${path} does not exist: create it with touch ${path}`;
    expect(await named(0)).toEqual([['exists', false, absent, null], unseen('owner'), unseen('newer')]);
    await symlink('nowhere', path);
    const link = `${path} is a symbolic link`;
    expect(await named(0)).toEqual([['exists', false, link, expect.any(String)], unseen('owner'), unseen('newer')]);
    await proof().remove();
    await writeFile(path, '');
    await chmod(path, 0o666);
    const writable = [
      'owner',
      false,
      `${path} can be changed by others than its owner: its mode is 0666`,
      `Close it: chmod 600 ${path}`,
    ];
    const older = `${path} is older than this request: create it again with rm ${path} && touch ${path}`;
    const fine = (name: string) => [name, true, null, null];
    expect(await named(0)).toEqual([fine('exists'), writable, fine('newer')]);
    expect(await named(Date.now() + 60_000)).toEqual([fine('exists'), writable, ['newer', false, older, null]]);
    await chmod(path, 0o644);
    expect(await named(0)).toEqual([fine('exists'), fine('owner'), fine('newer')]);
  });

  test('is removed, and removing nothing is no error', async () => {
    await writeFile(path, 'yes');
    await proof().remove();
    await proof().remove();
    await expect(lstat(path)).rejects.toThrow('ENOENT');
  });

  test('that cannot be removed is disk_failed', async () => {
    await mkdir(path);
    expect((await failureOf(proof().remove())).code).toBe('disk_failed');
  });

  test.runIf(isRoot)('that cannot be checked is disk_failed', async () => {
    process.seteuid?.(stranger);
    const failure = await failureOf(problem(0)).finally(() => process.seteuid?.(0));
    expect(failure.code).toBe('disk_failed');
  });
});
