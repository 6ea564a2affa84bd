/**
 * `logs`: the daemon's JSON log, of the journal, a file or standard input, as lines for people. Those of the journal have the
 * worker before them, where that has a name.
 *
 * One piece of input is held at a time, and with `--lines` so many lines. A line that is not JSON is shown as it is, made
 * printable; it has no fields, so `--mailbox` and `--event` leave it out, and with `--since` it goes with the line before it.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import {
  type LevelName,
  type LogEntry,
  levelNames,
  logEntryLines,
  readLogEntry,
} from '../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../adapters/terminal/text-layout.ts';
import { causeCode, Failure } from '../errors.ts';
import type { Context, Pieces } from './context.ts';

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

/**
 * How `logs` asks the journal, and what it makes of an answer.
 *
 * Each line of journalctl is a JSON object (journalctl(1), "Journal JSON Format"), since a plain line does not say which unit
 * it is from. A message that is no clean text comes as a list of bytes, one of several lines is several lines here.
 */

/** A log line; `worker` is the N of the unit ticketmaild@N, '' for any other. */
export type JournalLine = { readonly text: string; readonly worker: string };

/** The daemon, or its workers. */
export const ownUnits = ['ticketmaild', 'ticketmaild@*'] as const;

const fields = ['MESSAGE', '_SYSTEMD_UNIT', 'UNIT'];

/** Arguments for journalctl. `--all`: it leaves long messages out otherwise. */
export function journalArgs(
  units: readonly string[],
  { follow, sinceMs, linesMax }: Pick<LogsWish, 'follow' | 'sinceMs' | 'linesMax'>,
): readonly string[] {
  return [
    ...units.map((unit) => `--unit=${unit}`),
    ...['--output=json', `--output-fields=${fields.join(',')}`, '--all', '--no-pager'],
    ...(follow ? ['--follow'] : []),
    ...(sinceMs === null ? [] : [`--since=@${Math.floor(sinceMs / 1000)}`]),
    ...(linesMax === null ? [] : [`--lines=${linesMax}`]),
  ];
}

/** The lines of one entry; what is no entry is a line as it is. */
export function readJournalLine(text: string): readonly JournalLine[] {
  const entry = parsed(text);
  if (entry === null || !('MESSAGE' in entry)) return [{ text, worker: '' }];
  // What systemd says about a unit is of its own unit, and names the other one.
  const unit = [entry['UNIT'], entry['_SYSTEMD_UNIT']].find((name) => typeof name === 'string') ?? '';
  const worker = /^ticketmaild@(.+)\.service$/.exec(unit)?.[1] ?? '';
  return textOf(entry['MESSAGE'])
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => ({ text: line, worker }));
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A field that an entry has several times is a list of its values; the first is the message. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return message;
  if (!Array.isArray(message)) return '';
  if (message.every((byte) => typeof byte === 'number')) return Buffer.from(message).toString();
  return textOf(message[0]);
}

/**
 * The options of `logs`, read and checked. What is wrong is `usage`.
 */

export type LogsOptions = {
  readonly file?: string;
  readonly follow?: boolean;
  readonly since?: string;
  readonly lines?: string;
  readonly mailbox?: string;
  readonly level?: string;
  readonly event?: string;
  readonly unit?: string;
};

/** null: not asked for. */
export type LogsWish = {
  readonly follow: boolean;
  readonly sinceMs: number | null;
  readonly linesMax: number | null;
  readonly mailbox: string | null;
  /** The least urgent level to show. */
  readonly level: LevelName | null;
  readonly event: string | null;
};

const linesMaxMax = 100_000;
/** What is shown of the past where only the future is asked for, as tail and journalctl have it. */
const followedLines = 10;
const unitMs = { s: 1000, min: 60_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export function readLogsOptions(options: LogsOptions, nowMs: number): LogsWish {
  const follow = options.follow === true;
  const sinceMs = options.since === undefined ? null : readSince(options.since, nowMs);
  const asked = options.lines === undefined ? null : readLines(options.lines);
  return {
    follow,
    sinceMs,
    linesMax: asked ?? (follow && sinceMs === null ? followedLines : null),
    mailbox: options.mailbox ?? null,
    level: options.level === undefined ? null : readLevel(options.level),
    event: options.event ?? null,
  };
}

function readLines(text: string): number {
  const lines = /^\d+$/.test(text) ? Number(text) : 0;
  if (lines >= 1 && lines <= linesMaxMax) return lines;
  throw new Failure('usage', `--lines must be a whole number from 1 to ${linesMaxMax}, not "${text}"`);
}

function readLevel(text: string): LevelName {
  const level = levelNames.find((name) => name === text);
  if (level !== undefined) return level;
  throw new Failure('usage', `--level must be ${levelNames.join(', ')}, not "${text}"`);
}

/** Milliseconds since 1970 of `15min`, `2h`, `3d` (ago), `08:30`, `today`, or a local date and time, or one with a zone. */
export function readSince(text: string, nowMs: number): number {
  const ms = readAgo(text, nowMs) ?? readTime(text, nowMs);
  if (ms !== null) return ms;
  throw new Failure('usage', `--since "${text}" is no time`, {
    hint: 'Such as 15min, 2h, 3d, 08:30, today, 2026-01-31, "2026-01-31 08:30" (local), 2026-01-31T08:30Z.',
  });
}

function readAgo(text: string, nowMs: number): number | null {
  const [, count, unit] = /^(\d{1,6}) ?(s|min|m|h|d)(?: ago)?$/.exec(text) ?? [];
  if (count === undefined || unit === undefined) return null;
  return nowMs - Number(count) * unitMs[unit as keyof typeof unitMs];
}

function readTime(text: string, nowMs: number): number | null {
  const now = new Date(nowMs);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (text === 'today') return midnight;
  const [, hours, minutes] = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text) ?? [];
  if (hours !== undefined && minutes !== undefined)
    return new Date(midnight).setHours(Number(hours), Number(minutes), 0, 0);
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d.*))?$/.exec(text) ?? [];
  if (day === undefined) return null;
  // A day alone would be read as one in UTC.
  const ms = Date.parse(`${day}T${time ?? '00:00'}`);
  return Number.isNaN(ms) ? null : ms;
}

const pieceBytes = 64 * 1024;
const lookAgainMs = 300;

/** The bytes of a file; with `follow` also those that are added, until `stop` fires. */
export async function* filePieces(path: string, follow: boolean, stop: AbortSignal): Pieces {
  let file = await openFile(path);
  try {
    let at = 0;
    for (let hasCaughtUp = false; ; ) {
      const { buffer, bytesRead } = await readAt(file, at, path);
      at += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (!follow || stop.aborted) return;
      else {
        if (!hasCaughtUp) yield null;
        hasCaughtUp = true;
        await wait(lookAgainMs, undefined, { signal: stop }).catch(() => undefined);
        const next = await nextFile(path, file, at);
        if (next === file && at > (await file.stat()).size) at = 0;
        if (next !== file) {
          await file.close();
          file = next;
          at = 0;
        }
      }
    }
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function readAt(file: FileHandle, at: number, path: string) {
  try {
    return await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes, isPipe(await file.stat()) ? null : at);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** A pipe, as of a shell's `<(…)`, has no places to read at. */
function isPipe(stats: { isFIFO(): boolean; isCharacterDevice(): boolean }): boolean {
  return stats.isFIFO() || stats.isCharacterDevice();
}

function unreadable(path: string, error: unknown): Failure {
  const code = causeCode(error);
  const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
  return new Failure('usage', `${path}: ${why}`, { cause: error, hint: 'Name a file of log lines that you may read.' });
}

/** The file that has taken the name meanwhile, or the same one. What was rotated is read to its end first. */
async function nextFile(path: string, file: FileHandle, at: number): Promise<FileHandle> {
  try {
    const [named, held] = await Promise.all([stat(path), file.stat()]);
    return named.ino === held.ino || at < held.size ? file : await open(path);
  } catch (error) {
    // Between the two steps of a rotation there is none.
    if (causeCode(error) === 'ENOENT') return file;
    throw unreadable(path, error);
  }
}

/** What a program prints; its messages go to standard error as they are. Throws when it ends with an exit code. */
export async function* programPieces(name: string, args: readonly string[], stop: AbortSignal): Pieces {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'inherit'], signal: stop });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  // It is awaited below; until then a failure to start is nobody's.
  ended.catch(() => undefined);
  for await (const piece of child.stdout) yield piece;
  const code = await endOf(ended, name, stop);
  if (code === 0 || code === null) return;
  throw new Failure('check_failed', `${name} ended with exit code ${code}`, { hint: 'What it says stands above.' });
}

async function endOf(ended: Promise<number | null>, name: string, stop: AbortSignal): Promise<number | null> {
  try {
    return await ended;
  } catch (error) {
    if (stop.aborted) return null;
    const code = causeCode(error);
    const why = code === 'ENOENT' ? 'is not on this machine' : `cannot be started (${code})`;
    const hint = 'Name a file, or pipe the lines in: ticketmaild logs FILE; docker logs NAME | ticketmaild logs.';
    throw new Failure('usage', `${name} ${why}, so the journal cannot be read`, { cause: error, hint });
  }
}
