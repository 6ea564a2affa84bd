/**
 * CPU time and memory of processes while they run, read from /proc.
 *
 * Everything is null where there is no /proc, or the process is gone. CPU time is user and system time of all threads.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { causeCode } from '../../../src/errors.ts';

/** Fixed for every program on Linux, whatever the kernel's own timer does (proc_pid_stat(5), USER_HZ). */
const ticksPerS = 100;

/** `ownTicks` without the children that have ended, `ticks` with them. */
type Stat = {
  readonly pid: number;
  readonly name: string;
  readonly parent: number;
  readonly ownTicks: number;
  readonly ticks: number;
};

export type MemoryFigures = { readonly meanMb: number | null; readonly peakMb: number | null };

/** User and system time of one process. */
export function cpuSOf(pid: number): number | null {
  const stat = statOf(pid);
  return stat === null ? null : stat.ownTicks / ticksPerS;
}

/** The same of a server: the process, all that descend from it, and those of them that have ended. */
export function treeCpuSOf(pid: number): number | null {
  const all = allStats();
  const byParent = Map.groupBy(all, ({ parent }) => parent);
  const sum = (one: Stat): number =>
    one.ticks + (byParent.get(one.pid) ?? []).reduce((all, next) => all + sum(next), 0);
  const root = all.find((one) => one.pid === pid);
  return root === undefined ? null : sum(root) / ticksPerS;
}

/** The newest child of this process that runs the program. */
export function childNamed(name: string): number | null {
  const found = allStats().filter((one) => one.parent === process.pid && one.name === name);
  return found.at(-1)?.pid ?? null;
}

/** Resident memory. */
export function rssMbOf(pid: number): number | null {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
  return kb === undefined ? null : Number(kb) / 1024;
}

/** Looks at the resident memory of a process again and again, until it is asked for the figures. */
export function watchMemory(pid: number, everyMs = 250): { readonly stop: () => MemoryFigures } & Disposable {
  const seen: number[] = [];
  const look = (): void => {
    const rssMb = rssMbOf(pid);
    if (rssMb !== null) seen.push(rssMb);
  };
  look();
  const timer = setInterval(look, everyMs);
  return {
    stop: () => {
      look();
      clearInterval(timer);
      if (seen.length === 0) return { meanMb: null, peakMb: null };
      return { meanMb: seen.reduce((sum, mb) => sum + mb, 0) / seen.length, peakMb: Math.max(...seen) };
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function allStats(): readonly Stat[] {
  const pids = processFolders().filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => statOf(Number(pid))).filter((stat) => stat !== null);
}

function processFolders(): readonly string[] {
  try {
    return readdirSync('/proc');
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function statOf(pid: number): Stat | null {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The second field is the program's name in brackets and may hold blanks; the third comes after the last bracket.
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const ticks = fields.slice(11, 15).map(Number);
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = ticks;
  return {
    pid,
    name: text.slice(text.indexOf('(') + 1, end),
    parent: Number(fields[1]),
    ownTicks: user + system,
    ticks: user + system + childrenUser + childrenSystem,
  };
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
