/**
 * A damaged installation is never silent: of a copy of the program each package is removed in turn, and each command
 * that needs it says so in one line, without any help. The module loader of the installer finds every one of them.
 */
import { readFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Ended, named, startDaemon } from '../../support/processes/daemon.ts';
import { copyCheckout, copyPackages } from '../../support/systemd/checkout.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

let folder: TemporaryFolder;

beforeAll(async () => {
  folder = await temporaryFolder('damaged');
  await copyCheckout(join(folder.path, 'copy'));
  await copyPackages(join(folder.path, 'copy/node_modules'));
}, 120_000);
afterAll(() => folder[Symbol.asyncDispose]());

const inCopy = (path: string) => join(folder.path, 'copy', path);

/** A command of the copy. `run` is stopped as soon as it is ready. */
async function ran(args: readonly string[], launcher = 'src/ticketmaild.js'): Promise<Ended> {
  const env = { TICKETMAILD_DATA_DIR: join(folder.path, 'data'), TICKETMAILD_HTTP_LISTEN: 'off' };
  await using process = startDaemon(args, { env, cwd: folder.path, launcher: inCopy(launcher) });
  if (args[0] === 'run') {
    const ready = process.waitFor(named('daemon.ready')).catch(() => null);
    if ((await Promise.race([ready, process.exit])) !== null) process.signal('SIGTERM');
  }
  return await process.exit;
}

const packageJson = JSON.parse(
  await readFile(fileURLToPath(new URL('../../../package.json', import.meta.url)), 'utf8'),
);
const packages = Object.keys(packageJson.dependencies);
/** Without one of these nothing works, since they read the command line or the configuration, or print errors. */
const needed = ['commander', 'smol-toml', 'string-width', 'zod'];

test.each(packages)('without %s run, check and status work, or say that it is missing', async (name) => {
  await rename(inCopy(`node_modules/${name}`), inCopy('aside'));
  try {
    const said = new RegExp(
      `^ticketmaild: the installation is damaged: ${name} is missing, which /\\S+ needs\nhint: .+\n$`,
    );
    for (const command of ['run', 'check', 'status']) {
      const { code, stdout, stderr } = await ran([command]);
      const isDamaged = stderr !== '' && stderr !== 'ticketmaild: no daemon runs on this machine\n' && code !== 0;
      if (needed.includes(name) || /installation is damaged/.test(stderr))
        expect({ command, code, stderr }).toEqual({ command, code: 1, stderr: expect.stringMatching(said) });
      else if (command === 'run') expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      else expect({ command, said: stdout !== '' || isDamaged }).toEqual({ command, said: true });
    }
    const loaded = await ran([], 'systemd/packaging/load-modules.ts');
    expect(loaded).toMatchObject({ code: 1, stderr: expect.stringContaining(name) });
  } finally {
    await rename(inCopy('aside'), inCopy(`node_modules/${name}`));
  }
});

test('whole, every module and package is loaded, and nothing is printed', async () => {
  expect(await ran([], 'systemd/packaging/load-modules.ts')).toEqual({ code: 0, stdout: '', stderr: '' });
});

test.each(['src/commands/program.ts', 'src/compose/daemon.ts'])(
  'without %s it says which file is missing',
  async (path) => {
    await rename(inCopy(path), inCopy('aside'));
    const { code, stderr } = await ran(['run']);
    await rename(inCopy('aside'), inCopy(path));
    expect(code).toBe(1);
    expect(stderr).toContain(`ticketmaild: the installation is damaged: ${inCopy(path)} is missing`);
  },
);

test('a file that a power cut left empty is one line, too', async () => {
  await truncate(inCopy('node_modules/commander/index.js'));
  const { code, stderr } = await ran(['status']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^ticketmaild: .+\nhint: .+\n/);
});
