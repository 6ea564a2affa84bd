/**
 * One question to the HTTP side of a running daemon, and where that listens.
 *
 * The answer is limited in time and size. Whatever keeps it away is `daemon_unreachable`, with the hint that helps: the
 * daemon does not run, it listens elsewhere, or something else listens there.
 */
import { request } from 'node:http';
import type { Config } from '../config/config.ts';
import { causeCode, Failure } from '../errors.ts';

export type Answer = { readonly status: number; readonly body: unknown };

const answerBytesMax = 8 * 1024 * 1024;

/** `http://HOST:PORT` of what the configuration says. Throws `daemon_unreachable` where it says too little. */
export function configuredAddress(http: Config['http']): string {
  if (http === null)
    throw new Failure('daemon_unreachable', 'the daemon answers nobody: [http] listen = "off" in the configuration', {
      hint: 'Set [http] listen, such as "127.0.0.1:8025", and start the daemon anew; or see ticketmaild check.',
    });
  if (http.port === 0)
    throw new Failure('daemon_unreachable', 'the daemon listens on any free port: [http] listen has port 0', {
      hint: 'Its event http.listening says on which: give that with --address.',
    });
  return `http://${hostInUrl(reachable(http.host))}:${http.port}`;
}

/** What listens on every address of this machine answers on its loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The same of the option `--address`, which is HOST:PORT. Throws `usage`. */
export function givenAddress(address: string): string {
  const wrong = new Failure('usage', `--address must be HOST:PORT, such as 127.0.0.1:8025, not "${address}"`);
  if (!/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(address) || !URL.canParse(`http://${address}`)) throw wrong;
  return `http://${address}`;
}

/** GET of JSON. Throws `daemon_unreachable`. */
export async function fetchJson(url: string, timeoutMs: number): Promise<Answer> {
  const { status, text } = await fetchText(url, timeoutMs);
  try {
    return { status, body: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) throw notOurs(url, `its answer (HTTP ${status}) is not JSON`);
    throw error;
  }
}

async function fetchText(url: string, timeoutMs: number): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const signal = AbortSignal.timeout(timeoutMs);
  const asked = request(url, { agent: false, signal, headers: { accept: 'application/json' } }, (response) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    response.on('data', (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > answerBytesMax) response.destroy(notOurs(url, 'its answer is too long'));
    });
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() }));
  });
  asked.on('error', reject);
  asked.end();
  try {
    return await promise;
  } catch (error) {
    throw error instanceof Failure ? error : unreachable(url, signal.aborted ? null : error, timeoutMs);
  }
}

/** `error` null: the time was up. */
function unreachable(url: string, error: unknown, timeoutMs: number): Failure {
  const { host } = new URL(url);
  if (error === null)
    return new Failure('daemon_unreachable', `the daemon at ${host} does not answer within ${timeoutMs / 1000} s`, {
      hint: 'It hangs or is overloaded, or something else listens there: see ticketmaild logs and the load of the machine.',
    });
  const code = causeCode(error);
  if (/^HPE_|^ECONNRESET$|^EPROTO$/.test(code)) return notOurs(url, `it does not speak HTTP properly (${code})`);
  return new Failure('daemon_unreachable', `no daemon answers at ${host} (${code})`, {
    cause: error,
    hint: "Does it run? systemctl status 'ticketmaild*'. It listens where [http] listen said when it started, the workers ticketmaild@1 to @9 at 127.0.0.1:8031 to 8039: another address with --address HOST:PORT.",
  });
}

/** It answers, but not how it is. */
export function tooLate(url: string): Failure {
  const { host } = new URL(url);
  return new Failure('daemon_unreachable', `the daemon at ${host} is there, and could not say in time how it is`, {
    hint: 'Most likely its database hangs: look at the database server (SHOW PROCESSLIST) and ticketmaild logs.',
  });
}

/** What answers is no ticketmaild, or one of another version. */
export function notOurs(url: string, why: string): Failure {
  return new Failure('daemon_unreachable', `what answers at ${new URL(url).host} is not this ticketmaild: ${why}`, {
    hint: 'Compare the address with [http] listen of the daemon, and the versions: ticketmaild --version.',
  });
}
