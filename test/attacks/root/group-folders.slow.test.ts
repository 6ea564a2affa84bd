/**
 * A local user may write into a folder of root, by its group or by an ACL (acl(5)), also a sticky one: root opens,
 * makes and gives away nothing there that this user can exchange, and creates no data folder.
 */
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findProgram } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const [stranger, group] = [41_002, 41_003];
const source = (path: string) => JSON.stringify(new URL(`../../../src/adapters/${path}`, import.meta.url));
const modules = `const { asPathOwner, becomeFolderOwner, becomePathOwner } = await import(${source('process/privileges.ts')});
  const { createNewFolder } = await import(${source('process/new-file.ts')});
  const { writeNew } = await import(${source('keyfile/small-file.ts')});`;

let folder: TemporaryFolder;
const at = (...names: readonly string[]) => join(folder.path, ...names);
const quoted = (...names: readonly string[]) => JSON.stringify(at(...names));

async function make(name: string, uid: number, gid: number, mode: number): Promise<void> {
  await mkdir(at(name));
  await chown(at(name), uid, gid);
  await chmod(at(name), mode);
}

beforeEach(async () => {
  folder = await temporaryFolder('groups');
  await chmod(folder.path, 0o755);
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Runs the body of a function as root; what it returns, or the code of its failure. */
function asRoot(body: string): unknown {
  const script = `${modules} let result;
    try { result = await (async () => { ${body} })(); } catch ({ code }) { result = code; }
    console.log(JSON.stringify(result));`;
  return JSON.parse(`${execFileSync(process.execPath, ['--input-type=module', '-e', script])}`);
}

const opener = (...names: readonly string[]) =>
  asRoot(`return asPathOwner(${quoted(...names)}, () => process.geteuid());`);
const newFolder = (...names: readonly string[]) => `const made = await createNewFolder(${quoted(...names)});
  await made[Symbol.asyncDispose](); return 'made';`;
const become = (...names: readonly string[]) => `return becomeFolderOwner(${quoted(...names)}, process.execPath);`;

describe.skipIf(process.getuid?.() !== 0)('root', () => {
  test.each([
    ['of its own group', 0, 0o775],
    ['of another group', group, 0o2775],
  ])('uses no folder that the group can change, %s', async (_whose, gid, mode) => {
    await make('exports', 0, gid, mode);
    await make('exports/data', 0, 0, 0o755);
    expect(opener('exports', 'data')).toBe('refused');
    expect(asRoot(newFolder('exports', 'new'))).toBe('refused');
    expect(asRoot(become('exports', 'data'))).toBe('refused');
    expect(asRoot(become('exports', 'missing'))).toBe('refused');
  });

  test.skipIf(findProgram('python3') === null)('uses no folder that an ACL lets another user change', async () => {
    await make('exports', 0, 0, 0o755);
    // setfacl -m u:STRANGER:rwx; owner rwx, group and others r-x.
    const entries = `(1,7,-1),(2,7,${stranger}),(4,5,-1),(16,7,-1),(32,5,-1)`;
    const acl = `import os,struct,sys
os.setxattr(sys.argv[1], 'system.posix_acl_access', struct.pack('<I', 2) +
  b''.join(struct.pack('<HHi', *one) for one in (${entries})))`;
    execFileSync('python3', ['-c', acl, at('exports')]);
    execFileSync(process.execPath, ['-e', `fs.mkdirSync(${quoted('exports', 'hers')})`], {
      ...{ uid: stranger, gid: stranger, cwd: '/' },
    });
    expect(asRoot(newFolder('exports', 'new'))).toBe('refused');
    expect(asRoot(become('exports', 'missing'))).toBe('refused');
  });

  test('creates no data folder in a sticky folder of a group', async () => {
    await make('shared', 0, group, 0o3770);
    await make('open', 0, group, 0o1775);
    expect(asRoot(become('shared', 'data'))).toBe('refused');
    expect(asRoot(become('open', 'data', 'deeper'))).toBe('refused');
    expect(asRoot(`return becomePathOwner(${quoted('open', 'app.log')}, process.execPath);`)).toBe('refused');
  });

  test('reads a file of another user in a sticky folder of a group as that user', async () => {
    await make('shared', 0, group, 0o1775);
    await writeFile(at('shared', 'app.log'), '');
    await chown(at('shared', 'app.log'), stranger, stranger);
    expect(opener('shared', 'app.log')).toBe(stranger);
    const follow = `becomePathOwner(${quoted('shared', 'app.log')}, process.execPath); return process.getuid();`;
    expect(asRoot(follow)).toBe(stranger);
  });

  test('uses folders of root alone, the shared one of all users, and homes', async () => {
    await make('srv', 0, 0, 0o755);
    await make('tmp', 0, 0, 0o1777);
    await make('home', stranger, stranger, 0o775);
    for (const name of ['srv', 'tmp', 'home'])
      expect([name, asRoot(newFolder(name, 'new', 'deeper'))]).toEqual([name, 'made']);
    expect(asRoot(become('srv', 'data'))).toBe(false);
    expect(asRoot(become('home', 'data'))).toBe(true);
  });

  test.each([
    ['with files of root', 0, true],
    ['of another user', stranger, false],
  ])('gives no folder away that took the place of the one it made, %s', async (_which, uid, isFull) => {
    await make('private', uid, uid, 0o700);
    if (isFull) await writeFile(at('private', 'secret'), 'secret');
    await make('exports', 0, 0, 0o755);
    const exchange = `const { default: fs } = await import('node:fs');
      const { syncBuiltinESMExports } = await import('node:module');
      const { mkdirSync } = fs;
      fs.mkdirSync = (path, ...more) => {
        mkdirSync(path, ...more);
        fs.renameSync(path, ${quoted('aside')});
        fs.renameSync(${quoted('private')}, path);
      };
      syncBuiltinESMExports();`;
    const held = `const { inheritances } = await import(${source('process/privileges.ts')});`;
    const body = `${held} ${exchange} try { await createNewFolder(${quoted('exports', 'new')}); return 'made'; }
      catch ({ code }) { return [code, inheritances.size]; }`;
    expect(asRoot(body)).toEqual(['refused', 0]);
    expect(await stat(at('exports', 'new'))).toMatchObject({ uid });
  });

  test('writes no key into a data folder that became another user’s after root decided to stay root', async () => {
    await make('data', stranger, stranger, 0o700);
    expect(
      asRoot(`await writeNew(${quoted('data', 'encryption-key.bin')}, Buffer.from('key')); return 'written';`),
    ).toBe('refused');
    expect(execFileSync('ls', ['-A', at('data')], { encoding: 'utf8' })).toBe('');
  });
});
