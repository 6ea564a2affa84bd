/**
 * Listener of the daemon as a command sees it: health endpoints or admin page at the configured address.
 *
 * The daemon of the data folder says over its control socket whether it listens; what answers at the port is never
 * asked, as it may be another process. Without a daemon, the port is free, held by a socket unit of systemd, or taken.
 */
import { readdir, readFile } from 'node:fs/promises';
import type { ListenAddress } from '../../config/config.ts';
import { isTaken, listenText } from '../../config/machine.ts';
import { causeCode, type Failure, hintOf, isFailure } from '../../errors.ts';
import type { Check, ListenerName } from '../../ingest/readiness.ts';
import { hints } from '../../text/hints.ts';
import type { Context } from '../context.ts';
import { type DaemonAnswer, survey } from './targets.ts';

/**
 * `served`: by a daemon of the data folder; `elsewhere`: by one with another address, as from the environment of its
 * unit; `ready`: it does not run, and its port is free or held by systemd.
 */
export type ListenerState =
  | { readonly kind: 'served' | 'elsewhere' | 'ready'; readonly text: string }
  | { readonly kind: 'unserved'; readonly text: string; readonly hint: string };

type Listener = { readonly name: ListenerName; readonly address: ListenAddress };

export async function listenerState(listener: Listener, dataDir: string, context: Context): Promise<ListenerState> {
  try {
    const { answers } = await survey({ dataDir, note: null }, context);
    return stateOf(listener, answers);
  } catch (error) {
    if (!isFailure(error, 'daemon_unreachable', 'refused')) throw error;
    return isAbsent(error) ? await withoutDaemon(listener) : unknown(listenText(listener.address), error);
  }
}

function stateOf({ name, address }: Listener, answers: readonly DaemonAnswer[]): ListenerState {
  const at = listenText(address);
  const all = answers.flatMap((one) =>
    'status' in one
      ? one.status.checks.listeners.list
          .filter(({ listener }) => listener === name)
          .map((check) => ({ ...check, pid: one.status.worker.pid }))
      : [],
  );
  const here = all.filter((one) => one.address === at);
  const isServed = ({ status }: Check): boolean => status === 'ok';
  const served = here.find(isServed);
  if (served !== undefined) return { kind: 'served', text: `the daemon (pid ${served.pid}) listens at ${at}` };
  const [first] = here;
  if (first !== undefined)
    return unserved(`the daemon does not listen at ${at}: ${first.reason}`, first.hint ?? hints.tryAgainSoon);
  const elsewhere = all.find(isServed);
  if (elsewhere !== undefined) {
    const text = `the daemon (pid ${elsewhere.pid}) listens at ${elsewhere.address}; configured here is ${at}`;
    return { kind: 'elsewhere', text };
  }
  const failure = answers.find((one) => 'failure' in one)?.failure;
  if (failure !== undefined) return unknown(at, failure);
  return unserved(`the daemon does not listen at ${at}: it runs with another configuration`, sameAddress);
}

const sameAddress =
  'Restart the daemon; an address in the environment of its unit goes before that of the file: set it in the file alone.';

function unserved(text: string, hint: string): ListenerState {
  return { kind: 'unserved', text, hint };
}

function unknown(at: string, { message, hint }: Failure): ListenerState {
  return unserved(`not known whether the daemon listens at ${at}: ${message}`, hint);
}

/** No process listens at the control socket. */
function isAbsent({ code, cause }: Failure): boolean {
  return code === 'daemon_unreachable' && ['ENOENT', 'ECONNREFUSED'].includes(causeCode(cause));
}

async function withoutDaemon({ name, address }: Listener): Promise<ListenerState> {
  const at = listenText(address);
  if (!(await isTaken(address))) return { kind: 'ready', text: `the daemon does not run; ${at} is free for it` };
  if ('port' in address && (await isHeldBySystemd(name, address.port)))
    return { kind: 'ready', text: `the daemon does not run; systemd holds ${at} for it` };
  return unserved(
    `the daemon does not run, and another process has ${at}`,
    hintOf('address_in_use') ?? hints.tryAgainSoon,
  );
}

const enabledUnits = '/etc/systemd/system/sockets.target.wants';
const listening = '0A';

/**
 * True where a socket unit is enabled and root has the port, by proc_net(5): systemctl needs a message bus, which a
 * small system lacks.
 */
async function isHeldBySystemd(name: ListenerName, port: number): Promise<boolean> {
  const units = await readdir(enabledUnits).catch(() => []);
  if (!units.some((unit) => unit.startsWith(`ticketmaild-${name}`))) return false;
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => '')),
  );
  const rows = tables.flatMap((table) => table.split('\n')).map((line) => line.trim().split(/\s+/));
  const owners = rows.flatMap(([, local = '', , state, , , , uid]) => {
    return state === listening && Number.parseInt(local.split(':')[1] ?? '', 16) === port ? [uid] : [];
  });
  return owners.length > 0 && owners.every((uid) => uid === '0');
}
