/**
 * Socket activation (sd_listen_fds(3)): listening sockets that systemd opened, and keeps while the daemon is away.
 *
 * systemd names each (FileDescriptorName=): `health` or `page`. A socket is used for the listen address that is
 * configured, and closed, with a reason, where it has another one: the configuration decides who can connect. Closing
 * it here leaves it open in systemd.
 */
import { lookup } from 'node:dns/promises';
import { closeSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import type { ListenAddress } from '../../config/config.ts';
import { listenText, loopbackTwin } from '../../config/machine.ts';
import { causeCode } from '../../errors.ts';

/** A descriptor, and the name that systemd gave it. */
export type PassedSocket = { readonly name: string; readonly descriptor: number };

export type PassedSockets = {
  /** The descriptors for that listen address and the other address of `localhost`, once; null: systemd passed none. */
  take(name: 'health' | 'page', address: ListenAddress | null): Promise<TakenSockets>;
  /** Closes what was not taken. */
  rejectOthers(): void;
};

type TakenSockets = { readonly descriptor: number | null; readonly twinDescriptor: number | null };

/** `onUnused` learns of each socket that is not used, and why. */
export function createPassedSockets(
  passed: readonly PassedSocket[],
  onUnused: (name: string, reason: string) => void,
  addressOf: (descriptor: number) => ListenAddress | null = boundAddress,
): PassedSockets {
  const left = new Set(passed);
  const reject = (socket: PassedSocket, reason: string): void => {
    left.delete(socket);
    closeSync(socket.descriptor);
    onUnused(socket.name, reason);
  };
  return {
    async take(name, address) {
      const taken: Mutable<TakenSockets> = { descriptor: null, twinDescriptor: null };
      for (const socket of [...left].filter((one) => one.name === name)) {
        const bound = addressOf(socket.descriptor);
        const role = await roleOf(bound, address);
        if (role === null) reject(socket, `it listens at ${shownOf(bound)}, ${insteadOf(address)}`);
        else if (taken[role] !== null) reject(socket, 'there are several sockets of that name and address');
        else {
          left.delete(socket);
          taken[role] = socket.descriptor;
        }
      }
      return taken;
    },
    rejectOthers: () => {
      for (const socket of [...left]) reject(socket, 'its name is neither health nor page');
    },
  };
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function shownOf(bound: ListenAddress | null): string {
  return bound === null ? 'no address that can be read' : listenText(bound);
}

function insteadOf(configured: ListenAddress | null): string {
  return configured === null ? 'and listen is off' : `not at ${listenText(configured)}`;
}

async function roleOf(
  bound: ListenAddress | null,
  configured: ListenAddress | null,
): Promise<keyof TakenSockets | null> {
  if (bound === null || configured === null) return null;
  const twin = loopbackTwin(configured);
  if (twin !== null && (await isSame(bound, twin))) return 'twinDescriptor';
  return (await isSame(bound, configured)) ? 'descriptor' : null;
}

async function isSame(bound: ListenAddress, configured: ListenAddress): Promise<boolean> {
  if ('path' in bound || 'path' in configured)
    return 'path' in bound && 'path' in configured && bound.path === configured.path;
  if (bound.port !== configured.port) return false;
  return (await addressesOf(configured.host)).some((address) => isSameAddress(address, bound.host));
}

/** None for a name that does not resolve. */
async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    if (/^E(AI_|NOTFOUND|NODATA)/.test(causeCode(error))) return [];
    throw error;
  }
}

/** IPv6 has several ways to write one address. */
function isSameAddress(one: string, other: string): boolean {
  const family = isIP(one) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(other) !== isIP(one)) return false;
  const list = new BlockList();
  list.addAddress(one, family);
  return list.check(other, family);
}

// Constants of Linux, equal on x64 and arm64.
const unixFamily = 1;
const ipv4Family = 2;
const ipv6Family = 10;
const addressBytes = 128;

/** By getsockname(2); null: it is no socket, or of another family. */
function boundAddress(descriptor: number): ListenAddress | null {
  const { dlopen } = process.getBuiltinModule('node:ffi');
  const { getsockname } = dlopen(null, {
    getsockname: { arguments: ['int32', 'buffer', 'buffer'], return: 'int32' },
  }).functions;
  const address = Buffer.alloc(addressBytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(addressBytes);
  if (getsockname(descriptor, address, length) !== 0) return null;
  return readAddress(address.subarray(0, length.readUInt32LE()));
}

/** A `sockaddr_in`, `sockaddr_in6` or `sockaddr_un` with a path. */
function readAddress(bytes: Buffer): ListenAddress | null {
  if (bytes.length < 8) return null;
  const family = bytes.readUInt16LE();
  const port = bytes.readUInt16BE(2);
  if (family === ipv4Family) return { host: [...bytes.subarray(4, 8)].join('.'), port };
  if (family === ipv6Family) {
    const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(8 + 2 * index).toString(16));
    return { host: groups.join(':'), port };
  }
  if (family !== unixFamily || bytes[2] === 0) return null;
  const end = bytes.indexOf(0, 2);
  return { path: bytes.toString('utf8', 2, end < 0 ? bytes.length : end), group: null };
}
