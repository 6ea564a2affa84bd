/**
 * Programs of the system, started for tests.
 *
 * Looks beyond PATH into the folders where Debian keeps servers. A program that fails throws with what it printed. A
 * server started here dies with the process that started it, even when that is killed: the kernel is asked for it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, isAbsolute, join } from 'node:path';

const serverFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/** The full path of a program, or null when it is not installed. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...serverFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function programPath(name: string): string {
  if (isAbsolute(name)) return name;
  const path = findProgram(name);
  if (path === null) throw new Error(`${name} is not installed: run npm test, which installs it or says how`);
  return path;
}

/** Runs a program to its end and gives its standard output; throws with everything it printed when it fails. */
export async function runProgram(
  name: string,
  args: readonly string[],
  options: { input?: string | Uint8Array; cwd?: string } = {},
): Promise<string> {
  // A group of its own: what it starts, as mariadb-install-db does, ends with us too and makes no folder again.
  const child = spawn(programPath(name), args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: options.cwd, detached: true });
  endWithUs(child, () => killGroup(child));
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => out.push(piece));
  child.stderr.on('data', (piece: Buffer) => err.push(piece));
  // A program that ends before it has read everything breaks the pipe; its exit code tells more than that error.
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.end(options.input ?? '');
  const code = await ended(child);
  const output = Buffer.concat(out).toString();
  if (code === 0) return output;
  throw new Error(`${name} ${args.join(' ')} ended with ${code}:\n${output}${Buffer.concat(err).toString()}`);
}

/** Waits for the end of a process and its output: its exit code, or the name of the signal. */
export function ended(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'nothing'));
  });
}

export type RunningServer = {
  readonly pid: number;
  /** Exit code or signal, once it has ended. */
  readonly exit: Promise<number | string>;
  hasEnded(): boolean;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL for it and for every process that it started. */
  killAll(): void;
  /** What it printed so far. */
  output(): string;
};

/** Starts a server in the foreground of its own process group. */
export function startServer(program: string, args: readonly string[]): RunningServer {
  const leash = findProgram('setpriv');
  const command = [...(leash === null ? [] : [leash, '--pdeathsig', 'KILL', '--']), programPath(program), ...args];
  const [first = '', ...rest] = command;
  const child = spawn(first, rest, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  const collect = (piece: Buffer): void => {
    output = (output + piece.toString()).slice(-20_000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  let hasEnded = false;
  const exit = ended(child).finally(() => {
    hasEnded = true;
  });
  endWithUs(child, () => killGroup(child));
  return {
    pid: child.pid ?? -1,
    exit,
    hasEnded: () => hasEnded,
    signal: (name) => void child.kill(name),
    killAll: () => killGroup(child),
    output: () => output,
  };
}

const running = new Map<ChildProcess, () => void>();

/** Ends `child` as this process exits, before its temporary folders are removed. */
export function endWithUs(child: ChildProcess, end: () => void = () => void child.kill('SIGKILL')): void {
  if (running.size === 0) process.prependOnceListener('exit', endAll);
  running.set(child, end);
  child.once('close', () => {
    running.delete(child);
    if (running.size === 0) process.off('exit', endAll);
  });
}

function endAll(): void {
  for (const end of running.values()) end();
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    // No such process: all of them have ended.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/**
 * A TCP port that is free on loopback right now. It lies below the range from which the kernel takes the ports of
 * outgoing connections, so that it is still free when a server comes back to it after a restart.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await canListen(port)) return port;
  }
  throw new Error('no free port between 20000 and 32000');
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** True when something at the port greets within a moment: a server that speaks first and is ready. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const answer = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.once('data', () => answer(true));
    socket.once('error', () => answer(false));
    socket.setTimeout(1_000, () => answer(false));
  });
}

/** Waits until the server greets at the port; throws with `explain()` when it ends or the time is up. */
export async function untilGreets(
  server: RunningServer,
  port: number,
  timeoutMs: number,
  explain: () => string,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await greets(port))) {
    if (server.hasEnded()) throw new Error(`the server ended as it started: ${explain()}`);
    if (performance.now() > deadline) throw new Error(`no greeting within ${timeoutMs} ms: ${explain()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
