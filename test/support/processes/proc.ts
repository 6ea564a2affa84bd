/**
 * Processes as /proc shows them while they run: children by name, CPU time, memory.
 *
 * Everything is null or empty where there is no /proc, or the process is gone. CPU time is user and system time of all
 * threads.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { causeCode } from '../../../src/errors.ts';

/** Fixed for every program on Linux, whatever the kernel's own timer does (proc_pid_stat(5), USER_HZ). */
const ticksPerS = 100;

/** A line of proc_pid_stat(5); `ownS` is without the children that have ended. */
type Stat = {
  readonly id: number;
  readonly name: string;
  readonly parent: number;
  readonly ownS: number;
  readonly endedChildrenS: number;
};

export type MemoryFigures = { readonly meanMb: number | null; readonly peakMb: number | null };

/** User and system time of one process. */
export function cpuSOf(pid: number): number | null {
  return statIn(`/proc/${pid}`)?.ownS ?? null;
}

/** User and system time of all our children that have ended, their threads included. */
export function endedChildrenCpuS(): number | null {
  return statIn('/proc/self')?.endedChildrenS ?? null;
}

/** The same of a server: the process, all that descend from it, and those of them that have ended. */
export function treeCpuSOf(pid: number): number | null {
  const all = allStats();
  const byParent = Map.groupBy(all, ({ parent }) => parent);
  const sum = (one: Stat): number =>
    one.ownS + one.endedChildrenS + (byParent.get(one.id) ?? []).reduce((all, next) => all + sum(next), 0);
  const root = all.find(({ id }) => id === pid);
  return root === undefined ? null : sum(root);
}

/** Threads of a process at the moment; the first is called `main`. */
export function threadStats(pid: number | undefined): readonly Pick<Stat, 'id' | 'name' | 'ownS'>[] {
  const stats = numbered(`/proc/${pid}/task`).map((id) => statIn(`/proc/${pid}/task/${id}`));
  return stats.filter((stat) => stat !== null).map((stat) => (stat.id === pid ? { ...stat, name: 'main' } : stat));
}

/** PIDs of our children that run the program, the newest last. */
export function childrenNamed(program: string): readonly number[] {
  return allStats().flatMap(({ id, name, parent }) => (parent === process.pid && name === program ? [id] : []));
}

/** Signals a child and every process of its group. A child that has ended is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (causeCode(error) !== 'ESRCH') throw error;
  }
}

/** Resident memory. */
export function rssMbOf(pid: number): number | null {
  return memoryMb(pid, 'VmRSS');
}

/** The kernel's high-water mark so far. */
export function peakRssMbOf(pid: number | undefined): number | null {
  return memoryMb(pid, 'VmHWM');
}

function memoryMb(pid: number | undefined, field: string): number | null {
  const kb = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
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
  return numbered('/proc')
    .map((pid) => statIn(`/proc/${pid}`))
    .filter((stat) => stat !== null);
}

function numbered(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name));
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(causeCode(error))) return [];
    throw error;
  }
}

function statIn(folder: string): Stat | null {
  const text = readProc(`${folder}/stat`);
  if (text === null) return null;
  // The second field is the program's name in brackets and may hold blanks; the third comes after the last bracket.
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15).map(Number);
  return {
    id: Number.parseInt(text, 10),
    name: text.slice(text.indexOf('(') + 1, end),
    parent: Number(fields[1]),
    ownS: (user + system) / ticksPerS,
    endedChildrenS: (childrenUser + childrenSystem) / ticksPerS,
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
