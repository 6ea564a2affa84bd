/**
 * Both ends of the control socket, put together: the one of the daemon, and the one of the commands that ask it.
 *
 * Several workers may share a data folder. What one of them can do for all (write the key file back, switch encryption
 * off) is asked of the first that answers; what each does for itself (the log level) is told to every one.
 */
import type { ControlRequest, LogLevel } from '../adapters/control/protocol.ts';
import type { ControlHandlers } from '../adapters/control/server.ts';
import { socketPaths } from '../adapters/control/sockets.ts';
import type { DisableAnswer, RescueAnswer } from '../encryption/control.ts';
import { asFailure, causeCode, type Failure, isFailure } from '../errors.ts';
import { type AdjustableLog, events, type Log } from '../events.ts';

export type LevelAnswer = {
  /** Which daemon this is: its process id. */
  readonly pid: number;
  readonly worker: string;
  readonly before: string;
  readonly level: string;
};

/** Asks the daemons that run on a data folder. Each throws `daemon_unreachable`, and what is answered. */
export type AskDaemon = {
  rescue(): Promise<RescueAnswer>;
  disable(): Promise<DisableAnswer>;
  /** Told to every worker that there is. */
  logLevel(level: LogLevel): Promise<LevelAnswers>;
};

/** `failures`: of those that are there and did not do it. */
export type LevelAnswers = { readonly answers: readonly LevelAnswer[]; readonly failures: readonly Failure[] };

/** A daemon without its control socket does its work all the same: that is told, and no reason to end. */
export async function startControlSocket(path: string, handlers: ControlHandlers, log: Log): Promise<AsyncDisposable> {
  const { startControl } = await import('../adapters/control/server.ts');
  try {
    return (await startControl(path, handlers)) ?? nothing;
  } catch (error) {
    log.warn({ error: asFailure(error) }, events.controlFailed);
    return nothing;
  }
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

/** Sets the level of a log; the line that tells so is written while the more talkative of the two levels holds. */
export function levelSetter(
  log: AdjustableLog,
  worker: { readonly pid: number; readonly name: string },
): (who: string, level: LogLevel) => LevelAnswer {
  return (who, level) => {
    const before = log.level;
    const tell = (): void => log.warn({ level_before: before, level_now: level, by: who }, events.logLevelChanged);
    if (level === 'error') tell();
    log.level = level;
    if (level !== 'error') tell();
    return { pid: worker.pid, worker: worker.name, before, level };
  };
}

/** The daemons are this program, of the same version and data folder: their answers have these forms. */
export function daemonAt(dataDir: string, who: string): AskDaemon {
  return {
    rescue: async () => (await askFirst(dataDir, { command: 'rescue', who })) as RescueAnswer,
    disable: async () => (await askFirst(dataDir, { command: 'disable', who })) as DisableAnswer,
    logLevel: (level) => tellAll(dataDir, { command: 'log_level', who, level }),
  };
}

/** Loaded when somebody is asked: most commands ask nobody. */
async function ask(path: string, request: ControlRequest): Promise<Record<string, unknown>> {
  const { askDaemon } = await import('../adapters/control/client.ts');
  return await askDaemon(path, request);
}

/** The first that answers counts; one that holds no key either leaves it to the next. */
async function askFirst(dataDir: string, request: ControlRequest): Promise<unknown> {
  const failures: Failure[] = [];
  for (const path of await socketPaths(dataDir)) {
    try {
      return await ask(path, request);
    } catch (error) {
      if (!isFailure(error, 'daemon_unreachable', 'key_file_missing')) throw error;
      failures.push(error);
    }
  }
  throw mostTelling(failures);
}

async function tellAll(dataDir: string, request: ControlRequest): Promise<LevelAnswers> {
  const paths = await socketPaths(dataDir);
  const told = await Promise.allSettled(paths.map((path) => ask(path, request)));
  const answers = told.flatMap((one) => (one.status === 'fulfilled' ? [one.value as unknown as LevelAnswer] : []));
  const failures = told.flatMap((one) => (one.status === 'rejected' ? [asFailure(one.reason)] : []));
  if (answers.length === 0) throw mostTelling(failures);
  return { answers, failures: failures.filter((failure) => !isAbsence(failure)) };
}

/** Nobody is there, or left a socket behind as it died: no worker that could have been told. */
function isAbsence({ code, cause }: Failure): boolean {
  return code === 'daemon_unreachable' && ['ENOENT', 'ECONNREFUSED'].includes(causeCode(cause));
}

/** What a daemon said, or that it hangs, counts more than that another is not there. */
function mostTelling(failures: readonly Failure[]): Failure {
  const said = failures.find((failure) => !isAbsence(failure)) ?? failures[0];
  if (said === undefined) throw new TypeError('nobody was asked');
  return said;
}
