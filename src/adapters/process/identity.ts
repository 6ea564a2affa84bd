/**
 * Identity of this process: its worker name, which no other process ever has, its audit actor, and its version. Also
 * detects dead workers on this machine.
 *
 * A worker name contains host, boot id, PID namespace, PID and start time, so a reused PID, a reboot or a container
 * with the same host name is another worker. Only a process of the same boot and namespace can be known to be dead; the
 * lease of any other one expires, unless it held the lock file of this worker before (worker-lock.ts).
 * A worker of another boot most likely died with it, but another machine may have the same host name.
 */

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { processEnvironment } from '../../config/load.ts';
import { thisUser } from '../../config/machine.ts';
import { causeCode } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';

const packageJson: { readonly version: string; readonly engines?: { readonly node: string } } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
);

export const { version } = packageJson;

/** The oldest Node without known vulnerabilities; null: the package came with its own. */
const oldestNode = packageJson.engines?.node.replace(/^>=/, '') ?? null;

/** One sentence; null: the running Node has the security fixes that `engines` in package.json requires. */
export function outdatedNode(running = process.versions.node, oldest = oldestNode): string | null {
  if (oldest === null || running.localeCompare(oldest, 'en', { numeric: true }) >= 0) return null;
  return `Node ${running} lacks security fixes of ${oldest}`;
}

/** Without /proc (not Linux) no worker is ever known to be dead. */
export function thisWorker(isFormerHolder: (owner: string) => boolean = () => false): WorkerIdentity {
  const [host, boot] = [hostname().slice(0, 64), bootId()?.slice(0, 8) ?? null];
  const prefix = `${host}/${boot ?? 'boot'}/${pidNamespace()}`;
  const stat = readOrNull('/proc/self/stat');
  const start = stat === null ? null : startTimeIn(stat);
  return {
    name: `${prefix}/${process.pid}/${start ?? 0}`,
    isDead: (owner) => isDeadWorker(owner, prefix, start !== null) ?? isFormerHolder(owner),
    isOfEarlierBoot: (owner) => boot !== null && isOfAnotherBoot(owner, host, boot),
  };
}

/** null: it ran elsewhere. */
function isDeadWorker(owner: string, prefix: string, hasProc: boolean): boolean | null {
  if (!hasProc || !owner.startsWith(`${prefix}/`)) return null;
  const [pid, start] = owner.slice(prefix.length + 1).split('/');
  const stat = readOrNull(`/proc/${pid}/stat`);
  // /proc may hide the process, as between the workers of two units; a signal still finds it.
  return stat === null ? !processExists(Number(pid)) : startTimeIn(stat) !== start;
}

/** Also false for anything but a worker name. */
function isOfAnotherBoot(owner: string, host: string, boot: string): boolean {
  const parts = owner.split('/');
  return parts.length === 5 && parts[0] === host && bootIdPattern.test(parts[1] ?? '') && parts[1] !== boot;
}

/** Also false for anything but a PID. */
function processExists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return causeCode(error) === 'EPERM';
  }
}

const bootIdPattern = /^[0-9a-f]{8}$/;

export function bootId(): string | null {
  return readOrNull('/proc/sys/kernel/random/boot_id')?.trim() ?? null;
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
  } catch (error) {
    if (causeCode(error).startsWith('E')) return '0';
    throw error;
  }
}

/** Start of a process in clock ticks since boot: field 22 of /proc/PID/stat; null for one that has ended (a zombie). */
function startTimeIn(stat: string): string | null {
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return afterName[0] === 'Z' ? null : (afterName[19] ?? null);
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (causeCode(error).startsWith('E')) return null;
    throw error;
  }
}

/**
 * The person who runs this process, as `user@host`. Under sudo, and where root became another user, the calling user. A
 * user without a name is a number.
 */
export function currentActor(
  environment: { readonly SUDO_USER?: string | undefined } = processEnvironment(),
): AuditActor {
  const host = hostname().slice(0, 64);
  const caller = /^[\w.@-]{1,64}$/.exec(environment.SUDO_USER ?? '')?.[0];
  return { who: `${caller ?? thisUser().slice(0, 64)}@${host}`, host };
}
