/**
 * `status`: the readiness of the running daemon on one screen; with `--watch` redrawn every 2 seconds.
 *
 * A daemon that does not answer is `daemon_unreachable`, exit code 1. While watching, the last picture stays, marked as
 * old, until there is an answer again.
 */

import { setTimeout as wait } from 'node:timers/promises';
import { localTime } from '../../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../../adapters/terminal/text-layout.ts';
import { Failure, isFailure } from '../../errors.ts';
import { hintText } from '../../text/program-name.ts';
import type { CommonOptions, Context } from '../context.ts';
import { failureJson } from '../output.ts';
import type { Status } from './answer.ts';
import { type DaemonAnswer, type StatusTarget, type Survey, statusTarget, survey } from './targets.ts';
import { dimmed, failureLines, noteLines, silenceLines, statusLines, titleLine, type ViewOptions } from './view.ts';

export type StatusOptions = CommonOptions & {
  readonly watch?: boolean;
  readonly all?: boolean;
};

const redrawMs = 2000;

/** Exit code 0: every answer is ready; 1: not. Throws `usage`, `daemon_unreachable`, `interrupted`. */
export async function showStatus(options: StatusOptions, context: Context): Promise<number> {
  const { terminal } = context;
  if (options.watch === true && options.json === true)
    throw new Failure('usage', '--watch and --json exclude each other');
  if (options.watch === true && terminal.size() === null)
    throw new Failure('usage', '--watch needs a terminal on standard output', {
      hint: 'For scripts: ticketmaild status --json, or its exit code.',
    });
  const target = await statusTarget(options, context);
  if (options.watch === true) return await watch(target, options, context);
  const result = await survey(target, context);
  if (options.json === true) await printJson(result, context);
  else await terminal.styled(surveyLines(result, viewOptions(options, context, result.atMs)));
  return isReady(result) ? 0 : 1;
}

function isReady({ answers }: Survey): boolean {
  return answers.every((one) => 'status' in one && one.status.ready);
}

/** One answer or failure a line, as it was understood; notes and failures on standard error, too. */
async function printJson({ notes, answers }: Survey, { terminal }: Context): Promise<void> {
  for (const note of notes) terminal.note(note);
  for (const one of answers) {
    if ('status' in one) await terminal.json(withoutNotes(one.status));
    else {
      await terminal.json(failureJson(one.failure));
      terminal.note(`${one.failure.message}; ${hintText(one.failure.hint)}`);
    }
  }
}

/** As `/readyz` returns it. */
function withoutNotes({ strange: _strange, notListed, checks, ...status }: Status): object {
  return { ...status, checks: { ...checks, mailboxes: { ...checks.mailboxes, not_listed: notListed } } };
}

/** The answer of the only worker has no title. */
function surveyLines({ notes, answers }: Survey, options: ViewOptions): readonly StyledLine[] {
  if (answers.length === 1)
    return [...noteLines(notes, options), ...answers.flatMap((one) => answerLines(one, options))];
  const titled = answers.flatMap((one): readonly StyledLine[] => {
    const name = 'status' in one ? one.status.worker.name : '';
    return [[], titleLine(one.socket, name, options), ...answerLines(one, options)];
  });
  return [...noteLines(notes, options), ...titled];
}

function answerLines(one: DaemonAnswer, options: ViewOptions): readonly StyledLine[] {
  return 'status' in one ? statusLines(one.status, options) : failureLines(one.failure, options);
}

function viewOptions({ all }: StatusOptions, { terminal, nowMs }: Context, asOfMs: number): ViewOptions {
  return { nowMs: nowMs(), asOfMs, width: terminal.size()?.columns ?? null, all: all === true };
}

/** State of `--watch`: the last survey, and the failure since which there is no answer. */
type Watched = {
  readonly last: Survey | null;
  readonly silence: { readonly failure: Failure; readonly sinceMs: number } | null;
};

async function watch(target: StatusTarget, options: StatusOptions, context: Context): Promise<number> {
  const screen = await context.terminal.screen();
  let watched: Watched = { last: null, silence: null };
  try {
    while (!context.signal.aborted) {
      watched = await nextWatched(target, watched, context);
      await screen.draw(picture(watched, viewOptions(options, context, watched.last?.atMs ?? context.nowMs())));
      await wait(redrawMs, undefined, { signal: context.signal }).catch(() => undefined);
    }
  } catch (error) {
    if (!isFailure(error, 'interrupted')) throw error;
  } finally {
    await screen.end();
  }
  return watched.silence === null && watched.last !== null && isReady(watched.last) ? 0 : 1;
}

async function nextWatched(target: StatusTarget, { last, silence }: Watched, context: Context): Promise<Watched> {
  const askedMs = context.nowMs();
  try {
    return { last: await survey(target, context), silence: null };
  } catch (error) {
    if (!isFailure(error, 'daemon_unreachable')) throw error;
    return { last, silence: { failure: error, sinceMs: silence?.sinceMs ?? askedMs } };
  }
}

function picture({ last, silence }: Watched, options: ViewOptions): readonly StyledLine[] {
  const lines = last === null ? [] : surveyLines(last, options);
  if (silence === null) return lines;
  const since = { shown: localTime(silence.sinceMs), ms: silence.sinceMs };
  return [...silenceLines(silence.failure, since, options), [], ...(last === null ? [] : dimmed(lines))];
}
