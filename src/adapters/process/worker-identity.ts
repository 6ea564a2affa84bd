/**
 * Who this worker is, and which workers of this machine are gone.
 *
 * The name holds host, boot, PID name space, PID and the start time of the process, so that a reused PID, a reboot or
 * a container with the same host name is never taken for the same worker. Only a process of this very boot and name
 * space can be known to be dead; of every other one nothing is claimed, and its lease runs out by itself. One of another boot
 * is most likely of an earlier one; but another machine may have the same name, so that alone is no proof.
 */

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { processEnvironment } from '../../config/load.ts';
import { thisUser } from '../../config/machine.ts';
import { causeCode } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';

/** This process as a worker. Without /proc (not Linux) nobody is ever known to be dead. */
export function thisWorker(): WorkerIdentity {
  const [host, boot] = [hostname().slice(0, 64), bootId()];
  const place = `${host}/${boot ?? 'boot'}/${pidSpace()}`;
  const stat = readOrNull('/proc/self/stat');
  const start = stat === null ? null : startTimeIn(stat);
  return {
    name: `${place}/${process.pid}/${start ?? 0}`,
    isDead: (owner) => isDeadAt(owner, place, start !== null),
    isOfEarlierBoot: (owner) => boot !== null && isOfAnotherBoot(owner, host, boot),
  };
}

function isDeadAt(owner: string, place: string, procWorks: boolean): boolean {
  if (!procWorks || !owner.startsWith(`${place}/`)) return false;
  const [pid, start] = owner.slice(place.length + 1).split('/');
  const stat = readOrNull(`/proc/${pid}/stat`);
  // /proc may hide it, as it hides the workers of two units from one another; a signal finds it all the same.
  return stat === null ? !isThere(Number(pid)) : startTimeIn(stat) !== start;
}

/** False for what is no name of a worker, too. */
function isOfAnotherBoot(owner: string, host: string, boot: string): boolean {
  const parts = owner.split('/');
  return parts.length === 5 && parts[0] === host && bootIdPattern.test(parts[1] ?? '') && parts[1] !== boot;
}

/** False for what is no PID, too. */
function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return causeCode(error) === 'EPERM';
  }
}

const bootIdPattern = /^[0-9a-f]{8}$/;

function bootId(): string | null {
  return readOrNull('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? null;
}

function pidSpace(): string {
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

/** Who runs this program, for the audit table. */

/**
 * `user@host`; a user without a name is shown by number. Behind sudo, and behind the command that becomes the user of the
 * service, it is who called.
 */
export function currentActor(
  environment: { readonly SUDO_USER?: string | undefined } = processEnvironment(),
): AuditActor {
  const host = hostname().slice(0, 64);
  const caller = /^[\w.@-]{1,64}$/.exec(environment.SUDO_USER ?? '')?.[0];
  return { who: `${caller ?? thisUser().slice(0, 64)}@${host}`, host };
}

/** The version of this program, as package.json has it. */

export const version: string = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
).version;
