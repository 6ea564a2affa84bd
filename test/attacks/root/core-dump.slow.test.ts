/**
 * A thief makes the program dump its memory: by a crash with core dumps enabled, by gcore, or by tracing it as the same
 * user. There is no core, no trace, and 0 copies of the key in a dump that root forces.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gcore, hitCount, searchCore, smallCore } from '../../support/leaks/memory-search.ts';
import { runCommand } from '../../support/processes/daemon.ts';
import { launcher } from '../../support/processes/launcher.ts';
import { until } from '../../support/promises.ts';
import { endWithUs } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

const service = 41_001;
const isRoot = process.getuid?.() === 0;

let folder: TemporaryFolder;
let env: Record<string, string>;
let key: Buffer;

beforeAll(async () => {
  folder = await temporaryFolder('dump');
  await chmod(folder.path, 0o755);
  const dataDir = join(folder.path, 'data');
  await mkdir(dataDir, { mode: 0o700 });
  if (isRoot) await chown(dataDir, service, service);
  env = {
    PATH: process.env.PATH ?? '',
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_ADMIN_LISTEN: 'off',
  };
  const enabled = await runCommand(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'], { env });
  expect(enabled).toMatchObject({ code: 0 });
  key = await readFile(join(dataDir, 'encryption-key.bin'));
});
afterAll(() => folder[Symbol.asyncDispose]());

type Running = { readonly child: ChildProcess; readonly cwd: string } & AsyncDisposable;

/** The daemon with its key open and core dumps enabled, in a folder that anyone may write into. */
async function daemon(prefix: readonly string[] = []): Promise<Running> {
  const cwd = join(folder.path, 'cores');
  await rm(cwd, { recursive: true, force: true });
  await mkdir(cwd);
  await chmod(cwd, 0o777);
  const node = [process.execPath, ...smallCore, launcher, 'run'];
  const child = spawn('sh', ['-c', 'ulimit -c unlimited; exec "$@"', 'sh', ...prefix, ...node], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  await until(
    'the daemon has its key',
    () => printed.includes('"vault.opened"') || printed.includes('"daemon.started"') || null,
  );
  return {
    child,
    cwd,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    },
  };
}

test.each(['--version', '--help'])('%s cannot be traced or dumped either', (option) => {
  const asked = `process.on('exit', () => {
    const { functions: { prctl } } = process.getBuiltinModule('node:ffi').dlopen(null,
      { prctl: { arguments: ['int32', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' } });
    process.stderr.write('dumpable ' + prctl(3, 0n, 0n, 0n, 0n));
  });`;
  const flags = ['--no-warnings', '--import', `data:text/javascript,${encodeURIComponent(asked)}`];
  expect(spawnSync(process.execPath, [...flags, launcher, option], { encoding: 'utf8' })).toMatchObject({
    ...{ status: 0, stderr: 'dumpable 0' },
  });
});

describe('a daemon outside the unit', { timeout: 60_000 }, () => {
  test.each(['SIGABRT', 'SIGSEGV', 'SIGQUIT'] as const)('leaves no core after %s', async (signal) => {
    await using running = await daemon();
    running.child.kill(signal);
    expect((await once(running.child, 'close'))[1]).toBe(signal);
    expect(await readdir(running.cwd)).toEqual([]);
  });

  test.skipIf(!isRoot)('a dump that root forces has 0 copies of the key; the control, whole, has it', async () => {
    await using running = await daemon();
    const pid = running.child.pid ?? 0;
    const found: number[] = [];
    for (const whole of [false, true]) {
      await using place = await temporaryFolder('core');
      const core = await gcore(pid, place.path, { whole });
      if (core === null) throw new Error('gcore is missing: apt-get install gdb');
      found.push(hitCount(await searchCore(core, key)));
    }
    expect(found).toEqual([0, expect.toSatisfy((count: number) => count > 0)]);
  });

  test.skipIf(!isRoot)('another process of the same user can neither trace it nor open its memory', async () => {
    const asService = ['setpriv', `--reuid=${service}`, `--regid=${service}`, '--clear-groups', '--'];
    await using running = await daemon(asService);
    const pid = running.child.pid ?? 0;
    const attack = (...command: string[]) => spawnSync(asService[0] ?? '', [...asService.slice(1), ...command]);
    expect(`${attack('id', '-u').stdout}`).toBe(`${service}\n`);
    for (const file of ['mem', 'maps', 'environ', 'auxv'])
      expect(`${attack('cat', `/proc/${pid}/${file}`).stderr}`).toContain('Permission denied');
    expect(`${attack('gdb', '-batch', '-p', `${pid}`).stderr}`).toContain('Operation not permitted');
  });
});

describe('the guard', () => {
  const guard = new URL('../../../src/adapters/process/memory-guard.ts', import.meta.url);
  const guarded = `import(${JSON.stringify(guard)}).then(({ guardMemory }) => { guardMemory(); console.log('guarded'); }, () => 0)
    .catch((error) => console.log(error.code, error.message));`;
  const without = 'mount -t tmpfs none /proc; ';

  test('is inherited by programs that the process starts', () => {
    const child = `import('node:child_process').then(({ execFileSync }) => console.log(\`\${execFileSync('cat',
      ['/proc/self/coredump_filter', '/proc/self/limits'])}\`));`;
    const printed = `${execFileSync(process.execPath, ['-e', `${guarded} setTimeout(() => { ${child} }, 300)`])}`;
    expect(printed).toMatch(/^guarded\n0{8}\n/);
    expect(printed).toMatch(/^Max core file size +0 +0 /m);
  });

  test.each([
    ['the C library', '', ['--no-experimental-ffi'], 'guarded\n'],
    ['/proc', without, [], 'guarded\n'],
    ['both', without, ['--no-experimental-ffi'], /^refused a core dump of this process could contain the key: /],
  ] as const)('without %s', (_what, mounts, options, expected) => {
    if (mounts !== '' && !isRoot) return;
    const command = [process.execPath, ...options, '-e', guarded];
    const ran = spawnSync('unshare', ['--mount', 'sh', '-c', `${mounts}exec "$@"`, 'sh', ...command]);
    const printed = `${ran.stdout}${ran.stderr}`;
    if (typeof expected === 'string') expect(printed).toBe(expected);
    else expect(printed).toMatch(expected);
  });
});
