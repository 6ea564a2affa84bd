/**
 * `status`: what the running daemon says of itself at `/readyz`, on one screen; with `--watch` again every 2 seconds.
 *
 * A daemon that does not answer is `daemon_unreachable`, exit code 1. While watching it keeps the last picture, says since
 * when there is no answer, and goes on as soon as there is one.
 */

import { setTimeout as wait } from 'node:timers/promises';
import { localTime } from '../../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../../adapters/terminal/text-layout.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { CommonOptions, Context } from '../context.ts';
import { configuredAddress, givenAddress, isLate, notOurs, readStatus, type Status, tooLate } from './client.ts';
import { asBefore, failureLines, noteLines, silenceLines, statusLines, titleLine, type ViewOptions } from './view.ts';

export type StatusOptions = CommonOptions & {
  readonly watch?: boolean;
  readonly all?: boolean;
  readonly address?: string;
};

type Place = Awaited<ReturnType<typeof placeToAsk>>;

const drawAgainMs = 2000;

/** Exit code 0 when it is ready, 1 when not. Throws `usage`, `daemon_unreachable`, `interrupted`. */
export async function showStatus(options: StatusOptions, context: Context): Promise<number> {
  const { terminal } = context;
  if (options.watch === true && options.json === true)
    throw new Failure('usage', '--watch and --json do not go together');
  if (options.watch === true && terminal.size() === null)
    throw new Failure('usage', '--watch draws on a terminal, and standard output is none', {
      hint: 'For scripts: ticketmaild status --json, or its exit code.',
    });
  const place = await placeToAsk(options, context);
  if (options.watch === true) return await watch(place, options, context);
  const found = await survey(place, context);
  if (options.json === true) await printJson(found, context);
  else await terminal.styled(surveyLines(found, viewOptions(options, context, found.atMs)));
  return isReady(found) ? 0 : 1;
}

function isReady({ heard }: Survey): boolean {
  return heard.every((one) => 'status' in one && one.status.ready);
}

/** Answers as they are, one a line. What is no answer is told beside them. */
async function printJson({ notes, heard }: Survey, { terminal }: Context): Promise<void> {
  for (const note of notes) terminal.note(note);
  for (const one of heard) {
    if ('status' in one) await terminal.json(one.body);
    else terminal.note(`${one.late.message}; hint: ${one.late.hint}`);
  }
}

/** What was heard, one below the other; with titles where it is not what was asked for. */
function surveyLines({ notes, heard }: Survey, options: ViewOptions): readonly StyledLine[] {
  const isAsked = heard.length === 1 && notes.length === 0;
  if (isAsked) return heard.flatMap((one) => heardLines(one, options));
  const told = heard.flatMap((one): readonly StyledLine[] => {
    const name = 'status' in one ? one.status.worker.name : '';
    return [[], titleLine(one.address, name, options), ...heardLines(one, options)];
  });
  return [...noteLines(notes, options), ...told];
}

function heardLines(one: Heard, options: ViewOptions): readonly StyledLine[] {
  return 'status' in one ? statusLines(one.status, options) : failureLines(one.late, options);
}

function viewOptions({ all }: StatusOptions, { terminal, nowMs }: Context, asOfMs: number): ViewOptions {
  return { nowMs: nowMs(), asOfMs, width: terminal.size()?.columns ?? null, all: all === true };
}

/** What is known while watching: the last answers, and since when there have been none. */
type Watched = {
  readonly last: Survey | null;
  readonly silence: { readonly failure: Failure; readonly sinceMs: number } | null;
};

async function watch(place: Place, options: StatusOptions, context: Context): Promise<number> {
  const screen = await context.terminal.screen();
  let watched: Watched = { last: null, silence: null };
  try {
    while (!context.signal.aborted) {
      watched = await look(place, watched, context);
      await screen.draw(picture(watched, viewOptions(options, context, watched.last?.atMs ?? context.nowMs())));
      await wait(drawAgainMs, undefined, { signal: context.signal }).catch(() => undefined);
    }
  } catch (error) {
    if (!isFailure(error, 'interrupted')) throw error;
  } finally {
    await screen.end();
  }
  return watched.silence === null && watched.last !== null && isReady(watched.last) ? 0 : 1;
}

async function look(place: Place, { last, silence }: Watched, context: Context): Promise<Watched> {
  const askedMs = context.nowMs();
  try {
    return { last: await survey(place, context), silence: null };
  } catch (error) {
    if (!isFailure(error, 'daemon_unreachable')) throw error;
    return { last, silence: { failure: error, sinceMs: silence?.sinceMs ?? askedMs } };
  }
}

function picture({ last, silence }: Watched, options: ViewOptions): readonly StyledLine[] {
  const told = last === null ? [] : surveyLines(last, options);
  if (silence === null) return told;
  const since = { shown: localTime(silence.sinceMs), ms: silence.sinceMs };
  return [...silenceLines(silence.failure, since, options), [], ...(last === null ? [] : asBefore(told))];
}

/**
 * Whom `status` asks: the daemon at `--address`, else where the configuration says, else the workers of ticketmaild@1 to @9.
 *
 * A configuration that cannot be read keeps nobody from asking: the daemon that runs does so with the one it read before. It
 * is then asked at the default address, and what is wrong is told beside its answer.
 */

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
