/**
 * Actions of the faults; each returns its undo. An undo finds the world as other faults have left it: a worker may
 * have been killed and started again meanwhile, and a stopped process may be gone.
 */
import { chmod, rename, statfs } from 'node:fs/promises';
import { setClock } from '../support/faults/faked-clock.ts';
import type { Fault } from '../support/faults/proxy.ts';
import { childrenNamed, signalGroup } from '../support/processes/proc.ts';
import { runProgram } from '../support/servers/programs.ts';
import type { Scene } from './scene.ts';
import { inMountsOf, type Worker } from './worker.ts';

export type Undo = () => Promise<void>;

const remountTries = 20;

function each(targets: readonly Worker[], act: (worker: Worker) => Promise<unknown>): Promise<void> {
  return Promise.all(targets.map(act)).then(() => undefined);
}

/** As power loss would; a service manager starts them again at the end. */
export async function killWorkers(targets: readonly Worker[]): Promise<Undo> {
  await each(targets, (worker) => worker.kill());
  return async () => {
    for (const worker of targets) worker.start();
  };
}

export async function stopWorkers(targets: readonly Worker[]): Promise<Undo> {
  for (const worker of targets) worker.signal('SIGSTOP');
  return async () => {
    for (const worker of targets) worker.signal('SIGCONT');
  };
}

export async function killDovecot({ dovecot }: Scene): Promise<Undo> {
  await dovecot.stop();
  return () => dovecot.restart();
}

export async function killMariadb(scene: Scene): Promise<Undo> {
  await scene.mariadb.kill();
  return () => scene.restartMariadb();
}

export function stopServer(program: 'dovecot' | 'mariadbd'): Undo {
  const pids = childrenNamed(program);
  if (pids.length !== 1) throw new Error(`${pids.length} processes of ${program} where one was expected`);
  for (const pid of pids) signalGroup(pid, 'SIGSTOP');
  return async () => {
    for (const pid of pids) signalGroup(pid, 'SIGCONT');
  };
}

export function breakLinks(targets: readonly Worker[], which: 'mail' | 'database', fault: Fault): Undo {
  const links = new Set(targets.map((worker) => (which === 'mail' ? worker.mailLink : worker.databaseLink)));
  for (const link of links) link.fault = fault;
  return async () => {
    for (const link of links) link.fault = { kind: 'none' };
  };
}

export async function forgetName(targets: readonly Worker[]): Promise<Undo> {
  await each(targets, (worker) => worker.setName(false));
  // Sessions that are open need no name.
  for (const { mailLink } of targets) {
    mailLink.fault = { kind: 'cut' };
    mailLink.fault = { kind: 'none' };
  }
  return () => each(targets, (worker) => worker.setName(true));
}

/** Takes the free space away instead of filling it: the file system gets as small as what is in it. */
export async function fillDisks(targets: readonly Worker[]): Promise<Undo> {
  const sizes = await Promise.all(targets.map(({ dataDir }) => shrink(dataDir)));
  return () =>
    each(targets, ({ dataDir, index }) => resize(dataDir, sizes[targets.findIndex((one) => one.index === index)] ?? 0));
}

/** Gives the size before, in bytes. */
async function shrink(path: string): Promise<number> {
  const { blocks, bsize } = await statfs(path);
  for (let tries = 1; ; tries += 1) {
    const now = await statfs(path);
    try {
      await resize(path, (now.blocks - now.bfree) * now.bsize);
      return blocks * bsize;
    } catch (error) {
      // Something was written between the question and the answer.
      if (tries === remountTries) throw error;
    }
  }
}

async function resize(path: string, bytes: number): Promise<void> {
  await runProgram('mount', ['-o', `remount,size=${bytes}`, path]);
}

/**
 * A read-only view over the folder, in the worker's own mounts. What is open for writing stays so, as files are when a
 * mount is made read-only by force.
 */
export async function lockDisks(targets: readonly Worker[]): Promise<Undo> {
  const locked = targets.map((worker) => ({ worker, pid: worker.pid() }));
  for (const { worker, pid } of locked)
    if (pid !== null)
      await inMountsOf(pid, 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"', [worker.dataDir]);
  return async () => {
    for (const { worker, pid } of locked)
      if (pid !== null && worker.pid() === pid) await inMountsOf(pid, 'umount -l "$1"', [worker.dataDir]);
  };
}

export async function hideKeys(targets: readonly Worker[]): Promise<Undo> {
  const aside = (path: string): string => `${path}.aside`;
  await each(targets, ({ keyFile }) => rename(keyFile, aside(keyFile)));
  return () => each(targets, ({ keyFile }) => rename(aside(keyFile), keyFile));
}

export async function openKeys(targets: readonly Worker[]): Promise<Undo> {
  await each(targets, ({ keyFile }) => chmod(keyFile, 0o644));
  return () => each(targets, ({ keyFile }) => chmod(keyFile, 0o600));
}

export async function stepClocks(targets: readonly Worker[], offsetS: number): Promise<Undo> {
  const step = (seconds: number) =>
    each(targets, async ({ clockFile }) => (clockFile === null ? undefined : setClock(clockFile, seconds)));
  await step(offsetS);
  return () => step(0);
}

export async function stepDatabaseClock({ databaseClock }: Scene, offsetS: number): Promise<Undo> {
  await databaseClock?.set(offsetS);
  return async () => databaseClock?.set(0);
}
