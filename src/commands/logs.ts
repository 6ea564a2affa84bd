/**
 * `logs`: renders the JSON log of the journal, a file or standard input for people, with filters.
 *
 * Memory is bounded by one chunk of input, and by the lines of `--lines`. A line that is not JSON is shown unchanged,
 * made printable: without fields, `--mailbox` and `--event` exclude it, and `--since` treats it like the line before.
 * Lines of the journal begin with the name of the worker, where it has one.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, fstatSync } from 'node:fs';
import { constants, type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as setTimer } from 'node:timers';
import { setTimeout as wait } from 'node:timers/promises';
import { type LogEntry, logEntryLines, parseObject, readLogEntry } from '../adapters/terminal/log-lines.ts';
import type { StyledLine } from '../adapters/terminal/text-layout.ts';
import { oneOf, wholeNumber } from '../config/option-values.ts';
import { causeCode, Failure } from '../errors.ts';
import { type LogLevel, logLevels } from '../events.ts';
import { asRunHere } from '../text/program-name.ts';
import type { ByteChunks, Context, StdinKind } from './context.ts';

const lineCharactersMax = 1024 * 1024;

/** Throws `usage`, and `check_failed` when journalctl fails. */
export async function showLogs(options: LogsOptions, context: Context): Promise<number> {
  const { terminal, nowMs } = context;
  const filter = readLogsOptions(options, nowMs());
  const source = await sourceOf(options, filter, context);
  const isWanted = predicateOf(filter, source.filtersSince);
  const tail = tailOf(source.tailMax);
  let hasShown = false;
  const show = async (lines: readonly LogLine[]): Promise<void> => {
    if (lines.length === 0) return;
    hasShown = true;
    await terminal.styled(lines.flatMap(linesFor));
  };
  for await (const lines of linesOf(source.chunks, source.read))
    await show(lines === null ? tail.end() : tail.take(lines.filter(isWanted)));
  await show(tail.end());
  if (!hasShown && (terminal.isInteractive || source.isSurprising))
    terminal.note(`No line was found${asRunHere(source.advice)}`, 'dim');
  return 0;
}

type LogSource = {
  readonly chunks: ByteChunks;
  /** The log lines in one line of input. */
  readonly read: (text: string) => readonly JournalLine[];
  /** True when the source applies `--since` itself. */
  readonly filtersSince: boolean;
  /** Advice when it has no lines. */
  readonly advice: string;
  /** It has none, or is not where the daemon logs: said to a script, too. */
  readonly isSurprising: boolean;
  /** Number of past lines to select here; null: all lines of the source. */
  readonly tailMax: number | null;
};

async function sourceOf(options: LogsOptions, filter: LogFilter, context: Context): Promise<LogSource> {
  const { isAttended, inputs, signal } = context;
  const { file, unit } = options;
  if (unit !== undefined && file !== undefined) throw new Failure('usage', '--unit is for the journal, not for a file');
  const tailMax = filter.linesMax;
  if (file !== undefined) return { ...plain, chunks: await inputs.fileChunks(file, filter.follow, signal), tailMax };
  // --unit selects the journal, also where standard input is not a terminal, as in a script.
  const stdin = isAttended || unit !== undefined ? null : await standardInput(context);
  if (stdin !== null) return { ...plain, ...stdin, tailMax: filter.follow ? null : tailMax };
  // journalctl counts lines before these filters; and when it follows, the end of the past is unknown.
  const countsInJournal = filter.follow || (filter.mailbox === null && filter.level === null && filter.event === null);
  const units = unit === undefined ? ownUnits : [unit];
  const args = journalArgs(units, { ...filter, linesMax: countsInJournal ? tailMax : null });
  const chunks = await inputs.programChunks('journalctl', args, signal);
  const hasUnit = unit !== undefined || (await inputs.hasUnit());
  const advice = hasUnit
    ? `: is ${units.join(' or ')} the unit (--unit), and may you read the journal (root, group systemd-journal)?`
    : ': no unit of ticketmaild is installed here. In a terminal: ticketmaild run --pretty; of a file: ticketmaild logs FILE.';
  const read = { read: readJournalLine, filtersSince: true, tailMax: countsInJournal ? null : tailMax };
  return { ...read, chunks, advice, isSurprising: !hasUnit };
}

const waitingMs = 2000;

/**
 * Standard input; null where it has no lines and is none that a shell connected: a device such as /dev/null, or the
 * socket of an SSH session. Says so when it waits.
 */
async function standardInput({
  inputs,
  terminal,
}: Context): Promise<(Partial<LogSource> & Pick<LogSource, 'chunks'>) | null> {
  const kind = await inputs.stdinKind();
  if (kind === 'none') return null;
  const chunks = (await inputs.stdinChunks())[Symbol.asyncIterator]();
  const waiting = setTimer(() => terminal.note(waitingForInput, 'dim'), waitingMs);
  const first = await nextFilled(chunks).finally(() => clearTimeout(waiting));
  if (first.done !== true) return { chunks: continued(first.value, chunks) };
  if (kind === 'socket') return null;
  const instead = (await inputs.hasUnit()) ? 'The journal' : 'A file';
  const args = instead === 'A file' ? 'FILE' : '--unit ticketmaild';
  const advice = `: standard input is empty. ${instead} is read with ticketmaild logs ${args}`;
  return { chunks: continued(null, chunks), isSurprising: true, advice };
}

const waitingForInput = 'Waiting for log lines from standard input; --unit ticketmaild reads the journal.';

export function stdinKind(): StdinKind {
  const stats = fstatSync(0);
  if (stats.isFIFO() || stats.isFile()) return 'data';
  return stats.isSocket() ? 'socket' : 'none';
}

const unitFolders = ['/etc/systemd/system', '/run/systemd/transient', '/usr/lib/systemd/system', '/lib/systemd/system'];

export function hasUnit(): boolean {
  return unitFolders.some((path) => existsSync(`${path}/ticketmaild.service`));
}

type Chunk = Uint8Array | null;

async function nextFilled(chunks: AsyncIterator<Chunk>): Promise<IteratorResult<Chunk>> {
  for (;;) {
    const next = await chunks.next();
    if (next.done === true || next.value?.length !== 0) return next;
  }
}

async function* continued(first: Chunk, rest: AsyncIterator<Chunk>): ByteChunks {
  yield first;
  yield* { [Symbol.asyncIterator]: () => rest };
}

/** A file or standard input: each line is a log line. */
const plain = {
  read: (text: string) => [{ text, worker: '' }],
  ...{ filtersSince: false, advice: '.', isSurprising: false },
};

/** `text`: of a line that is not JSON. */
type LogLine = { readonly entry: LogEntry | null; readonly text: string; readonly worker: string };

/** The complete lines of each chunk; null at the end of the past. A line beyond 1 Mi characters is split. */
async function* linesOf(chunks: ByteChunks, read: LogSource['read']): AsyncIterable<readonly LogLine[] | null> {
  const decoder = new TextDecoder();
  let unfinished = '';
  for await (const chunk of chunks) {
    if (chunk === null) {
      yield null;
      continue;
    }
    const lines = (unfinished + decoder.decode(chunk, { stream: true })).split('\n');
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

function lineOf({ text, worker }: JournalLine): LogLine {
  const entry = readLogEntry(text);
  return { entry, text: entry === null ? text : '', worker };
}

function predicateOf({ sinceMs, mailbox, level, event }: LogFilter, filtersSince: boolean): (line: LogLine) => boolean {
  const tooLow: readonly string[] = level === null ? [] : logLevels.slice(0, logLevels.indexOf(level));
  let isRecent = sinceMs === null || filtersSince;
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

/** Buffers the last lines of the past until its end; later lines pass through. */
function tailOf(linesMax: number | null): {
  take(lines: readonly LogLine[]): readonly LogLine[];
  end(): readonly LogLine[];
} {
  let buffered: LogLine[] | null = linesMax === null ? null : [];
  return {
    take(lines) {
      if (buffered === null || linesMax === null) return lines;
      buffered.push(...lines.map(({ entry, text, worker }) => ({ entry, text: copyOf(text), worker: copyOf(worker) })));
      if (buffered.length > 2 * linesMax) buffered = buffered.slice(-linesMax);
      return [];
    },
    end() {
      const last = buffered === null || linesMax === null ? [] : buffered.slice(-linesMax);
      buffered = null;
      return last;
    },
  };
}

/** A copy, because a slice of a string keeps the whole string in memory. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}

function linesFor({ entry, text, worker }: LogLine): readonly StyledLine[] {
  const lines = entry === null ? [[text]] : logEntryLines(entry);
  return worker === '' ? lines : lines.map((line) => [[`@${worker} `, 'dim'], ...line]);
}

// The journal. Each line of journalctl is a JSON object (journalctl(1), "Journal JSON Format"), since a plain line
// lacks its unit. A message that is not clean text is an array of bytes; one with line ends is several lines here.

/** A log line; `worker` is the N of the unit ticketmaild@N, '' for any other. */
export type JournalLine = { readonly text: string; readonly worker: string };

/** The daemon, or its workers. */
export const ownUnits = ['ticketmaild', 'ticketmaild@*'] as const;

const fields = ['MESSAGE', '_SYSTEMD_UNIT', 'UNIT'];

/** Arguments for journalctl; without `--all` it omits long messages. */
export function journalArgs(
  units: readonly string[],
  { follow, sinceMs, linesMax }: Pick<LogFilter, 'follow' | 'sinceMs' | 'linesMax'>,
): readonly string[] {
  return [
    ...units.map((unit) => `--unit=${unit}`),
    ...['--output=json', `--output-fields=${fields.join(',')}`, '--all', '--no-pager'],
    ...(follow ? ['--follow'] : []),
    ...(sinceMs === null ? [] : [`--since=@${Math.floor(sinceMs / 1000)}`]),
    ...(linesMax === null ? [] : [`--lines=${linesMax}`]),
  ];
}

/** The lines of one entry; anything else is one line. */
export function readJournalLine(text: string): readonly JournalLine[] {
  const entry = parseObject(text);
  if (entry === null || !('MESSAGE' in entry)) return [{ text, worker: '' }];
  // A message of systemd about a unit names that unit in UNIT.
  const unit = [entry['UNIT'], entry['_SYSTEMD_UNIT']].find((name) => typeof name === 'string') ?? '';
  const worker = /^ticketmaild@(.+)\.service$/.exec(unit)?.[1] ?? '';
  return textOf(entry['MESSAGE'])
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => ({ text: line, worker }));
}

/** A repeated field is an array of its values; the first is the message. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return message;
  if (!Array.isArray(message)) return '';
  if (message.every((byte) => typeof byte === 'number')) return Buffer.from(message).toString();
  return textOf(message[0]);
}

// Options

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

/** null: no filter. */
export type LogFilter = {
  readonly follow: boolean;
  readonly sinceMs: number | null;
  readonly linesMax: number | null;
  readonly mailbox: string | null;
  /** Lowest severity to show. */
  readonly level: LogLevel | null;
  readonly event: string | null;
};

const linesMaxMax = 100_000;
/** Past lines shown with `--follow` alone, as in tail and journalctl. */
const followedLines = 10;
const unitMs = { s: 1000, min: 60_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export function readLogsOptions(options: LogsOptions, nowMs: number): LogFilter {
  const follow = options.follow === true;
  const sinceMs = options.since === undefined ? null : readSince(options.since, nowMs);
  const linesMax = options.lines === undefined ? null : wholeNumber('--lines', options.lines, 1, linesMaxMax);
  return {
    follow,
    sinceMs,
    linesMax: linesMax ?? (follow && sinceMs === null ? followedLines : null),
    mailbox: options.mailbox ?? null,
    level: options.level === undefined ? null : oneOf('--level', options.level, logLevels),
    event: options.event ?? null,
  };
}

/**
 * Milliseconds since 1970 of `15min`, `2h`, `3d` (ago), `08:30`, `today`, a local date and time, or one with a time
 * zone.
 */
export function readSince(text: string, nowMs: number): number {
  const ms = readAgo(text, nowMs) ?? readTime(text, nowMs);
  if (ms !== null) return ms;
  throw new Failure('usage', `--since "${text}" is not a time`, {
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
  // Date.parse reads a date alone as UTC.
  const ms = Date.parse(`${day}T${time ?? '00:00'}`);
  return Number.isNaN(ms) ? null : ms;
}

const chunkBytes = 64 * 1024;
const pollMs = 300;

/** The bytes of a file; with `follow` also appended ones, also after a rotation, until `stop` fires. */
export async function* fileChunks(path: string, follow: boolean, stop: AbortSignal): ByteChunks {
  let file = await openFile(path);
  try {
    let at = 0;
    for (let hasCaughtUp = false; ; ) {
      const bytes = await readAt(file, at, path, stop);
      at += bytes.length;
      if (bytes.length > 0) yield bytes;
      else if (!follow || stop.aborted) return;
      else {
        if (!hasCaughtUp) yield null;
        hasCaughtUp = true;
        await pause(stop);
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

/** A thread that waits for the other end of a named pipe would outlive every signal. */
const toRead = constants.O_RDONLY | constants.O_NONBLOCK;

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, toRead);
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function pause(stop: AbortSignal): Promise<void> {
  await wait(pollMs, undefined, { signal: stop }).catch(() => undefined);
}

/** Empty at the end, and after `stop`. */
async function readAt(file: FileHandle, at: number, path: string, stop: AbortSignal): Promise<Buffer> {
  for (;;) {
    const bytes = await readNow(file, at, path);
    if (bytes !== null) return bytes;
    if (stop.aborted) return Buffer.alloc(0);
    await pause(stop);
  }
}

/** null: the other end of a pipe has written nothing yet. */
async function readNow(file: FileHandle, at: number, path: string): Promise<Buffer | null> {
  try {
    const position = isPipe(await file.stat()) ? null : at;
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    if (causeCode(error) === 'EAGAIN') return null;
    throw unreadable(path, error);
  }
}

/** A pipe, as of a shell's `<(…)`, has no offsets. */
function isPipe(stats: { isFIFO(): boolean; isCharacterDevice(): boolean }): boolean {
  return stats.isFIFO() || stats.isCharacterDevice();
}

function unreadable(path: string, error: unknown): Failure {
  const code = causeCode(error);
  const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
  return new Failure('usage', `${path}: ${why}`, { cause: error, hint: 'Name a file of log lines that you may read.' });
}

/** The file that has the name now, or the same one. A rotated file is read to its end first. */
async function nextFile(path: string, file: FileHandle, at: number): Promise<FileHandle> {
  try {
    const [named, buffered] = await Promise.all([stat(path), file.stat()]);
    return named.ino === buffered.ino || at < buffered.size ? file : await open(path, toRead);
  } catch (error) {
    // Between the two steps of a rotation the name is missing.
    if (causeCode(error) === 'ENOENT') return file;
    throw unreadable(path, error);
  }
}

/** Standard output of a program; its standard error is inherited. Throws when its exit code is not 0. */
export async function* programChunks(name: string, args: readonly string[], stop: AbortSignal): ByteChunks {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'inherit'], signal: stop });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  // Awaited below; until then a failure to start must not be an unhandled rejection.
  ended.catch(() => undefined);
  for await (const chunk of child.stdout) yield chunk;
  const code = await endOf(ended, name, stop);
  if (code === 0 || code === null) return;
  throw new Failure('check_failed', `${name} ended with exit code ${code}`, { hint: 'Its messages are above.' });
}

async function endOf(ended: Promise<number | null>, name: string, stop: AbortSignal): Promise<number | null> {
  try {
    return await ended;
  } catch (error) {
    if (stop.aborted) return null;
    const code = causeCode(error);
    const why = code === 'ENOENT' ? 'is not installed' : `cannot be started (${code})`;
    const hint =
      'In a terminal: ticketmaild run --pretty. Of a file or a container: ticketmaild logs FILE; docker logs NAME | ticketmaild logs.';
    throw new Failure('usage', `${name} ${why}, so the journal cannot be read`, { cause: error, hint });
  }
}
