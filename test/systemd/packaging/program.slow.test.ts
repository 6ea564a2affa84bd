/** The built program, in a temporary folder: it replaces the one before, works as a checkout does, and packs alike. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkout, readPackage } from '../../../systemd/packaging/checkout.ts';
import { pinnedNode, thisArchitecture } from '../../../systemd/packaging/node-package.ts';
import { makeNpmPackage } from '../../../systemd/packaging/npm-package.ts';
import { makeProgramFolder, type ProgramFolder } from '../../../systemd/packaging/program-folder.ts';
import { comeToRest, daemonEnv, untilPolled } from '../../bench/encryption/memory-scene.ts';
import { addMailboxes, mailboxOn } from '../../bench/many-mailboxes.ts';
import { enable, openSetting } from '../../bench/setting.ts';
import { mail } from '../../support/instance.ts';
import { newCanary } from '../../support/leaks/canary.ts';
import { gcore, hitCount, searchCore, smallCore } from '../../support/leaks/memory-search.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const run = promisify(execFile);

let folder: TemporaryFolder;
let program: ProgramFolder;

beforeAll(async () => {
  folder = await temporaryFolder('program');
  const path = join(folder.path, 'program');
  await mkdir(path);
  await writeFile(join(path, 'former'), '');
  program = await makeProgramFolder(path);
});

afterAll(() => folder[Symbol.asyncDispose]());

async function pack(name: string): Promise<string> {
  const workFolder = join(folder.path, name);
  await mkdir(workFolder);
  const request = {
    program,
    version: '1.2.3',
    architectures: [],
    dateS: 1_700_000_000,
    workFolder,
    showStep: () => undefined,
  };
  const [made] = await makeNpmPackage(request);
  return made?.path ?? '';
}

async function hashOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Unpacks the npm package beside the Node of this machine, as npm installs them. */
async function install(name: string): Promise<string> {
  const modules = join(folder.path, name, 'node_modules');
  const installed = join(modules, 'ticketmaild');
  await mkdir(installed, { recursive: true });
  await run('tar', ['-xzf', await pack(`${name}-pack`), '-C', installed, '--strip-components=1']);
  const node = (await pinnedNode(thisArchitecture())).name;
  await symlink(join(checkout, 'node_modules', node), join(modules, node));
  return join(installed, 'ticketmaild');
}

test('the folder replaces the one before, and nothing stays beside it', async () => {
  expect(await readdir(program.path)).not.toContain('former');
  expect((await readdir(folder.path)).filter((name) => /\.(new|old)-/.test(name))).toEqual([]);
});

test('of the folder config it has the documents alone, as a configuration may hold passwords', async () => {
  expect((await readdir(join(program.path, 'config'))).sort()).toEqual(['OAUTH.md', 'README.md']);
});

test('its commands are shown by the name alone, whatever the environment says', async () => {
  const env = { CALLED_AS_TICKETMAILD: 'src/ticketmaild', NODE_DISABLE_COMPILE_CACHE: '1' };
  const { stdout } = await run(process.execPath, [join(program.path, 'ticketmaild.js'), 'key', '--help'], { env });
  expect(stdout).toMatch(/^Usage: ticketmaild key /);
});

test('a build that fails leaves the folder before', async () => {
  const path = join(folder.path, 'kept');
  await mkdir(path);
  await writeFile(join(path, 'former'), '');
  await writeFile(`${path}.new-${process.pid}`, '');
  await expect(makeProgramFolder(path)).rejects.toThrow('EEXIST');
  expect(await readdir(path)).toEqual(['former']);
});

test('the npm package is the same, byte for byte, with other times, modes, umask and time zone', async () => {
  const first = await hashOf(await pack('first'));
  await utimes(join(program.path, 'LICENSE'), 1, 1);
  await chmod(join(program.path, 'LICENSE'), 0o600);
  const [mask, zone] = [process.umask(0o077), process.env['TZ']];
  process.env['TZ'] = 'Asia/Tokyo';
  try {
    expect(await hashOf(await pack('second'))).toBe(first);
  } finally {
    process.umask(mask);
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  }
});

test('installed by npm, it polls a mailbox with its threads, and keeps no data in its folder', async () => {
  await using dovecot = await startDovecot();
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('one', 'x'.repeat(100_000)), mail('two')]);
  const command = await install('npm');
  const before = await readdir(dirname(command));
  const env = { PATH: '/usr/bin:/bin', TICKETMAILD_DATA_DIR: join(folder.path, 'data') };
  const call = (line: string, more: Readonly<Record<string, string>> = env) =>
    run('/bin/sh', ['-c', line, command], { env: more, cwd: '/' });

  expect((await call('"$0" --version')).stdout).toContain((await readPackage()).version);
  const server = `--host ${dovecot.host} --port ${dovecot.tlsPort} --ca-file ${dovecot.caFile}`;
  await call(`printf pw | "$0" mailbox add --name desk --user ${user} ${server} --since all --password-stdin`);
  await call('"$0" poll');
  const { stdout } = await call('"$0" ticket list --json');
  for (const subject of ['one', 'two']) expect(stdout).toContain(`"${subject}"`);
  expect((await readdir(dirname(command))).filter((name) => name !== '.cache')).toEqual(before);

  const refused = await call('"$0" mailbox list', { PATH: '/usr/bin:/bin' }).catch((error) => error);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('hint: Set TICKETMAILD_DATA_DIR') });
});

test('its daemon leaves no copy of a sealed password in a core dump after logins, where its key is found', async () => {
  const canary = newCanary();
  const launcher = join(program.path, 'ticketmaild.js');
  await using dovecot = await startDovecot({ password: canary });
  await using setting = await openSetting(null, daemonEnv);
  const rows = Array.from({ length: 20 }, (_, index) =>
    mailboxOn(dovecot, index % 2 === 0 ? 'implicit' : 'none', dovecot.newUser(), canary),
  );
  await addMailboxes(setting.databaseUrl, rows);
  await setting.succeed(enable, { launcher });
  await using daemon = setting.start(['run'], { launcher, nodeOptions: smallCore });
  await untilPolled(daemon, rows.length, 2);
  await comeToRest(setting);
  const core = (await gcore(daemon.pid, folder.path)) ?? '';
  expect(await searchCore(core, canary)).toMatchObject({ hits: [] });
  const key = await readFile(join(setting.dataDir, 'encryption-key.bin'));
  expect(hitCount(await searchCore(core, key))).toBeGreaterThan(0);
  await rm(core);
});
