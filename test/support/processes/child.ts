/**
 * Runs one Node program as a child process, and measures it: wall time, CPU time of all its threads, peak memory.
 *
 * CPU time is what the kernel adds to our own count of ended children, so nothing is missed at the end of the child; no
 * other child may end meanwhile. Peak memory is the kernel's high-water mark, and what each thread took is the kernel's
 * count, both read every 50 ms, so that only the last 50 ms can be missed. All are null, or none, where there is no
 * /proc. A child that ends with another exit code than 0 throws with what it printed.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { causeCode } from '../../../src/errors.ts';
import { endWithUs } from '../servers/programs.ts';

export type Measured = {
  readonly stdout: string;
  readonly wallS: number;
  /** User and system time. */
  readonly cpuS: number | null;
  readonly peakRssMb: number | null;
  /** Of the threads of each name together; the first thread is `main`. */
  readonly cpuSByThread: ReadonlyMap<string, number>;
};

export type ChildOptions = {
  /** The whole environment of the child: nothing is inherited, so that a run depends on nothing around it. */
  readonly env?: Readonly<Record<string, string>>;
  /** For standard input, which is closed after it. */
  readonly input?: string;
};

/** What the service runs with beside its configuration (systemd/ticketmaild.service). */
export const serviceEnv = { MALLOC_ARENA_MAX: '1' };

const memoryPollMs = 50;
/** Fixed for every program on Linux, whatever the kernel's own timer does (proc_pid_stat(5), USER_HZ). */
const ticksPerS = 100;

/** `args` are those of node: a script and its arguments. */
export async function runMeasured(args: readonly string[], options: ChildOptions = {}): Promise<Measured> {
  const cpuBeforeS = endedChildrenCpuS();
  const startedAtMs = performance.now();
  const child = spawn(process.execPath, args, { env: { ...options.env }, stdio: 'pipe' });
  endWithUs(child);
  const peak = { rssMb: null as number | null };
  const threads = new Map<string, ThreadStat>();
  const timer = setInterval(() => {
    peak.rssMb = peakRssMbOf(child.pid) ?? peak.rssMb;
    for (const thread of threadStats(child.pid)) threads.set(thread.id, thread);
  }, memoryPollMs);
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (output.stdout += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (output.stderr += piece));
  // A child that ends before it has read everything breaks the pipe; its exit code tells more than that error.
  child.stdin.on('error', () => child.stdin.destroy()).end(options.input ?? '');
  const ending = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  }).finally(() => clearInterval(timer));
  const wallS = (performance.now() - startedAtMs) / 1000;
  if (ending !== 0) throw new Error(`node ${args.join(' ')} ended with ${ending}:\n${output.stderr}${output.stdout}`);
  const cpuAfterS = endedChildrenCpuS();
  const cpuS = cpuBeforeS === null || cpuAfterS === null ? null : cpuAfterS - cpuBeforeS;
  return { stdout: output.stdout, wallS, cpuS, peakRssMb: peak.rssMb, cpuSByThread: byName([...threads.values()]) };
}

type ThreadStat = { readonly id: string; readonly name: string; readonly cpuS: number };

/** Those that run at the moment. */
function threadStats(pid: number | undefined): readonly ThreadStat[] {
  return threadIds(`/proc/${pid}/task`).flatMap((id) => {
    const stat = readProc(`/proc/${pid}/task/${id}/stat`);
    if (stat === null) return [];
    const end = stat.lastIndexOf(')');
    const fields = stat.slice(end + 2).split(' ');
    const name = id === String(pid) ? 'main' : stat.slice(stat.indexOf('(') + 1, end);
    return [{ id, name, cpuS: (Number(fields[11]) + Number(fields[12])) / ticksPerS }];
  });
}

function byName(threads: readonly ThreadStat[]): ReadonlyMap<string, number> {
  const groups = Map.groupBy(threads, ({ name }) => name);
  return new Map([...groups].map(([name, all]) => [name, all.reduce((sum, { cpuS }) => sum + cpuS, 0)]));
}

function threadIds(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(causeCode(error))) return [];
    throw error;
  }
}

/** User and system time of all our children that have ended, their threads included. */
function endedChildrenCpuS(): number | null {
  const stat = readProc('/proc/self/stat');
  if (stat === null) return null;
  // The second field is the program's name in brackets and may hold blanks; `cutime` and `cstime` are 16 and 17.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / ticksPerS;
}

/** The kernel's high-water mark so far; null when the process is gone, or the system has no /proc. */
export function peakRssMbOf(pid: number | undefined): number | null {
  const peakKb = /^VmHWM:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
  return peakKb === undefined ? null : Number(peakKb) / 1024;
}

/** null when the process is gone, or the system has no /proc. */
function readProc(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(causeCode(error))) return null;
    throw error;
  }
}
