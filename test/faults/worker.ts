/**
 * One worker of the fault campaign: a real daemon with its own data folder, names, network links and clock, and the
 * service manager that starts it again.
 *
 * As root the data folder is a small file system of its own, and the daemon has its own /etc/hosts and /etc/resolv.conf
 * (a mount name space), so that the one host name of the mail server leads to this worker's link. A daemon that ends
 * without being told to is remembered, and started again after a second. It dies with this process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clockVariables, setClock } from '../support/faults/faked-clock.ts';
import type { FaultProxy } from '../support/faults/proxy.ts';
import { launcher } from '../support/processes/launcher.ts';
import { ended, findProgram, runProgram } from '../support/servers/programs.ts';
import { collectLines, type Printed } from './log-lines.ts';

export type OwnEnd = { readonly atMs: number; readonly code: number | string; readonly lastWords: string };

export type Worker = {
  readonly index: number;
  readonly name: string;
  readonly httpPort: number;
  readonly dataDir: string;
  readonly keyFile: string;
  readonly mailLink: FaultProxy;
  readonly databaseLink: FaultProxy;
  readonly printed: Printed;
  /** Times at which the daemon ended without our doing. */
  readonly ownEnds: readonly OwnEnd[];
  /** null: this worker's clock cannot be set. */
  readonly clockFile: string | null;
  readonly hostsFile: string;
  pid(): number | null;
  start(): void;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL; it stays down. */
  kill(): Promise<void>;
  /** SIGTERM; its exit code. */
  stop(): Promise<number | string>;
  /** Runs a command of the program in this worker's place. */
  command(
    args: readonly string[],
    input?: Uint8Array,
  ): Promise<{ readonly code: number | string; readonly output: string }>;
  /** Writes /etc/hosts: with the mail server's name, or without it. */
  setName(isKnown: boolean): Promise<void>;
  /** Memory now and at its peak, in MB; null when it does not run. */
  memory(): Promise<{ readonly nowMb: number; readonly peakMb: number } | null>;
};

export type WorkerPlan = {
  readonly index: number;
  readonly folder: string;
  readonly dataDir: string;
  readonly httpPort: number;
  readonly env: Readonly<Record<string, string>>;
  readonly mailLink: FaultProxy;
  readonly databaseLink: FaultProxy;
  readonly mailHost: string;
  /** Own name space for mounts. */
  readonly isRoot: boolean;
  /** Path of libfaketime; null: the clock is the machine's. */
  readonly faketime: string | null;
};

const restartMs = 1_000;
const ownNames = `mount --bind "$1" /etc/hosts && if [ -e /etc/resolv.conf ]; then mount --bind "$2" /etc/resolv.conf; fi && shift 2 && exec "$@"`;

export async function prepareWorker(plan: WorkerPlan): Promise<Worker> {
  const files = await ownFiles(plan);
  const printed = collectLines();
  const ownEnds: OwnEnd[] = [];
  let child: ChildProcess | null = null;
  let exit: Promise<number | string> = Promise.resolve(0);
  let isWanted = false;
  const start = (): void => {
    isWanted = true;
    const launched = launch(plan, files, ['run'], 'ignore');
    child = launched;
    launched.stdout?.setEncoding('utf8').on('data', printed.feeder());
    launched.stderr?.setEncoding('utf8').on('data', printed.feeder());
    exit = ended(launched).then((code) => {
      if (child === launched) child = null;
      if (!isWanted) return code;
      const lastWords = printed.lines
        .slice(-20)
        .map(({ text }) => text)
        .join('\n');
      ownEnds.push({ atMs: Date.now(), code, lastWords });
      setTimeout(() => isWanted && child === null && start(), restartMs);
      return code;
    });
  };
  const end = (signal: NodeJS.Signals): Promise<number | string> => {
    isWanted = false;
    child?.kill(signal);
    return exit;
  };
  return {
    ...{ index: plan.index, name: `w${plan.index + 1}`, httpPort: plan.httpPort, dataDir: plan.dataDir },
    ...{ mailLink: plan.mailLink, databaseLink: plan.databaseLink, printed, ownEnds },
    keyFile: join(plan.dataDir, 'encryption-key.bin'),
    clockFile: plan.faketime === null ? null : files.clock,
    hostsFile: files.hosts,
    pid: () => child?.pid ?? null,
    start,
    signal: (name) => void child?.kill(name),
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
    command: (args, input) => runIn(plan, files, args, input),
    setName: (isKnown) => writeFile(files.hosts, hostsText(plan, isKnown)),
    memory: async () => (child?.pid === undefined ? null : memoryOf(child.pid)),
  };
}

type Files = { readonly hosts: string; readonly resolver: string; readonly clock: string };

async function ownFiles(plan: WorkerPlan): Promise<Files> {
  await mkdir(plan.folder, { recursive: true });
  const files = {
    hosts: join(plan.folder, 'hosts'),
    resolver: join(plan.folder, 'resolv.conf'),
    clock: join(plan.folder, 'clock'),
  };
  await writeFile(files.hosts, hostsText(plan, true));
  // No server listens there: a name that is not in the file does not resolve, and that is known at once.
  await writeFile(files.resolver, `nameserver ${plan.mailLink.host}\noptions timeout:1 attempts:1\n`);
  await setClock(files.clock, 0);
  return files;
}

function hostsText({ mailHost, mailLink }: WorkerPlan, isKnown: boolean): string {
  return `127.0.0.1 localhost\n${isKnown ? `${mailLink.host} ${mailHost}\n` : ''}`;
}

/** The command line of a program in this worker's place. */
function placed(plan: WorkerPlan, files: Files, args: readonly string[]): readonly string[] {
  const leash = findProgram('setpriv');
  const node = [process.execPath, launcher, ...args];
  const clock = plan.faketime === null ? {} : clockVariables(plan.faketime, files.clock);
  const timed = ['/usr/bin/env', ...Object.entries(clock).map(([name, value]) => `${name}=${value}`), ...node];
  const own = plan.isRoot
    ? ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', ownNames, 'sh', files.hosts, files.resolver]
    : [];
  return [...(leash === null ? [] : [leash, '--pdeathsig', 'KILL', '--']), ...own, ...timed];
}

function launch(plan: WorkerPlan, files: Files, args: readonly string[], stdin: 'ignore' | 'pipe'): ChildProcess {
  const [program = '', ...rest] = placed(plan, files, args);
  return spawn(program, rest, {
    env: { PATH: process.env.PATH, ...plan.env },
    stdio: [stdin, 'pipe', 'pipe'],
    // A Ctrl-C at the terminal is for the campaign, and none of the faults.
    detached: true,
  });
}

async function runIn(
  plan: WorkerPlan,
  files: Files,
  args: readonly string[],
  input?: Uint8Array,
): ReturnType<Worker['command']> {
  const child = launch(plan, files, args, input === undefined ? 'ignore' : 'pipe');
  child.stdin?.end(input);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code: code ?? signal ?? 'nothing', output };
}

async function memoryOf(pid: number): Promise<{ nowMb: number; peakMb: number } | null> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const mb = (name: string) =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024);
  return status === '' ? null : { nowMb: mb('VmRSS'), peakMb: mb('VmHWM') };
}

/** Runs a shell command in the mounts of a running worker. */
export async function inMountsOf(pid: number, script: string, args: readonly string[]): Promise<void> {
  await runProgram('nsenter', ['-t', String(pid), '-m', '--', 'sh', '-c', script, 'sh', ...args]);
}
