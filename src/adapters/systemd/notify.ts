/**
 * systemd notification protocol (sd_notify(3)): readiness, reload, status and watchdog, one datagram per message.
 *
 * The C library sends the datagrams through node:ffi, so no addon is needed; without NOTIFY_SOCKET nothing is loaded. A
 * message that cannot be sent at once is dropped: the daemon neither waits for systemd nor fails because of it. Only a
 * socket that can never work is an error, once, at creation (`config_invalid`).
 */
import type { WrappedFunction } from 'node:ffi';
import { causeCode, Failure } from '../../errors.ts';
import type { ServiceManager } from '../../ingest/ports.ts';

/** The variables that systemd passes, and its clock. */
export type SystemdEnvironment = {
  /** `NOTIFY_SOCKET`: a path, or `@` and an abstract name (unix(7)); null: not started by systemd. */
  readonly notifySocket: string | null;
  /** Timeout of the watchdog; null: no watchdog. */
  readonly watchdogMs: number | null;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicUs: () => bigint;
};

type SendDatagram = (message: string) => void;

const statusLengthMax = 200;
/** Size of the path in `sockaddr_un`, its final zero excluded. */
const pathBytesMax = 107;

// Constants of Linux, equal on x64 and arm64.
const unixFamily = 1;
const datagramClosedOnExec = 0o2000002;
const noSignalDontWait = 0x4040;

/** Throws `config_invalid` for a socket that this process can never reach. */
export function createServiceManager({ notifySocket, watchdogMs, monotonicUs }: SystemdEnvironment): ServiceManager {
  const send = notifySocket === null ? () => undefined : openSocket(notifySocket);
  return {
    watchdogMs,
    ready: () => send('READY=1'),
    // The time lets systemd match the following READY=1 to this reload.
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${monotonicUs()}`),
    stopping: () => send('STOPPING=1'),
    status: (sentence) => send(`STATUS=${oneLine(sentence)}`),
    heartbeat: () => send('WATCHDOG=1'),
  };
}

/** A line end would start another variable, and systemd drops a status that is not UTF-8. */
function oneLine(sentence: string): string {
  const clean = sentence
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  const characters = [...clean.slice(0, 2 * statusLengthMax)];
  return characters.length <= statusLengthMax ? clean : `${characters.slice(0, statusLengthMax - 1).join('')}…`;
}

function openSocket(notifySocket: string): SendDatagram {
  const address = addressOf(notifySocket);
  const { socket, sendto } = loadLibrary();
  const descriptor = socket(unixFamily, datagramClosedOnExec, 0);
  if (descriptor < 0) throw unusable('no socket can be made');
  return (message) => {
    const bytes = Buffer.from(message);
    sendto(descriptor, bytes, BigInt(bytes.length), noSignalDontWait, address, address.length);
  };
}

/** A `sockaddr_un`: the family, then the path with a zero, or a zero and the name. */
function addressOf(notifySocket: string): Buffer {
  const isAbstract = notifySocket.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${notifySocket.slice(1)}` : `${notifySocket}\0`);
  if (!/^[/@]./.test(notifySocket) || name.length > pathBytesMax + 1) {
    const hint = 'systemd sets it: unset it elsewhere.';
    throw new Failure('config_invalid', 'NOTIFY_SOCKET is neither the path of a socket nor @ and a name', { hint });
  }
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(unixFamily, 0);
  name.copy(address, 2);
  return address;
}

type SocketLibrary = {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly sendto: WrappedFunction;
};

/** Loaded on first use: other commands start without it. */
function loadLibrary(): SocketLibrary {
  try {
    const { dlopen } = process.getBuiltinModule('node:ffi');
    return dlopen(null, {
      socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
      sendto: { arguments: ['int32', 'buffer', 'uint64', 'int32', 'buffer', 'uint32'], return: 'int64' },
    }).functions;
  } catch (error) {
    // A TypeError: node:ffi is disabled, or of another version.
    if (!(error instanceof TypeError) && !causeCode(error).startsWith('ERR_')) throw error;
    throw unusable(causeCode(error), error);
  }
}

function unusable(why: string, cause?: unknown): Failure {
  return new Failure('config_invalid', `systemd cannot be notified: node:ffi is unavailable (${why})`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'Start Node as the unit does: without --no-experimental-ffi, and with --allow-ffi where there is --permission.',
  });
}
