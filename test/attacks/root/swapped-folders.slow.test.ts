/**
 * A local user exchanges a folder between check and use of a path that root names (CWE-367), or makes that folder
 * first: root makes, gives away and reads nothing elsewhere, and a file with a secret stays root's.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const [service, stranger] = [41_001, 41_002];
const source = (file: string) => JSON.stringify(new URL(`../../../src/adapters/process/${file}`, import.meta.url));
const modules = `const { asPathOwner, becomeFolderOwner } = await import(${source('privileges.ts')});
  const { createNewFile, createNewFolder } = await import(${source('new-file.ts')});`;

let folder: TemporaryFolder;
const at = (...names: readonly string[]) => join(folder.path, ...names);
const quoted = (...names: readonly string[]) => JSON.stringify(at(...names));

async function make(name: string, owner: number, mode = 0o755): Promise<void> {
  await mkdir(at(name));
  await chmod(at(name), mode);
  await chown(at(name), owner, owner);
}

beforeEach(async () => {
  folder = await temporaryFolder('swaps');
  await chmod(folder.path, 0o755);
  await make('data', service, 0o700);
  await make('shared', 0, 0o1777);
  await make('roots', 0);
  await make('roots/mail', 0);
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Runs a module as root; the value of `result`. */
function asRoot(body: string): unknown {
  const attempt = `const attempt = async (task) => { try { return await task(); } catch ({ code }) { return code; } };`;
  const script = `${modules} ${attempt} ${body} console.log(JSON.stringify(result));`;
  return JSON.parse(`${execFileSync(process.execPath, ['--input-type=module', '-e', script])}`);
}

/** Lets the stranger rename `from` to `to` and back until it is ended. */
function toggling(from: string, to: string): ChildProcess {
  const body = `const { renameSync } = require('node:fs'); const wait = new Int32Array(new SharedArrayBuffer(4));
    for (;;) for (const [a, b] of [[0, 1], [1, 0]]) {
      const names = ${JSON.stringify([from, to])};
      try { renameSync(names[a], names[b]); } catch {}
      Atomics.wait(wait, 0, 0, 0.05);
    }`;
  return spawn(process.execPath, ['-e', body], { uid: stranger, gid: stranger, cwd: '/', stdio: 'ignore' });
}

async function ended(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(children.map((child) => once(child, 'close')));
}

describe.skipIf(process.getuid?.() !== 0)('root', () => {
  test('makes no file through a folder that appears after the check', async () => {
    await make('shared/off', stranger);
    await symlink(at('roots', 'mail'), at('shared', 'off', 'link'));
    const strangers = [toggling(at('shared', 'off'), at('shared', 'on'))];
    try {
      const body = `const codes = {}; const end = Date.now() + 3000;
        while (Date.now() < end) {
          const code = await attempt(async () => { await createNewFile(${quoted('shared', 'on', 'link', 'key')}); return 'made'; });
          codes[code] = (codes[code] ?? 0) + 1;
        }
        const result = codes;`;
      const codes = asRoot(body);
      expect(codes).not.toHaveProperty('made');
      expect(codes).toMatchObject({ refused: expect.any(Number), disk_failed: expect.any(Number) });
    } finally {
      await ended(strangers);
    }
    expect(await readdir(at('roots', 'mail'))).toEqual([]);
  });

  test('reads nothing under a name that is missing in a shared folder', async () => {
    const open = `asPathOwner(${quoted('shared', 'none', 'file')}, (path) => path)`;
    expect(asRoot(`const result = ${open};`)).toBe('/proc/self/fd/-/missing');
    const become = `attempt(async () => becomeFolderOwner(${quoted('shared', 'data')}, process.execPath))`;
    expect(asRoot(`const result = await ${become};`)).toBe('refused');
  });

  test('gives no folder away that it did not make', async () => {
    await make('shared/mine', stranger);
    await make('shared/mine/sub', stranger);
    await symlink(at('roots'), at('shared', 'mine', 'link'));
    const strangers = [
      toggling(at('shared', 'mine', 'sub'), at('shared', 'mine', 'off')),
      toggling(at('shared', 'mine', 'link'), at('shared', 'mine', 'sub')),
    ];
    try {
      const body = `const codes = {}; const held = []; const end = Date.now() + 3000;
        while (Date.now() < end) {
          const code = await attempt(async () => { held.push(await createNewFolder(${quoted('shared', 'mine', 'sub', 'mail')})); return 'made'; });
          codes[code] = (codes[code] ?? 0) + 1;
        }
        becomeFolderOwner(${quoted('data')}, process.execPath);
        await Promise.all(held.map((files) => files[Symbol.asyncDispose]()));
        const result = codes;`;
      expect(asRoot(body)).toHaveProperty('refused');
    } finally {
      await ended(strangers);
    }
    expect(await stat(at('roots', 'mail'))).toMatchObject({ uid: 0 });
  });

  test('keeps a file with a secret that it makes in a folder of another user', async () => {
    await make('safe', stranger);
    const body = `const file = await createNewFile(${quoted('safe', 'key.bin')});
      becomeFolderOwner(${quoted('data')}, process.execPath);
      await file.write(Buffer.from('key')); await file[Symbol.asyncDispose](); const result = 0;`;
    asRoot(body);
    expect(await stat(at('safe', 'key.bin'))).toMatchObject({ uid: 0, mode: 0o100600, size: 3 });
  });
});
