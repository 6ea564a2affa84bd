/**
 * Core dump prevention and release of the terminal: prctl(2) PR_SET_DUMPABLE, core(5), TIOCNOTTY of ioctl_tty(2).
 *
 * Call it before the first secret is read, and again after a change of user, which resets the flag. Afterwards the
 * kernel writes no core of this process, neither to a file nor to a pipe; no process of the same user can trace it or
 * open its memory; and a dump that root forces (gcore of gdb) has no memory in it. Spawned programs inherit the limit
 * and the filter, and threads are part of the process. Root can still read the memory itself.
 *
 * One of two is sufficient: the C library through node:ffi, or /proc. With neither it throws `refused`. Linux alone: on
 * other systems it does nothing.
 */
import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { causeCode, Failure } from '../../errors.ts';
import { loadCLibrary } from './c-library.ts';

const filterPath = '/proc/self/coredump_filter';

// Constants of Linux, equal on x64 and arm64.
const coreLimit = 4;
const setDumpable = 4;
const releaseTerminal = 0x5422n;
/** `struct rlimit`: two numbers of 64 bits. */
const noCore = new Uint8Array(16);

/** Throws `refused`. */
export function guardMemory(): void {
  if (process.platform !== 'linux') return;
  // First: the flag below makes the file of the filter root's own.
  const isFiltered = emptyCoreDumps();
  const library = loadLibrary();
  library?.setrlimit(coreLimit, noCore);
  if (library !== null) leaveTerminal(library);
  const isUndumpable = library?.prctl(setDumpable, 0n, 0n, 0n, 0n) === 0;
  if (isFiltered || isUndumpable) return;
  throw new Failure('refused', `a core dump of this process could contain the key: ${filterPath} cannot be written`, {
    hint: 'Mount /proc (mount -t proc proc /proc), or start Node without --no-experimental-ffi.',
  });
}

/** True when a core dump has no memory in it, also one by gcore. */
function emptyCoreDumps(): boolean {
  orNull(() => writeFileSync(filterPath, '0'));
  return Number.parseInt(orNull(() => readFileSync(filterPath, 'latin1')) ?? 'unknown', 16) === 0;
}

/** null: the system refused. */
function orNull<T>(call: () => T): T | null {
  try {
    return call();
  } catch (error) {
    if (/^E[A-Z0-9]+$/.test(causeCode(error))) return null;
    throw error;
  }
}

/**
 * Without a controlling terminal, TIOCSTI and TIOCLINUX cannot type commands into the shell of the caller.
 *
 * Standard streams stay open, and the process stays in the foreground group: Ctrl-C, Ctrl-Z and prompts work. The
 * leader of a session keeps its terminal: releasing it would hang up the session, which ends with this process anyway.
 */
function leaveTerminal({ getsid, ioctl }: Library): void {
  if (getsid(0) === process.pid) return;
  const terminal = orNull(() => openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY));
  if (terminal === null) return;
  ioctl(terminal, releaseTerminal, 0n);
  closeSync(terminal);
}

type Library = NonNullable<ReturnType<typeof loadLibrary>>;

function loadLibrary() {
  return loadCLibrary({
    setrlimit: { arguments: ['int32', 'buffer'], return: 'int32' },
    prctl: { arguments: ['int32', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' },
    getsid: { arguments: ['int32'], return: 'int32' },
    ioctl: { arguments: ['int32', 'uint64', 'uint64'], return: 'int32' },
  });
}
