/**
 * Survey of `status`: asks every worker of the data folder over its control socket, never over TCP.
 *
 * Any user of the machine can listen on a port while the daemon is away; the folder of the sockets belongs to the
 * daemon. An invalid configuration does not prevent the request, since a running daemon uses the one it read before:
 * the error is reported beside the answers.
 */

import { Failure, isFailure } from '../../errors.ts';
import type { CommonOptions, Context } from '../context.ts';
import { isLate, readStatus, type Status } from './answer.ts';

/** What one daemon answered: its status, or why there is none. */
export type DaemonAnswer =
  | { readonly socket: string; readonly status: Status }
  | { readonly socket: string; readonly failure: Failure };

/** At least one answer, and notes on the configuration. */
export type Survey = {
  readonly notes: readonly string[];
  readonly answers: readonly DaemonAnswer[];
  readonly atMs: number;
};

export type StatusTarget = { readonly dataDir: string; readonly note: string | null };

export async function statusTarget({ config }: CommonOptions, context: Context): Promise<StatusTarget> {
  try {
    return { dataDir: (await context.loadConfig(config ?? null)).dataDir, note: null };
  } catch (error) {
    if (!isFailure(error, 'config_invalid')) throw error;
    const note = `the configuration is invalid: ${error.message} (a running daemon continues with the previous one)`;
    return { dataDir: await context.findDataDir(config ?? null), note };
  }
}

/** Throws `daemon_unreachable` when nothing answers, `refused`, `interrupted`. */
export async function survey({ dataDir, note }: StatusTarget, context: Context): Promise<Survey> {
  try {
    const replies = await unlessAborted(context.inputs.askStatus(dataDir), context.signal);
    const answers = replies.map(({ socket, answer }) => readAnswer(socket, answer));
    return { notes: note === null ? [] : [note], answers, atMs: context.nowMs() };
  } catch (error) {
    if (note === null || !isFailure(error, 'daemon_unreachable')) throw error;
    const hint = `Correct the configuration. ${error.hint}`;
    throw new Failure('daemon_unreachable', `${note}; and ${error.message}`, { hint });
  }
}

function readAnswer(socket: string, answer: Record<string, unknown> | Failure): DaemonAnswer {
  if (answer instanceof Failure) return { socket, failure: answer };
  if (isLate(answer)) return { socket, failure: readinessTimedOut(socket) };
  const read = readStatus(answer);
  return 'status' in read ? { socket, status: read.status } : { socket, failure: otherVersion(socket, read.wrongAt) };
}

/** The daemon answers, but could not determine its readiness in time. */
function readinessTimedOut(socket: string): Failure {
  const message = `the daemon at ${socket} runs, and could not determine its readiness in time`;
  const hint = 'Most likely its database hangs: check the database server (SHOW PROCESSLIST) and ticketmaild logs.';
  return new Failure('daemon_unreachable', message, { hint });
}

function otherVersion(socket: string, lacking: string): Failure {
  const hint = 'Compare the versions (ticketmaild --version) and restart the daemon.';
  return new Failure('daemon_unreachable', `the answer of the daemon at ${socket} lacks ${lacking}`, { hint });
}

/** Throws `interrupted` when `signal` fires first. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Failure('interrupted', 'stopped', { hint: 'The daemon was only queried.' }));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
