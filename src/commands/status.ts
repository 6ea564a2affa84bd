/**
 * `status`: what the running daemon says of itself at `/readyz`, on one screen; with `--watch` again every 2 seconds.
 *
 * A daemon that does not answer is `daemon_unreachable`, exit code 1. While watching it keeps the last picture, says since
 * when there is no answer, and goes on as soon as there is one.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { localTime } from '../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../adapters/terminal/text-layout.ts';
import { Failure, isFailure } from '../errors.ts';
import type { CommonOptions, Context } from './context.ts';
import { type Heard, placeToAsk, type Survey, survey } from './status-survey.ts';
import {
  asBefore,
  failureLines,
  noteLines,
  silenceLines,
  statusLines,
  titleLine,
  type ViewOptions,
} from './status-view.ts';

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
