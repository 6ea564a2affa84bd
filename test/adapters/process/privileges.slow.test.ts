/**
 * Privilege dropping in processes that root starts: whose rights open a path, and what the later user writes into.
 */
import { execFileSync } from 'node:child_process';
import { chmod, chown, lchown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const [service, other] = [41_001, 41_002];
const source = (file: string) => JSON.stringify(new URL(`../../../src/adapters/process/${file}`, import.meta.url));
const modules = `const { asPathOwner, becomeFolderOwner } = await import(${source('privileges.ts')});
  const { createNewFile, createNewFolder } = await import(${source('new-file.ts')});`;

let folder: TemporaryFolder;
const at = (...names: readonly string[]) => join(folder.path, ...names);

beforeEach(async () => {
  folder = await temporaryFolder('rights');
  await chmod(folder.path, 0o755);
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Runs a module as root; the value of `result`, or the code and message of the failure. */
function asRoot(body: string): unknown {
  const script = `try { ${modules} ${body} console.log(JSON.stringify(result)); }
    catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;
  return JSON.parse(`${execFileSync(process.execPath, ['--input-type=module', '-e', script])}`);
}

const openerOf = (path: string) =>
  asRoot(`const result = asPathOwner(${JSON.stringify(path)}, () => process.geteuid());`);

async function make(name: string, owner: number, mode = 0o755): Promise<void> {
  await mkdir(at(name));
  await chmod(at(name), mode);
  await chown(at(name), owner, owner);
}

describe.skipIf(process.getuid?.() !== 0)('root opens a path', () => {
  test('as the only user who can change the way to it', async () => {
    await make('mine', service);
    await make('mine/deeper', service, 0o775);
    await symlink(at('mine'), at('link'));
    expect(openerOf(at('file'))).toBe(0);
    expect(openerOf(at('mine', 'file'))).toBe(service);
    expect(openerOf(at('link', 'deeper', '..', 'file'))).toBe(service);
    await symlink('../mine/deeper/../file', at('mine', 'relative'));
    expect(openerOf(at('mine', 'relative'))).toBe(service);
  });

  test('as the owner of a link in a shared sticky folder', async () => {
    await make('shared', 0, 0o1777);
    await symlink(at('target'), at('shared', 'link'));
    expect(openerOf(at('shared', 'link'))).toBe(0);
    await lchown(at('shared', 'link'), service, service);
    expect(openerOf(at('shared', 'link'))).toBe(service);
    await writeFile(at('shared', 'file'), '');
    await chown(at('shared', 'file'), other, other);
    expect(openerOf(at('shared', 'file'))).toBe(other);
  });

  test.each([
    ['two users', service, 0o755, other, 0o755],
    ['anyone', 0, 0o777, 0, 0o755],
    ['anyone, below a user', service, 0o755, service, 0o777],
  ] as const)('not where %s can change it', async (_who, first, firstMode, second, secondMode) => {
    await make('one', first, firstMode);
    await make('one/two', second, secondMode);
    expect(openerOf(at('one', 'two', 'file'))).toMatchObject({ code: 'refused' });
  });

  test('not where a group can change it, unless root becomes the owner', async () => {
    await make('group', 0, 0o775);
    await chown(at('group'), 0, service);
    expect(openerOf(at('group', 'file'))).toMatchObject({ code: 'refused' });
    await chown(at('group'), service, service);
    expect(openerOf(at('group', 'file'))).toBe(service);
  });

  test('not through an endless chain of links', async () => {
    await symlink(at('b'), at('a'));
    await symlink(at('a'), at('b'));
    expect(openerOf(at('a'))).toMatchObject({ code: 'refused' });
  });
});

describe.skipIf(process.getuid?.() !== 0)('after root became the owner of the data folder', () => {
  const become = () => `becomeFolderOwner(${JSON.stringify(at('data'))}, process.execPath);`;
  const bytes = "Buffer.from('mail')";

  test('it writes what root opened, in a folder of root alone, and cannot become root again', async () => {
    await make('data', service, 0o700);
    await make('safe', 0, 0o700);
    const path = JSON.stringify(at('safe', 'mail.eml'));
    const back = 'let back = true; try { process.setuid(0); } catch { back = false; }';
    const body = `const file = await createNewFile(${path}); ${become()} await file.write(${bytes});
      await file[Symbol.asyncDispose](); ${back} const result = [process.getuid(), process.getgroups(), back];`;
    expect(asRoot(body)).toEqual([service, [service], false]);
    expect(await readFile(at('safe', 'mail.eml'), 'utf8')).toBe('mail');
    expect(await stat(at('safe', 'mail.eml'))).toMatchObject({ uid: 0, mode: 0o100600 });
  });

  test('a file that was not written is removed, also when the process is killed', async () => {
    await make('data', service, 0o700);
    await make('safe', 0, 0o700);
    const path = JSON.stringify(at('safe', 'mail.eml'));
    const open = `const file = await createNewFile(${path}); ${become()}`;
    asRoot(`${open} await file[Symbol.asyncDispose](); const result = 0;`);
    expect(await readdir(at('safe'))).toEqual([]);
    expect(() => asRoot(`${open} process.kill(process.pid, 'SIGKILL'); const result = 0;`)).toThrow();
    await expect.poll(() => readdir(at('safe'))).toEqual([]);
  });

  test('it writes files into a new folder of root, and into an existing one only what it may', async () => {
    await make('data', service, 0o700);
    await make('safe', 0, 0o700);
    const into = (
      name: string,
    ) => `const files = await createNewFolder(${JSON.stringify(at('safe', name))}); ${become()}
      await files.write('mail.eml', ${bytes}); const result = 'written';`;
    expect(asRoot(into('new/deeper'))).toBe('written');
    expect(await stat(at('safe', 'new', 'deeper', 'mail.eml'))).toMatchObject({ uid: service, mode: 0o100600 });
    expect(asRoot(into('new/deeper'))).toMatchObject({ code: 'already_exists' });
    await rm(at('safe', 'new'), { recursive: true });
    await make('safe/existing', 0, 0o700);
    expect(asRoot(into('existing'))).toMatchObject({ code: 'disk_failed' });
    expect(await readdir(at('safe', 'existing'))).toEqual([]);
  });
});
