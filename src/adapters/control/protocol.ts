/**
 * What both ends of the control socket agree on: one JSON line as the request, one as the answer.
 *
 * While a request is worked on, a line that says so comes every second, so that a daemon that hangs is told apart from
 * one that is busy. An answer is `{ok: true, …}` or `{ok: false, code, message, hint}`.
 */

import type { Socket } from 'node:net';
import type { Config } from '../../config/config.ts';
import { Failure, type FailureCode } from '../../errors.ts';

export type LogLevel = Config['log']['level'];

/** `who` asks, as `user@host`. */
export type ControlRequest =
  | { readonly command: 'rescue' | 'disable'; readonly who: string }
  | { readonly command: 'log_level'; readonly who: string; readonly level: LogLevel };

/** The levels there are, from the most lines to the fewest. */
const logLevels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

export const requestBytesMax = 4096;
export const answerBytesMax = 64 * 1024;
/** How long one line may take to arrive. */
export const lineWaitMs = 5000;
export const workingEveryMs = 1000;

/** The shortest limit of the systems there are is 104 bytes with the NUL at its end (unix(7), unix(4)). */
const pathBytesMax = 100;
const whoLengthMax = 200;

/** Throws `config_invalid` for a path that a socket cannot have. */
export function checkPath(path: string): void {
  const sizeBytes = Buffer.byteLength(path);
  if (sizeBytes <= pathBytesMax) return;
  throw new Failure(
    'config_invalid',
    `the path of the control socket has ${sizeBytes} bytes, at most ${pathBytesMax}: ${path}`,
    { hint: 'Choose a data_dir with a shorter path.' },
  );
}

/** The request in a line; null for anything else. */
export function readRequest(line: string): ControlRequest | null {
  const value = readObject(line);
  if (value === null) return null;
  const { command, who } = value;
  if (typeof who !== 'string' || who === '' || who.length > whoLengthMax || /\p{C}/u.test(who)) return null;
  if (command === 'rescue' || command === 'disable') return { command, who };
  const level = logLevels.find((one) => one === value.level);
  return command === 'log_level' && level !== undefined ? { command, who, level } : null;
}

/** The object in a line of JSON; null for anything else. */
export function readObject(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The failures that a daemon answers with; any other word in an answer is none of ours. */
const answered: readonly FailureCode[] = [
  'usage',
  'refused',
  'interrupted',
  'unexpected',
  'key_file_missing',
  'key_file_refused',
  'key_file_locked',
  'key_unknown',
  'exists_already',
  'password_damaged',
  'password_bound_elsewhere',
  'switch_changed',
  'switch_forged',
  'switch_rolled_back',
  'operation_running',
  'workers_lack_key',
  'database_unavailable',
  'database_denied',
  'database_outdated',
  'database_conflict',
  'database_failed',
  'row_refused',
  'disk_full',
  'disk_failed',
];

export function failureAnswer({ code, message, hint }: Failure): Record<string, unknown> {
  return { ok: false, code, message, hint };
}

/** The failure that an answer tells of. */
export function answeredFailure({ code, message, hint }: Record<string, unknown>): Failure {
  const known = answered.find((one) => one === code) ?? 'unexpected';
  const text = typeof message === 'string' ? message : 'the daemon answered with a failure that it does not explain';
  return new Failure(known, text, typeof hint === 'string' ? { hint } : {});
}

/**
 * Lines from a socket, one at a time: each with a deadline, none longer than a limit.
 *
 * Nothing is thrown: a connection that ends, breaks, dawdles or talks too much is a kind of answer.
 */

type Line =
  | { readonly kind: 'line'; readonly text: string }
  /** It ended or broke before the line did. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'late' }
  | { readonly kind: 'long' };

export type Lines = {
  /** Waits at most `waitMs`. */
  next(waitMs: number): Promise<Line>;
};

const lineFeed = 10;

/** Reads `socket`, in lines of at most `bytesMax` bytes. Who waits for no further line pauses or destroys it. */
export function linesOf(socket: Socket, bytesMax: number): Lines {
  let held: Buffer = Buffer.alloc(0);
  let hasEnded = false;
  let wake = (): void => undefined;
  const end = (): void => {
    hasEnded = true;
    wake();
  };
  socket.on('data', (piece: Buffer) => {
    held = Buffer.concat([held, piece]);
    wake();
  });
  for (const event of ['end', 'error', 'close']) socket.on(event, end);

  const take = (): Line | null => {
    const at = held.indexOf(lineFeed);
    if (at > bytesMax || (at === -1 && held.length > bytesMax)) return { kind: 'long' };
    if (at === -1) return hasEnded ? { kind: 'ended' } : null;
    const text = held.toString('utf8', 0, at);
    held = held.subarray(at + 1);
    return { kind: 'line', text };
  };
  const news = (waitMs: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    wake = resolve;
    return promise.finally(() => clearTimeout(timer));
  };
  return {
    async next(waitMs) {
      const untilMs = performance.now() + waitMs;
      for (;;) {
        const line = take();
        if (line !== null) return line;
        const leftMs = untilMs - performance.now();
        if (leftMs <= 0) return { kind: 'late' };
        await news(leftMs);
      }
    },
  };
}
