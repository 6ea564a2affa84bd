/**
 * Finds the processes of a test server, so that a fault can stop them (SIGSTOP) and let them continue.
 *
 * Test servers are children of this process and lead a process group of their own. Linux only: it reads /proc.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { causeCode } from '../../../src/errors.ts';

/** PIDs of our children whose command line begins with a program of this name. */
export function childrenNamed(program: string): readonly number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => parentOf(pid) === process.pid && commandOf(pid) === program);
}

/** Signals a child and every process of its group. A child that has ended is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (causeCode(error) !== 'ESRCH') throw error;
  }
}

function parentOf(pid: number): number | null {
  const stat = readProc(pid, 'stat');
  // The name of the program stands in brackets and may hold blanks; after it come state and parent.
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function commandOf(pid: number): string | null {
  const path = readProc(pid, 'cmdline')?.split('\0')[0];
  return path?.split('/').at(-1) ?? null;
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(causeCode(error))) return null;
    throw error;
  }
}
