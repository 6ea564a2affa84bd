/**
 * Runs one Node program as a child process, and measures it: wall time, CPU time of all its threads, peak memory.
 *
 * CPU time is what the kernel adds to our own count of ended children, so nothing is missed at the end of the child; no
 * other child may end meanwhile. Peak memory is the kernel's high-water mark, and what each thread took is the kernel's
 * count, both read every 50 ms, so that only the last 50 ms can be missed. All are null, or none, where there is no
 * /proc. A child that ends with another exit code than 0 throws with what it printed.
 */
import { spawn } from 'node:child_process';
import { endWithUs } from '../servers/programs.ts';
import { endedChildrenCpuS, peakRssMbOf, threadStats } from './proc.ts';

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

/** `args` are those of node: a script and its arguments. */
export async function runMeasured(args: readonly string[], options: ChildOptions = {}): Promise<Measured> {
  const cpuBeforeS = endedChildrenCpuS();
  const startedAtMs = performance.now();
  const child = spawn(process.execPath, args, { env: { ...options.env }, stdio: 'pipe' });
  endWithUs(child);
  const peak = { rssMb: null as number | null };
  const threads = new Map<number, ThreadStat>();
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

type ThreadStat = ReturnType<typeof threadStats>[number];

function byName(threads: readonly ThreadStat[]): ReadonlyMap<string, number> {
  const groups = Map.groupBy(threads, ({ name }) => name);
  return new Map([...groups].map(([name, all]) => [name, all.reduce((sum, { ownS }) => sum + ownS, 0)]));
}
