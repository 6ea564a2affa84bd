/**
 * A systemd as PID 1 of a machine apart, that starts in half a second and vanishes without a trace.
 *
 * Its files are those of this machine or of a root folder, seen through an overlay: what is changed inside is in memory
 * and no other else's. It shares the network, so that the other test servers can be reached. Root only: elsewhere, and
 * where the kernel does not allow it, `whyNoSystemd` says why. It ends with the process that started it, even when that
 * is killed.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { causeCode } from '../../../src/errors.ts';
import type { Ended } from '../processes/daemon.ts';
import { ended, findProgram, type RunningServer, runProgram, startServer } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';

export type Machine = {
  /** Runs a script of the shell inside, as root; never rejects for its exit code. */
  run(script: string, options?: { readonly input?: string }): Promise<Ended>;
  /** The same; what it printed, without the last line end. Throws when it fails. */
  get(script: string): Promise<string>;
  /** Waits until a script succeeds; throws with what it printed last when the time is up. */
  until(script: string, timeoutMs?: number): Promise<void>;
  /** Runs a script until it ends or is disposed of, and passes on each line that it prints. */
  follow(script: string, onLine: (line: string) => void): Disposable;
} & AsyncDisposable;

const bootScript = fileURLToPath(new URL('boot.sh', import.meta.url));
const bootTimeoutMs = 20_000;
const groupName = 'ticketmaild-test-';

/** null when it can be booted here, else the reason. Tries what a container may not allow. */
export async function whyNoSystemd(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'only root can boot it';
  if (!existsSync('/lib/systemd/systemd')) return 'systemd is not installed';
  if (findProgram('unshare') === null || findProgram('nsenter') === null) return 'util-linux is not installed';
  if (controlGroups() === null) return 'control groups of version 2 are not mounted';
  try {
    await using trial = new AsyncDisposableStack();
    const group = await makeGroup();
    trial.defer(() => removeWhenEmpty(group));
    const folder = trial.use(await temporaryFolder('systemd-trial'));
    await runProgram('unshare', [...spaces, 'sh', '-euc', tryMounts, folder.path]);
    return null;
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).trim().split('\n');
    return `this machine does not allow it (${lines.at(-1)})`;
  }
}

const spaces = ['--mount', '--propagation=private', '--pid', '--fork', '--kill-child', '--uts', '--ipc', '--cgroup'];

/** The mounts of the boot script that need rights which root in a container may lack. */
const tryMounts = `
mount -t tmpfs tmpfs "$0"
mkdir "$0/changes" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/changes,workdir=$0/work" overlay "$0/root"
mount -t proc proc "$0/root/proc"
mount -t sysfs -o ro sysfs "$0/root/sys"
mount -t cgroup2 cgroup2 "$0/root/sys/fs/cgroup"`;

/** Boots the one of `root`; `folders` are seen inside, read-only: path outside to path inside. */
export async function bootSystemd(folders: Readonly<Record<string, string>> = {}, root = '/'): Promise<Machine> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('systemd'));
  const mounts = join(folder.path, 'mounts');
  await mkdir(mounts);
  const group = await makeGroup();
  building.defer(() => removeWhenEmpty(group));
  // The group is entered first: it is the root of the groups that are seen inside.
  const enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"';
  const boot = [bootScript, mounts, root, ...Object.entries(folders).flat()];
  const server = startServer('bash', ['-c', enter, group, 'unshare', ...spaces, 'bash', ...boot]);
  building.defer(async () => {
    server.killAll();
    await server.exit;
  });
  const pid = await firstProcess(server);
  const machine = machineOf(pid);
  await machine.until('s=$(systemctl is-system-running); echo "$s"; [ "$s" = running ]', bootTimeoutMs);
  const undo = building.move();
  return { ...machine, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

function machineOf(pid: number): Omit<Machine, typeof Symbol.asyncDispose> {
  const enter = [`--target=${pid}`, '--mount', '--pid', '--uts', '--ipc', '--cgroup', '--root', '--wd'];
  const clean = ['env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'];
  const shell = (script: string) => [...enter, '--', ...clean, 'SYSTEMD_PAGER=', 'sh', '-c', script];
  const run: Machine['run'] = async (script, { input = '' } = {}) => {
    const child = spawn('nsenter', shell(script));
    const printed = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (piece: string) => {
        printed[name] += piece;
      });
    }
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdin.end(input);
    return { code: await ended(child), ...printed };
  };
  const get: Machine['get'] = async (script) => {
    const { code, stdout, stderr } = await run(script);
    if (code !== 0) throw new Error(`${script}\nended with ${code}:\n${stdout}${stderr}`);
    return stdout.replace(/\n$/, '');
  };
  const until: Machine['until'] = async (script, timeoutMs = 10_000) => {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { code, stdout, stderr } = await run(script);
      if (code === 0) return;
      if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${script}\n${stdout}${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const follow: Machine['follow'] = (script, onLine) => {
    const child = spawn('nsenter', shell(script), { stdio: ['ignore', 'pipe', 'ignore'] });
    createInterface({ input: child.stdout }).on('line', onLine);
    // What runs inside ends with the pipe, or with the machine.
    return {
      [Symbol.dispose]: () => {
        child.stdout.destroy();
        child.kill('SIGKILL');
      },
    };
  };
  return { run, get, until, follow };
}

/** The PID, as seen from here, of the process that is PID 1 inside: the one child of unshare. */
async function firstProcess(server: RunningServer): Promise<number> {
  const deadline = performance.now() + bootTimeoutMs;
  while (!server.hasEnded() && performance.now() < deadline) {
    const [child = ''] = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ');
    if (child !== '' && readFileSync(`/proc/${child}/comm`, 'utf8') === 'systemd\n') return Number(child);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`systemd did not boot:\n${server.output()}`);
}

/** The folder of the control groups of version 2, which stand beside those of version 1 on some machines. */
function controlGroups(): string | null {
  const places = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
  return (
    places.find((place) => existsSync(join(place, 'cgroup.procs')) && existsSync(join(place, 'cgroup.controllers'))) ??
    null
  );
}

async function makeGroup(): Promise<string> {
  const place = controlGroups() ?? '';
  for (const left of readdirSync(place).filter(isLeftOver)) removeGroup(join(place, left));
  const group = join(place, `${groupName}${process.pid}-${performance.now().toFixed(0)}`);
  await mkdir(group);
  return group;
}

/** Of a test run that was killed. */
function isLeftOver(name: string): boolean {
  const pid = name.startsWith(groupName) ? name.slice(groupName.length).split('-')[0] : undefined;
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** The kernel takes a moment to see that the last process has ended. */
async function removeWhenEmpty(group: string): Promise<void> {
  for (let tries = 0; existsSync(group); tries += 1) {
    try {
      removeGroup(group);
    } catch (error) {
      if (causeCode(error) !== 'EBUSY' || tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Inner ones first, as only empty ones can be removed. */
function removeGroup(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(group, entry.name));
  }
  rmdirSync(group);
}
