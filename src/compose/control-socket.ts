/**
 * Control socket, composed: the server of the daemon, and the client of the commands that ask a running daemon.
 *
 * Several workers may share a data folder. A request that any worker can serve (recover the key file, disable
 * encryption) goes to the first that answers; the log level, which each has of its own, goes to all.
 */

import type { ControlRequest } from '../adapters/control/protocol.ts';
import type { ControlHandlers } from '../adapters/control/server.ts';
import { socketPaths } from '../adapters/control/socket.ts';
import { currentActor } from '../adapters/process/identity.ts';
import { within } from '../async/deadline.ts';
import type { DisableOutcome, RecoverAnswer } from '../encryption/control.ts';
import { asFailure, causeCode, type Failure, isFailure } from '../errors.ts';
import { type AdjustableLog, events, type Log, type LogLevel } from '../events.ts';
import { listedReadiness, type Readiness } from '../ingest/readiness.ts';

type LogLevelAnswer = {
  /** Which daemon this is: its process id. */
  readonly pid: number;
  readonly worker: string;
  readonly before: string;
  readonly level: string;
};

/** Asks the daemons that run on a data folder. Throws `daemon_unreachable`, and the failure in the answer. */
export type DaemonClient = {
  recover(): Promise<RecoverAnswer>;
  disable(): Promise<DisableOutcome>;
  /** Asks every worker. */
  logLevel(level: LogLevel): Promise<LogLevelAnswers>;
};

/** `failures`: of workers that run and refused. */
type LogLevelAnswers = { readonly answers: readonly LogLevelAnswer[]; readonly failures: readonly Failure[] };

/** A failure is logged, and the daemon runs without its control socket. */
export async function startControlSocket(path: string, handlers: ControlHandlers, log: Log): Promise<AsyncDisposable> {
  const { startControlServer } = await import('../adapters/control/server.ts');
  try {
    return (await startControlServer(path, handlers)) ?? nothing;
  } catch (error) {
    log.warn({ error: asFailure(error) }, events.controlFailed);
    return nothing;
  }
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

/** Sets the level of a log; the event about it is written under the more verbose of the two levels. */
export function createLogLevelSetter(
  log: AdjustableLog,
  worker: { readonly pid: number; readonly name: string },
): (who: string, level: LogLevel) => LogLevelAnswer {
  return (who, level) => {
    const before = log.level;
    const logChange = (): void => log.warn({ level_before: before, level_now: level, by: who }, events.logLevelChanged);
    if (level === 'error') logChange();
    log.level = level;
    if (level !== 'error') logChange();
    return { pid: worker.pid, worker: worker.name, before, level };
  };
}

/** The readiness, or that it could not be determined within 4.5 s. */
export function createStatusHandler(readiness: () => Promise<Readiness>): () => Promise<object> {
  return async () => {
    const inTime = await within(readiness(), readinessMsMax);
    return inTime === null ? { ready: false, late: true } : listedReadiness(inTime.value);
  };
}

const readinessMsMax = 4_500;

/** The answer of one worker, or why there is none. */
export type StatusReply = { readonly socket: string; readonly answer: Record<string, unknown> | Failure };

/**
 * Asks every worker that runs on a data folder for its readiness. Throws `daemon_unreachable` without any, and
 * `refused` where the folder or a socket in it belongs to another user.
 */
export async function askStatus(dataDir: string): Promise<readonly StatusReply[]> {
  const { who } = currentActor();
  const replies = await Promise.all(
    (await socketPaths(dataDir)).map(async (socket): Promise<StatusReply> => {
      return { socket, answer: await ask(socket, { command: 'status', who }).catch(asFailure) };
    }),
  );
  const failures = replies.flatMap(({ answer }) => (isFailure(answer) ? [answer] : []));
  if (failures.length === replies.length) throw mostRelevant(failures);
  return replies.filter(({ answer }) => !(isFailure(answer) && isNotRunning(answer)));
}

export function createDaemonClient(dataDir: string, who: string): DaemonClient {
  return {
    recover: async () => {
      const { socket, answer } = await askFirst(dataDir, { command: 'recover', who });
      const { checkedAnswer, recoverSchema } = await import('../adapters/control/answers.ts');
      return checkedAnswer(recoverSchema, answer, socket);
    },
    disable: async () => {
      const { socket, answer } = await askFirst(dataDir, { command: 'disable', who });
      const { checkedAnswer, disableSchema } = await import('../adapters/control/answers.ts');
      return checkedAnswer(disableSchema, answer, socket);
    },
    logLevel: (level) => askAll(dataDir, { command: 'log_level', who, level }),
  };
}

/** Loaded on demand: most commands ask no daemon. */
async function ask(path: string, request: ControlRequest): Promise<Record<string, unknown>> {
  const { sendControlRequest } = await import('../adapters/control/client.ts');
  return await sendControlRequest(path, request);
}

/** The first worker that answers; one without the key leaves the request to the next. */
async function askFirst(dataDir: string, request: ControlRequest): Promise<StatusReply> {
  const failures: Failure[] = [];
  for (const socket of await socketPaths(dataDir)) {
    try {
      return { socket, answer: await ask(socket, request) };
    } catch (error) {
      if (!isFailure(error, 'daemon_unreachable', 'key_file_missing')) throw error;
      failures.push(error);
    }
  }
  throw mostRelevant(failures);
}

async function askAll(dataDir: string, request: ControlRequest): Promise<LogLevelAnswers> {
  const paths = await socketPaths(dataDir);
  const { checkedAnswer, logLevelSchema } = await import('../adapters/control/answers.ts');
  const results = await Promise.allSettled(
    paths.map(async (path) => checkedAnswer(logLevelSchema, await ask(path, request), path)),
  );
  const answers = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failures = results.flatMap((one) => (one.status === 'rejected' ? [asFailure(one.reason)] : []));
  if (answers.length === 0) throw mostRelevant(failures);
  return { answers, failures: failures.filter((failure) => !isNotRunning(failure)) };
}

/** There is no worker, or only the socket of one that died. */
function isNotRunning({ code, cause }: Failure): boolean {
  return code === 'daemon_unreachable' && ['ENOENT', 'ECONNREFUSED'].includes(causeCode(cause));
}

/** The failure of a worker that runs goes before that of one that does not. */
function mostRelevant(failures: readonly Failure[]): Failure {
  const failure = failures.find((one) => !isNotRunning(one)) ?? failures[0];
  if (failure === undefined) throw new TypeError('no worker was asked');
  return failure;
}
