/**
 * Asks the running daemon of this data folder for something, over its control socket.
 *
 * Where nobody answers, or not this user, or not in time, that is `daemon_unreachable`; a failure that the daemon
 * answers with is thrown as it is.
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { causeCode, Failure } from '../../errors.ts';
import {
  answerBytesMax,
  answeredFailure,
  type ControlRequest,
  checkPath,
  type Lines,
  linesOf,
  lineWaitMs,
  readObject,
} from './protocol.ts';

/** A daemon that says for so long that it is working is not waited for any longer. */
const answerWaitMs = 15 * 60_000;

/** The daemon's answer, without `ok`. Throws `daemon_unreachable`, and what the daemon answers with. */
export async function askDaemon(path: string, request: ControlRequest): Promise<Record<string, unknown>> {
  checkPath(path);
  const socket = await connected(path);
  try {
    const lines = linesOf(socket, answerBytesMax);
    socket.write(`${JSON.stringify(request)}\n`);
    const { ok, ...answer } = await readAnswer(lines, path);
    if (ok === true) return answer;
    throw answeredFailure(answer);
  } finally {
    socket.destroy();
  }
}

async function connected(path: string): Promise<Socket> {
  const socket = createConnection(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(lineWaitMs) });
  } catch (error) {
    socket.destroy();
    const code = causeCode(error);
    throw unreachable(path, code === 'ABORT_ERR' ? wrongs.late : code, error);
  }
  // What goes wrong from here on ends the lines.
  socket.on('error', () => undefined);
  return socket;
}

async function readAnswer(lines: Lines, path: string): Promise<Record<string, unknown>> {
  const untilMs = performance.now() + answerWaitMs;
  while (performance.now() < untilMs) {
    const line = await lines.next(lineWaitMs);
    if (line.kind !== 'line') throw unreachable(path, wrongs[line.kind]);
    const answer = readObject(line.text);
    if (answer === null) throw unreachable(path, 'its answer is not JSON');
    if (answer.working !== true) return answer;
  }
  throw unreachable(path, wrongs.late);
}

const wrongs = {
  ended: 'it closed the connection without an answer',
  late: 'it does not answer in time',
  long: 'its answer is too long',
} as const;

function unreachable(path: string, why: string, cause?: unknown): Failure {
  return new Failure('daemon_unreachable', `no daemon answers at ${path} (${why})`, { cause });
}
