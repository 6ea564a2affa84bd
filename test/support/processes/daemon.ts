/**
 * The program under test as a process of its own: `node LAUNCHER COMMAND …`.
 *
 * Its log lines on standard output are collected as objects. Waiting for a line fails with everything the process
 * printed when the time is up or the process ends first, so that a test never just times out. The environment is
 * the given one alone plus PATH: nothing of the developer's own settings reaches the process.
 */
import { spawn } from 'node:child_process';
import { ended, endWithUs } from '../servers/programs.ts';
import { launcher } from './launcher.ts';

export type LogLine = Readonly<Record<string, unknown>>;

/** Whether a line is that event. */
export const named = (event: string) => (line: LogLine) => line['event'] === event;

export type Ended = { readonly code: number | string; readonly stdout: string; readonly stderr: string };

export type Daemon = {
  readonly pid: number;
  /** The JSON objects printed so far, one for each line. */
  readonly lines: readonly LogLine[];
  /** Resolves, never rejects, with exit code (or signal name) and output. */
  readonly exit: Promise<Ended>;
  /** The first line, among those already there too, for which the predicate holds. */
  waitFor(predicate: (line: LogLine) => boolean, timeoutMs?: number): Promise<LogLine>;
  signal(name: NodeJS.Signals): void;
  stdout(): string;
  stderr(): string;
} & AsyncDisposable;

export type DaemonOptions = {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Standard input, closed after it. */
  readonly input?: string;
  /** Options of Node itself, before the script. */
  readonly nodeOptions?: readonly string[];
  /** Of another program than the one under test. */
  readonly launcher?: string;
  /** A program with arguments that runs Node, such as `unshare`. */
  readonly inside?: readonly string[];
};

const waitTimeoutMs = 50_000;

/** Starts a command that continues until it is reported to stop. */
export function startDaemon(args: readonly string[], options: DaemonOptions = {}): Daemon {
  const node = [process.execPath, ...(options.nodeOptions ?? []), options.launcher ?? launcher, ...args];
  const [program = '', ...rest] = [...(options.inside ?? []), ...node];
  const child = spawn(program, rest, {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    // Tests send as much as they like.
    env: {
      PATH: process.env.PATH,
      TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '0',
      TICKETMAILD_ADMIN_LISTEN: 'off',
      ...options.env,
    },
  });
  endWithUs(child);
  const printed = { out: '', err: '' };
  const lines: LogLine[] = [];
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  let unfinished = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    printed.out += piece;
    const parts = (unfinished + piece).split('\n');
    unfinished = parts.pop() ?? '';
    lines.push(...parts.map(parseLine).filter((line) => line !== null));
    tell();
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    printed.err += piece;
  });
  // The process may end without reading its input; what it printed tells why.
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.end(options.input ?? '');
  let hasEnded = false;
  const exit = ended(child).then((code) => {
    hasEnded = true;
    tell();
    return { code, stdout: printed.out, stderr: printed.err };
  });
  const complain = (why: string): Error =>
    new Error(
      `${args.join(' ')}: ${why}\nstdout:\n${printed.out.slice(-8_000)}\nstderr:\n${printed.err.slice(-8_000)}`,
    );
  return {
    pid: child.pid ?? -1,
    lines,
    exit,
    waitFor: (predicate, timeoutMs = waitTimeoutMs) =>
      waitForLine({ lines, listeners, predicate, timeoutMs, hasEnded: () => hasEnded, complain }),
    signal: (name) => void child.kill(name),
    stdout: () => printed.out,
    stderr: () => printed.err,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** Runs a command to its end, whatever its exit code is. */
export async function runCommand(args: readonly string[], options: DaemonOptions = {}): Promise<Ended> {
  await using daemon = startDaemon(args, options);
  return await daemon.exit;
}

/** A line of JSON as an object; null for a line that is something else. */
function parseLine(line: string): LogLine | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

type Waiting = {
  readonly lines: readonly LogLine[];
  readonly listeners: Set<() => void>;
  readonly predicate: (line: LogLine) => boolean;
  readonly timeoutMs: number;
  readonly hasEnded: () => boolean;
  readonly complain: (why: string) => Error;
};

function waitForLine(waiting: Waiting): Promise<LogLine> {
  const { lines, listeners, predicate, timeoutMs, hasEnded, complain } = waiting;
  return new Promise((resolve, reject) => {
    let checked = 0;
    const finish = (settle: () => void): void => {
      listeners.delete(look);
      clearTimeout(timer);
      settle();
    };
    const look = (): void => {
      const found = lines.slice(checked).find(predicate);
      checked = lines.length;
      if (found !== undefined) finish(() => resolve(found));
      else if (hasEnded()) finish(() => reject(complain('it ended before the line came that a test waits for')));
    };
    const timer = setTimeout(() => finish(() => reject(complain(`no such line within ${timeoutMs} ms`))), timeoutMs);
    listeners.add(look);
    look();
  });
}
