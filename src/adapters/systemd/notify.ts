/**
 * Tells systemd how the daemon fares: the protocol of sd_notify(3), one datagram a message.
 *
 * The datagrams are sent by the C library through node:ffi, so that no addon is needed. Without a socket nothing is loaded
 * and nothing happens. A message that cannot be sent at once is dropped: the daemon neither waits for its manager nor
 * fails because of it. Only a place that can never work is refused, once, as it is made (`config_invalid`).
 */
import type { WrappedFunction } from 'node:ffi';
import { causeCode, Failure } from '../../errors.ts';
import type { Supervisor } from '../../ingest/ports.ts';

/** How systemd started us. */
export type SupervisorPlace = {
  /** `NOTIFY_SOCKET`: a path, or `@` and a name that lies in no file system (unix(7)); null: nobody listens. */
  readonly notifySocket: string | null;
  /** Within so many milliseconds `alive` must be heard; null: nobody watches. */
  readonly watchdogMs: number | null;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicUs: () => bigint;
};

type Send = (message: string) => void;

const statusLengthMax = 200;
/** Room in `sockaddr_un`, a zero at the end of a path included. */
const pathBytesMax = 107;

// Numbers of Linux, which are the same on x64 and arm64.
const unixFamily = 1;
const datagramClosedOnExec = 0o2000002;
const noSignalDontWait = 0x4040;

/** Throws `config_invalid` when there is a socket that can never be reached from this process. */
export function createSupervisor({ notifySocket, watchdogMs, monotonicUs }: SupervisorPlace): Supervisor {
  const send = notifySocket === null ? () => undefined : openSocket(notifySocket);
  return {
    watchdogMs,
    ready: () => send('READY=1'),
    // The time tells a manager that waits for the end of a reload which READY=1 is the answer to it.
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${monotonicUs()}`),
    stopping: () => send('STOPPING=1'),
    status: (sentence) => send(`STATUS=${oneLine(sentence)}`),
    alive: () => send('WATCHDOG=1'),
  };
}

/** A line end would begin another message, and systemd drops a status that is no text. */
function oneLine(sentence: string): string {
  const clean = sentence
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  const letters = [...clean.slice(0, 2 * statusLengthMax)];
  return letters.length <= statusLengthMax ? clean : `${letters.slice(0, statusLengthMax - 1).join('')}…`;
}

function openSocket(notifySocket: string): Send {
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
    const hint = 'systemd sets it by itself: let nothing else set it.';
    throw new Failure('config_invalid', 'NOTIFY_SOCKET is no path of a socket, nor @ and a name', { hint });
  }
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(unixFamily, 0);
  name.copy(address, 2);
  return address;
}

type Library = {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly sendto: WrappedFunction;
};

/** Only now: every other command starts without it. */
function loadLibrary(): Library {
  try {
    const { dlopen } = process.getBuiltinModule('node:ffi');
    return dlopen(null, {
      socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
      sendto: { arguments: ['int32', 'buffer', 'uint64', 'int32', 'buffer', 'uint32'], return: 'int64' },
    }).functions;
  } catch (error) {
    // A TypeError: node:ffi is switched off, or older than what this file knows.
    if (!(error instanceof TypeError) && !causeCode(error).startsWith('ERR_')) throw error;
    throw unusable(causeCode(error), error);
  }
}

function unusable(why: string, cause?: unknown): Failure {
  return new Failure('config_invalid', `systemd cannot be told that the daemon works: no node:ffi (${why})`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'Start Node as the unit does: without --no-experimental-ffi, and with --allow-ffi where there is --permission.',
  });
}
