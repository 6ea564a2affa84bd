/**
 * HTTP client of the daemon's health endpoints: one GET with limits of time and size.
 *
 * Every obstacle is `daemon_unreachable` with a fitting hint: no daemon runs, it listens elsewhere, or another program
 * listens there.
 */

import { request } from 'node:http';
import { causeCode, Failure } from '../../errors.ts';
import type { JsonResponse } from '../context.ts';

const answerBytesMax = 8 * 1024 * 1024;

/** GET of JSON. Throws `daemon_unreachable`. */
export async function fetchJson(url: string, timeoutMs: number): Promise<JsonResponse> {
  const { status, text } = await fetchText(url, timeoutMs);
  try {
    return { status, body: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) throw notTicketmaild(url, `its answer (HTTP ${status}) is not JSON`);
    throw error;
  }
}

async function fetchText(url: string, timeoutMs: number): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const signal = AbortSignal.timeout(timeoutMs);
  const sent = request(url, { agent: false, signal, headers: { accept: 'application/json' } }, (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > answerBytesMax) response.destroy(notTicketmaild(url, 'its answer is too long'));
    });
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
  });
  sent.on('error', reject);
  sent.end();
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw signal.aborted ? timedOut(url, timeoutMs) : unreachable(url, error);
  }
}

function timedOut(url: string, timeoutMs: number): Failure {
  const { host } = new URL(url);
  return new Failure('daemon_unreachable', `the daemon at ${host} does not answer within ${timeoutMs / 1000} s`, {
    hint: 'It hangs or is overloaded, or another program listens there: see ticketmaild logs and the load of the machine.',
  });
}

function unreachable(url: string, error: unknown): Failure {
  const code = causeCode(error);
  if (/^HPE_|^ECONNRESET$|^EPROTO$/.test(code)) return notTicketmaild(url, `it does not speak HTTP (${code})`);
  return new Failure('daemon_unreachable', `no daemon answers at ${new URL(url).host} (${code})`, {
    cause: error,
    hint: "Does it run? systemctl status 'ticketmaild*'. It listens where [http] listen pointed when it started, the workers ticketmaild@1 to @9 at 127.0.0.1:8031 to 8039; for another address: --address HOST:PORT.",
  });
}

/** The daemon answers, but could not determine its readiness in time. */
export function readinessTimedOut(url: string): Failure {
  const { host } = new URL(url);
  return new Failure(
    'daemon_unreachable',
    `the daemon at ${host} runs, and could not determine its readiness in time`,
    {
      hint: 'Most likely its database hangs: check the database server (SHOW PROCESSLIST) and ticketmaild logs.',
    },
  );
}

/** The peer is no ticketmaild, or one of another version. */
export function notTicketmaild(url: string, why: string): Failure {
  return new Failure(
    'daemon_unreachable',
    `the program that listens at ${new URL(url).host} is not this ticketmaild: ${why}`,
    { hint: 'Compare the address with [http] listen of the daemon, and the versions: ticketmaild --version.' },
  );
}
