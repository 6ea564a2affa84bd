/**
 * Control client: sends one request to the running daemon over its control socket.
 *
 * A daemon that is not there, refuses this user or is silent for 5 seconds is `daemon_unreachable`, as is one whose
 * status or log level takes longer than 6. A failure in its answer is thrown with its message as a quotation.
 */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { causeCode, Failure } from '../../errors.ts';
import {
  answerBytesMax,
  answeredFailure,
  answerMsMax,
  type ControlRequest,
  checkPath,
  readObject,
  silenceMs,
} from './protocol.ts';

/** The object in the daemon's answer. Throws `daemon_unreachable`, and the failure in the answer. */
export async function sendControlRequest(path: string, request: ControlRequest): Promise<Record<string, unknown>> {
  checkPath(path);
  const { status, text } = await exchange(path, request);
  const answer = readObject(text);
  if (answer === null) throw unreachable(path, 'its answer is not JSON');
  if (status === 200) return answer;
  throw answeredFailure(answer);
}

async function exchange(
  path: string,
  { command, ...content }: ControlRequest,
): Promise<{ readonly status: number; readonly text: string }> {
  const body = JSON.stringify(content);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const signal = AbortSignal.timeout(answerMsMax(command));
  // A heartbeat of the daemon restarts the timeout, which is one of the socket.
  const options = { socketPath: path, method: 'POST', path: `/${command}`, headers, agent: false, timeout: silenceMs };
  const request = httpRequest({ ...options, signal });
  request.once('timeout', () => request.destroy(new SilentDaemon()));
  request.on('error', () => undefined);
  try {
    request.end(body);
    const [response]: IncomingMessage[] = await once(request, 'response');
    if (response === undefined) throw new TypeError('there is no response');
    return { status: response.statusCode ?? 0, text: await textOf(response, path) };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw unreachable(path, signal.aborted ? late : reasonOf(error), error);
  } finally {
    request.destroy();
  }
}

class SilentDaemon extends Error {}

const late = 'it does not answer in time';

async function textOf(response: IncomingMessage, path: string): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of response) {
    sizeBytes += piece.length;
    if (sizeBytes > answerBytesMax) throw unreachable(path, 'its answer is too long');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function reasonOf(error: unknown): string {
  const code = causeCode(error);
  if (error instanceof SilentDaemon) return late;
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'it closed the connection without an answer';
  return code.startsWith('HPE_') ? 'its answer is not HTTP' : code;
}

function unreachable(path: string, reason: string, cause?: unknown): Failure {
  return new Failure('daemon_unreachable', `no daemon answers at ${path} (${reason})`, { cause });
}
