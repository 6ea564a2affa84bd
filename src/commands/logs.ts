/**
 * `logs`: the daemon's JSON log, of the journal, a file or standard input, as lines for people. Those of the journal have the
 * worker before them, where that has a name.
 *
 * One piece of input is held at a time, and with `--lines` so many lines. A line that is not JSON is shown as it is, made
 * printable; it has no fields, so `--mailbox` and `--event` leave it out, and with `--since` it goes with the line before it.
 */
import { type LogEntry, levelNames, logEntryLines, readLogEntry } from '../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../adapters/terminal/text-layout.ts';
import { Failure } from '../errors.ts';
import type { Context } from './context.ts';
import { type JournalLine, journalArgs, ownUnits, readJournalLine } from './logs-journal.ts';
import { type LogsOptions, type LogsWish, readLogsOptions } from './logs-options.ts';
import type { Pieces } from './logs-source.ts';

const lineCharactersMax = 1024 * 1024;

/** Throws `usage`, and `check_failed` when journalctl fails. */
export async function showLogs(options: LogsOptions, context: Context): Promise<number> {
  const { terminal, nowMs } = context;
  const wish = readLogsOptions(options, nowMs());
  const source = await sourceOf(options, wish, context);
  const isWanted = filterOf(wish, source.knowsSince);
  const tail = tailOf(source.tailMax);
  let hasShown = false;
  const show = async (lines: readonly Line[]): Promise<void> => {
    if (lines.length === 0) return;
    hasShown = true;
    await terminal.styled(lines.flatMap(linesFor));
  };
  for await (const lines of linesOf(source.pieces, source.read))
    await show(lines === null ? tail.end() : tail.take(lines.filter(isWanted)));
  await show(tail.end());
  if (!hasShown && terminal.isInteractive) terminal.note(`No line was found${source.advice}`, 'dim');
  return 0;
}

type Source = {
  readonly pieces: Pieces;
  /** The log lines in a line of it. */
  readonly read: (text: string) => readonly JournalLine[];
  /** True when it gives nothing older than was asked for. */
  readonly knowsSince: boolean;
  /** What to look at when it has nothing. */
  readonly advice: string;
  /** How many lines of the past are to be chosen here; null: all that come. */
  readonly tailMax: number | null;
};

async function sourceOf(options: LogsOptions, wish: LogsWish, context: Context): Promise<Source> {
  const { isAttended, outside, signal } = context;
  const { file, unit } = options;
  if (unit !== undefined && file !== undefined) throw new Failure('usage', '--unit is for the journal, not for a file');
  const tailMax = wish.linesMax;
  if (file !== undefined) return { ...plain, pieces: await outside.filePieces(file, wish.follow, signal), tailMax };
  // Who names a unit wants the journal, also where standard input is no terminal, as in a script.
  if (!isAttended && unit === undefined)
    return { ...plain, pieces: await outside.inputPieces(), tailMax: wish.follow ? null : tailMax };
  // What journalctl counts is not filtered yet; and of what it follows nobody can tell where the past ends.
  const countsThere = wish.follow || (wish.mailbox === null && wish.level === null && wish.event === null);
  const units = unit === undefined ? ownUnits : [unit];
  const args = journalArgs(units, { ...wish, linesMax: countsThere ? tailMax : null });
  const pieces = await outside.programPieces('journalctl', args, signal);
  const advice = `: is it the unit ${units.join(' or ')} (--unit), and may you read the journal (root, group systemd-journal)?`;
  return { pieces, read: readJournalLine, knowsSince: true, tailMax: countsThere ? null : tailMax, advice };
}

/** A file or standard input: lines as they are. */
const plain = { read: (text: string) => [{ text, worker: '' }], knowsSince: false, advice: '.' };

/** `text` is that of a line that is no entry. */
type Line = { readonly entry: LogEntry | null; readonly text: string; readonly worker: string };

/** The whole lines of each piece; null where the past has been read. A line without an end is cut into several. */
async function* linesOf(pieces: Pieces, read: Source['read']): AsyncIterable<readonly Line[] | null> {
  const decoder = new TextDecoder();
  let unfinished = '';
  for await (const piece of pieces) {
    if (piece === null) {
      yield null;
      continue;
    }
    const lines = (unfinished + decoder.decode(piece, { stream: true })).split('\n');
    unfinished = lines.pop() ?? '';
    if (unfinished.length > lineCharactersMax) {
      lines.push(unfinished);
      unfinished = '';
    }
    yield lines.flatMap(read).map(lineOf);
  }
  unfinished += decoder.decode();
  if (unfinished !== '') yield read(unfinished).map(lineOf);
}

function lineOf({ text, worker }: JournalLine): Line {
  const entry = readLogEntry(text);
  return { entry, text: entry === null ? text : '', worker };
}

function filterOf({ sinceMs, mailbox, level, event }: LogsWish, knowsSince: boolean): (line: Line) => boolean {
  const tooLow: readonly string[] = level === null ? [] : levelNames.slice(0, levelNames.indexOf(level));
  let isRecent = sinceMs === null || knowsSince;
  return ({ entry }) => {
    if (entry === null) return isRecent && mailbox === null && event === null;
    isRecent = sinceMs === null || entry.timeMs >= sinceMs;
    return (
      isRecent &&
      !tooLow.includes(entry.level) &&
      (mailbox === null || entry.fields['mailbox'] === mailbox) &&
      (event === null || entry.event.startsWith(event))
    );
  };
}

/** Holds the last lines of the past back until it is read; from then on lines pass. */
function tailOf(linesMax: number | null): { take(lines: readonly Line[]): readonly Line[]; end(): readonly Line[] } {
  let held: Line[] | null = linesMax === null ? null : [];
  return {
    take(lines) {
      if (held === null || linesMax === null) return lines;
      held.push(...lines.map(({ entry, text, worker }) => ({ entry, text: apart(text), worker: apart(worker) })));
      if (held.length > 2 * linesMax) held = held.slice(-linesMax);
      return [];
    },
    end() {
      const last = held === null || linesMax === null ? [] : held.slice(-linesMax);
      held = null;
      return last;
    },
  };
}

/** A copy, because a part of a text keeps the whole of it in memory. */
function apart(text: string): string {
  return Buffer.from(text).toString();
}

function linesFor({ entry, text, worker }: Line): readonly StyledLine[] {
  const lines = entry === null ? [[text]] : logEntryLines(entry);
  return worker === '' ? lines : lines.map((line) => [[`@${worker} `, 'dim'], ...line]);
}
