/**
 * Listening: a TCP address, both of loopback, a unix socket, or sockets that systemd opened and keeps while the daemon
 * is away.
 *
 * A unix socket has mode 0600, or 0660 with a group, in a folder that only root and this user can write: elsewhere
 * another user could put a socket of theirs in its place while the daemon is away.
 */

import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import type { Server } from 'node:http';
import { dirname } from 'node:path';
import type { ListenAddress } from '../../config/config.ts';
import { listenText, loopbackTwin } from '../../config/machine.ts';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import { listenAtTwin } from './loopback-twin.ts';
import { listenAtPath } from './unix-listener.ts';

export type ListenOptions = {
  readonly address: ListenAddress;
  /** The setting that holds it, for errors: `[http] listen`. */
  readonly setting: string;
  /** Descriptor of a socket that listens at that address already; null: none. */
  readonly descriptor: number | null;
  readonly twin?: TwinSocket;
};

/** The other address of `localhost`, where the address is 127.0.0.1 or ::1. */
export type TwinSocket = {
  /** Descriptor of a socket that listens there already; null: none. */
  readonly descriptor: number | null;
  /** Another process listens there, and is `http://localhost:PORT` for browsers. */
  readonly onTaken: (address: string) => void;
};

export type Listening = {
  /** As in a URL, `127.0.0.1:8025`; `unix:PATH` for a unix socket. */
  readonly shown: string;
  /** Removes the file of a unix socket, and leaves the other address of `localhost`. */
  end(): Promise<void>;
};

/**
 * Throws `address_in_use` and `address_unavailable`, which may pass; `refused` for a folder that others can write, and
 * `config_invalid` for any other reason, such as a port below 1024.
 */
export async function listenOn(server: Server, options: ListenOptions): Promise<Listening> {
  const { address, descriptor, setting } = options;
  try {
    if (descriptor !== null) {
      server.listen({ fd: descriptor });
      await once(server, 'listening');
    } else if ('path' in address) return await listenAtSocket(server, address);
    else {
      server.listen({ host: address.host, port: address.port });
      await once(server, 'listening');
    }
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw listenFailure(listenText(address), setting, cause);
  }
  const bound = server.address();
  const at = bound === null || typeof bound === 'string' ? address : hostOf(bound);
  const other = loopbackTwin(at);
  if (other === null) return { shown: listenText(at), end: async () => undefined };
  const { twin = { descriptor: null, onTaken: () => undefined } } = options;
  const held = await listenAtTwin(server, { address: other, ...twin });
  return { shown: listenText(at), end: async () => await held[Symbol.asyncDispose]() };
}

function hostOf({ address, port }: { readonly address: string; readonly port: number }): ListenAddress {
  return { host: address, port };
}

function listenFailure(shown: string, setting: string, cause: unknown): Failure {
  const code = causeCode(cause);
  const message = `cannot listen on ${shown} (${code})`;
  if (code === 'EADDRINUSE') return new Failure('address_in_use', message, { cause });
  if (code === 'EADDRNOTAVAIL') return new Failure('address_unavailable', message, { cause });
  // The folder of a unix socket may be made later, as an address may appear later.
  const noFolder = 'Its folder does not exist yet; under systemd, the socket unit makes it (systemd/README.md).';
  if (code === 'ENOENT') return new Failure('address_unavailable', message, { cause, hint: noFolder });
  const hint =
    code === 'EPERM' || code === 'EINVAL'
      ? 'The user of the daemon must belong to listen_group; under systemd, use the socket units instead (systemd/README.md).'
      : `Choose another ${setting}.`;
  return new Failure('config_invalid', message, { cause, hint });
}

type UnixAddress = Extract<ListenAddress, { readonly path: string }>;

async function listenAtSocket(server: Server, { path, group }: UnixAddress): Promise<Listening> {
  await checkFolder(dirname(path));
  const gid = group === null ? null : await groupId(group);
  const entry = await listenAtPath({ path, gid, mode: gid === null ? 0o600 : 0o660 }, server);
  if (entry !== null) return { shown: `unix:${path}`, end: async () => await entry[Symbol.asyncDispose]() };
  throw new Failure('address_in_use', `another process listens at ${path}`);
}

const writableByOthers = 0o022;

async function checkFolder(folder: string): Promise<void> {
  const { mode, uid } = await stat(folder);
  if ((mode & writableByOthers) === 0 && (uid === 0 || uid === process.geteuid?.())) return;
  throw new Failure('refused', `cannot listen in ${folder}: other users can write there`, {
    hint: `Use a folder that only root or the user of the daemon can write, such as /run/ticketmaild, or restrict it: chmod 0755 ${shellArg(folder)}`,
  });
}

/** By number, or by name in /etc/group (group(5)). Throws `config_invalid`. */
async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  const lines = (await readFile('/etc/group', 'utf8')).split('\n').map((line) => line.split(':'));
  const id = lines.find(([name]) => name === group)?.[2] ?? '';
  if (/^\d+$/.test(id)) return Number(id);
  const hint = 'Give the name of a group in /etc/group, or the number of one.';
  throw new Failure('config_invalid', `listen_group: there is no group ${JSON.stringify(group)}`, { hint });
}
