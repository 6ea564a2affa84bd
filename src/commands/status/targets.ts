/**
 * Targets of `status`: the daemon at `--address`, else at `[http] listen`, else the workers ticketmaild@1 to @9 of this
 * host.
 *
 * An invalid configuration does not prevent the request, since the running daemon uses the one it read before: the
 * default address is asked, and the error is reported beside its answer.
 */

import type { Config } from '../../config/config.ts';
import { urlHost } from '../../config/machine.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { CommonOptions, Context } from '../context.ts';
import { isLate, readStatus, type Status } from './answer.ts';
import { notTicketmaild, readinessTimedOut } from './client.ts';

/** What one daemon answered: its status, or that it could not determine it in time. */
export type DaemonAnswer =
  | { readonly address: string; readonly body: unknown; readonly status: Status }
  | { readonly address: string; readonly late: Failure };

/** At least one answer, and notes on why they are not from the configured address. */
export type Survey = {
  readonly notes: readonly string[];
  readonly answers: readonly DaemonAnswer[];
  readonly atMs: number;
};

export type StatusTarget = {
  /** The address that is asked first; or why it is unknown. */
  readonly url: string | Failure;
  readonly note: string | null;
  /** Whether the workers of this host are asked when nothing answers there. */
  readonly orWorkers: boolean;
};

const answerMsMax = 5000;
const defaultUrl = 'http://127.0.0.1:8025';
/** The addresses of the unit ticketmaild@. */
const workerUrls = Array.from({ length: 9 }, (_, index) => `http://127.0.0.1:${8031 + index}`);

/** Throws `usage`. */
export async function statusTarget(
  options: CommonOptions & { address?: string },
  context: Context,
): Promise<StatusTarget> {
  const { address, config } = options;
  if (address !== undefined) return { url: givenUrl(address), note: null, orWorkers: false };
  try {
    return { url: configuredUrl((await context.loadConfig(config ?? null)).http), note: null, orWorkers: true };
  } catch (error) {
    if (isFailure(error, 'daemon_unreachable')) return { url: error, note: null, orWorkers: true };
    if (!isFailure(error, 'config_invalid')) throw error;
    const note = `the configuration is invalid: ${error.message} (a running daemon continues with the previous one)`;
    return { url: defaultUrl, note, orWorkers: true };
  }
}

/** Throws `daemon_unreachable` where the configuration gives no address. */
function configuredUrl(http: Config['http']): string {
  if (http === null)
    throw new Failure('daemon_unreachable', 'the daemon has no health endpoints: [http] listen = "off"', {
      hint: 'Set [http] listen, such as "127.0.0.1:8025", and restart the daemon; or see ticketmaild check.',
    });
  if (http.port === 0)
    throw new Failure('daemon_unreachable', 'the daemon listens on any free port: [http] listen has port 0', {
      hint: 'Its event http.listening contains the port: pass it with --address.',
    });
  return `http://${urlHost(reachable(http.host))}:${http.port}`;
}

/** A wildcard address is reachable on the loopback interface. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** From the option `--address`, HOST:PORT. Throws `usage`. */
function givenUrl(address: string): string {
  const isAddress = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(address) && URL.canParse(`http://${address}`);
  if (!isAddress) throw new Failure('usage', `--address must be HOST:PORT, such as 127.0.0.1:8025, not "${address}"`);
  return `http://${address}`;
}

/** Throws `daemon_unreachable` when nothing answers, `interrupted`. */
export async function survey({ url, note, orWorkers }: StatusTarget, context: Context): Promise<Survey> {
  const notes = note === null ? [] : [note];
  const first = url instanceof Failure ? url : await askOrFailure(url, context);
  if (!(first instanceof Failure) && 'status' in first) return { notes, answers: [first], atMs: context.nowMs() };
  const failure = first instanceof Failure ? first : first.late;
  const answers = orWorkers && first instanceof Failure ? await askWorkers(context) : [];
  if (answers.length === 0) throw note === null ? failure : withNote(failure, note);
  const instead = `${failure.message}; these workers of this host answer instead:`;
  return { notes: [...notes, instead], answers, atMs: context.nowMs() };
}

function withNote({ message, hint }: Failure, note: string): Failure {
  return new Failure('daemon_unreachable', `${note}; and ${message}`, {
    hint: `Correct the configuration, or pass the address of the daemon: ticketmaild status --address HOST:PORT. ${hint}`,
  });
}

/** Other programs on these ports are ignored. */
async function askWorkers(context: Context): Promise<readonly DaemonAnswer[]> {
  const answers = await Promise.all(workerUrls.map((url) => askOrFailure(url, context)));
  return answers.filter((one): one is DaemonAnswer => !(one instanceof Failure));
}

async function askOrFailure(url: string, context: Context): Promise<DaemonAnswer | Failure> {
  try {
    return await ask(url, context);
  } catch (error) {
    if (isFailure(error, 'daemon_unreachable')) return error;
    throw error;
  }
}

async function ask(url: string, { inputs, signal }: Context): Promise<DaemonAnswer> {
  const address = new URL(url).host;
  const { status: code, body } = await unlessAborted(inputs.fetchJson(`${url}/readyz`, answerMsMax), signal);
  if (code !== 200 && code !== 503) throw notTicketmaild(url, `it answers with HTTP ${code}`);
  const answer = readStatus(body);
  if ('status' in answer) return { address, body, status: answer.status };
  if (isLate(code, body)) return { address, late: readinessTimedOut(url) };
  throw notTicketmaild(url, `its answer lacks ${answer.wrongAt}`);
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
