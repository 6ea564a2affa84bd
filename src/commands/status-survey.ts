/**
 * Whom `status` asks: the daemon at `--address`, else where the configuration says, else the workers of ticketmaild@1 to @9.
 *
 * A configuration that cannot be read keeps nobody from asking: the daemon that runs does so with the one it read before. It
 * is then asked at the default address, and what is wrong is told beside its answer.
 */
import { Failure, isFailure } from '../errors.ts';
import type { CommonOptions, Context } from './context.ts';
import { isLate, readStatus, type Status } from './status-answer.ts';
import { configuredAddress, givenAddress, notOurs, tooLate } from './status-question.ts';

export type Told = { readonly address: string; readonly body: unknown; readonly status: Status };

/** Who is there, and knows in time how it is or not. */
export type Heard = Told | { readonly address: string; readonly late: Failure };

/** What was heard, at least one, and sentences about why it is not what was asked for. */
export type Survey = { readonly notes: readonly string[]; readonly heard: readonly Heard[]; readonly atMs: number };

type SurveyTarget = {
  /** Where to ask first; or why that is not known. */
  readonly url: string | Failure;
  readonly note: string | null;
  /** The workers of this host are asked where nobody answers there. */
  readonly orWorkers: boolean;
};

const answerMs = 5000;
const defaultUrl = 'http://127.0.0.1:8025';
/** As the unit ticketmaild@ has them. */
const workerUrls = Array.from({ length: 9 }, (_, index) => `http://127.0.0.1:${8031 + index}`);

/** Where to ask. Throws `usage`. */
export async function placeToAsk(
  options: CommonOptions & { address?: string },
  context: Context,
): Promise<SurveyTarget> {
  const { address, config } = options;
  if (address !== undefined) return { url: givenAddress(address), note: null, orWorkers: false };
  try {
    return { url: configuredAddress((await context.loadConfig(config ?? null)).http), note: null, orWorkers: true };
  } catch (error) {
    if (isFailure(error, 'daemon_unreachable')) return { url: error, note: null, orWorkers: true };
    if (!isFailure(error, 'config_invalid')) throw error;
    const note = `the configuration is wrong: ${error.message} (a daemon that runs goes on with what it read before)`;
    return { url: defaultUrl, note, orWorkers: true };
  }
}

/** Asks. Throws `daemon_unreachable` when nobody answers, `interrupted`. */
export async function survey(place: SurveyTarget, context: Context): Promise<Survey> {
  const notes = place.note === null ? [] : [place.note];
  const first = await askFirst(place.url, context);
  if ('status' in first) return { notes, heard: [first], atMs: context.nowMs() };
  const failure = 'late' in first ? first.late : first;
  const heard = place.orWorkers && !('late' in first) ? await askWorkers(context) : [];
  if (heard.length === 0) throw place.note === null ? failure : withNote(failure, place.note);
  const instead = `${failure.message}; these workers of this host answer instead:`;
  return { notes: [...notes, instead], heard, atMs: context.nowMs() };
}

async function askFirst(url: SurveyTarget['url'], context: Context): Promise<Heard | Failure> {
  if (url instanceof Failure) return url;
  try {
    return await ask(url, context);
  } catch (error) {
    if (isFailure(error, 'daemon_unreachable')) return error;
    throw error;
  }
}

/** The configuration is to be corrected first, and where else to ask is told. */
function withNote({ message, hint }: Failure, note: string): Failure {
  return new Failure('daemon_unreachable', `${note}; and ${message}`, {
    hint: `Correct the configuration, or say where the daemon listens: ticketmaild status --address HOST:PORT. ${hint}`,
  });
}

/** Those of the nine that answer; whoever else listens there is nobody's concern. */
async function askWorkers(context: Context): Promise<readonly Heard[]> {
  const asked = workerUrls.map(async (url) => {
    try {
      return [await ask(url, context)];
    } catch (error) {
      if (isFailure(error, 'daemon_unreachable')) return [];
      throw error;
    }
  });
  return (await Promise.all(asked)).flat();
}

async function ask(url: string, { outside, signal }: Context): Promise<Heard> {
  const address = new URL(url).host;
  const { status: code, body } = await beforeStop(outside.fetchJson(`${url}/readyz`, answerMs), signal);
  if (code !== 200 && code !== 503) throw notOurs(url, `it answers with HTTP ${code}`);
  const answer = readStatus(body);
  if ('status' in answer) return { address, body, status: answer.status };
  if (isLate(code, body)) return { address, late: tooLate(url) };
  throw notOurs(url, `its answer lacks ${answer.wrongAt}`);
}

/** Throws `interrupted` when `signal` fires first. */
async function beforeStop<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Failure('interrupted', 'stopped', { hint: 'The daemon was only asked.' }));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
