/**
 * The daemon of the demo: `run` as a child process, followed by its log lines.
 *
 * It is in a process group of its own, so that Ctrl-C at the terminal reaches the demo alone, which then ends the
 * daemon in order. Warnings, errors and whatever is no log line are handed on to be shown. When the daemon ends
 * before it is reported to, callers that wait for it get an error. It never outlives this process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { prettyLine } from '../../src/adapters/terminal/log-lines.ts';
import { events } from '../../src/events.ts';
import { programName } from '../../src/text/program-name.ts';
import { findProgram } from '../support/servers/programs.ts';

export type Daemon = {
  /** Resolves once something may have been stored since the last call; rejects when the daemon or `signal` ends it. */
  changed(signal: AbortSignal): Promise<void>;
} & AsyncDisposable;

type Ending = { readonly state: 'running' | 'stopping' } | { readonly state: 'ended'; readonly how: number | string };

const storedPrefix = 'message.';

/** Starts it on a configuration file; `show` gets each line that a person should see. */
export function startDaemon(mainFile: string, configFile: string, show: (line: string) => void): Daemon {
  const [program = '', ...args] = [...leash(), process.execPath, mainFile, 'run', '--config', configFile];
  const child = spawn(program, args, {
    env: { CALLED_AS_TICKETMAILD: programName() },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const changes = latch();
  let ending: Ending = { state: 'running' };
  const ended = endOf(child).then((how) => {
    if (ending.state === 'running') changes.fail(new Error(`the daemon exited (${how})`));
    ending = { state: 'ended', how };
    process.removeListener('exit', kill);
    return how;
  });
  eachLine(child.stdout, (line) => {
    const { event, level } = logLine(line);
    if (event.startsWith(storedPrefix) || event === events.pollFinished) changes.open();
    if (!['trace', 'debug', 'info'].includes(level)) show(level === '' ? line : prettyLine(line, false));
  });
  eachLine(child.stderr, show);
  return {
    changed: changes.opened,
    [Symbol.asyncDispose]: async () => {
      // Callers that waited for it have the error already.
      if (ending.state === 'ended') return;
      ending = { state: 'stopping' };
      child.kill('SIGTERM');
      const how = await ended;
      if (how !== 0) throw new Error(`the daemon ended with ${how}`);
    },
  };
}

/** Words before a command that have the kernel end it when this process dies, even when that is killed. */
function leash(): readonly string[] {
  const setpriv = findProgram('setpriv');
  return setpriv === null ? [] : [setpriv, '--pdeathsig', 'KILL', '--'];
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  });
}

function eachLine(stream: Readable, take: (line: string) => void): void {
  createInterface({ input: stream }).on('line', take);
}

/** Event and level of a log line; both empty for a line that is none. */
function logLine(line: string): { readonly event: string; readonly level: string } {
  if (!line.startsWith('{')) return { event: '', level: '' };
  const { event = '', level = '' } = JSON.parse(line) as { event?: string; level?: string };
  return { event, level };
}

type Latch = { open(): void; fail(error: Error): void; opened(signal: AbortSignal): Promise<void> };

/** A door for one waiter: `opened` waits until `open` was called since it last resolved. */
function latch(): Latch {
  let isOpen = false;
  let failure: Error | null = null;
  let wake = (): void => undefined;
  return {
    open: () => {
      isOpen = true;
      wake();
    },
    fail: (error) => {
      failure = error;
      wake();
    },
    opened: async (signal) => {
      while (!isOpen && failure === null) {
        signal.throwIfAborted();
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = () => resolve();
        signal.addEventListener('abort', wake, { once: true });
        await promise;
        signal.removeEventListener('abort', wake);
      }
      if (failure !== null) throw failure;
      isOpen = false;
    },
  };
}
