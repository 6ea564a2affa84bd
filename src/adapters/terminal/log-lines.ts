/**
 * Renderer of JSON log lines for people, used by `run --pretty` and `logs`.
 *
 * Local time, level, event, mailbox and ticket come first, then the error as `code: message`, then the fields in
 * reading order, last and dim the ids that connect lines, of which UUIDs are cut to their last eight digits. The hint,
 * and each line of a stack, is a line of its own. Anything but a log line is shown unchanged.
 */
import { events } from '../../events.ts';
import { withMailboxName } from '../../text/hints.ts';
import { hintText } from '../../text/program-name.ts';
import type { Style } from './text-layout.ts';
import { type Piece, type StyledLine, styledText } from './text-layout.ts';

export type LogEntry = {
  readonly level: string;
  readonly timeMs: number;
  readonly event: string;
  /** The other fields, in the order of the line. */
  readonly fields: Readonly<Record<string, unknown>>;
};

const levelStyles: Readonly<Record<string, Style>> = { error: 'bold red', warn: 'yellow', info: 'green' };
const readFirst = ['reason', 'failures', 'after_failures', 'code', 'action', 'count', 'uid'];
/** Ids, which only connect lines. */
const readLast = ['uid_validity', 'worker', 'poll', 'message'];
const eventWidth = 21;
const counting = events.pollFinished;
const indent = ' '.repeat(26);
const journalPriority = /^<[0-7]>(?=\{)/;

/** A log line, with or without a journal priority in front; null for anything else. */
export function readLogEntry(line: string): LogEntry | null {
  const text = line.replace(journalPriority, '');
  const value = parseObject(text);
  if (value === null) return null;
  const { level, time, event, ...fields } = value;
  if (typeof level !== 'string' || typeof time !== 'string' || typeof event !== 'string') return null;
  const timeMs = Date.parse(time);
  return Number.isNaN(timeMs) ? null : { level, timeMs, event, fields };
}

/** The object in one line of JSON; null for anything else. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.startsWith('{')) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** One line, then those of hint and stack. Counts of zero of a poll are omitted. */
export function logEntryLines({ level, timeMs, event, fields }: LogEntry): readonly StyledLine[] {
  const { mailbox, ticket, error, hint, ...rest } = fields;
  const others =
    event === counting ? Object.fromEntries(Object.entries(rest).filter(([, count]) => count !== 0)) : rest;
  const { code, message, hint: ownHint, stack, ...about } = objectOf(error);
  const failure = code === undefined && message === undefined ? '' : `${text(code)}: ${text(message)}`;
  const style = levelStyles[level] ?? 'dim';
  const head: readonly Piece[] = [
    [localTime(timeMs), 'dim'],
    ' ',
    [level.toUpperCase().padEnd(5), style],
    ' ',
    [event.padEnd(eventWidth), 'bold'],
    ...[mailbox, ticket].filter((one) => one !== undefined).map((one) => `  ${text(one)}`),
    ...(failure === '' ? [] : ['  ', [failure, style] as const]),
    ...fieldPieces({ ...others, ...about }),
  ];
  const help = ownHint ?? hint;
  return [
    trimmed(head),
    ...(typeof help === 'string' && help !== '' ? [[indent, [hintText(named(help, mailbox)), 'bold'] as const]] : []),
    ...(typeof stack === 'string' ? stack.split('\n').map((one): StyledLine => [indent, [one, 'dim']]) : []),
  ];
}

/** With the mailbox of the line in its commands. */
function named(hint: string, mailbox: unknown): string {
  return typeof mailbox === 'string' ? withMailboxName(hint, mailbox) : hint;
}

/** A JSON line as text, for `run --pretty`. */
export function prettyLine(json: string, colours: boolean): string {
  const entry = readLogEntry(json);
  const lines = entry === null ? [[json]] : logEntryLines(entry);
  return lines.map((line) => styledText(line, colours)).join('\n');
}

/** `2026-01-31 08:30:00` in the time zone of this machine. */
export function localTime(ms: number): string {
  const time = new Date(ms);
  const day = [time.getFullYear(), time.getMonth() + 1, time.getDate()].map(twoDigits).join('-');
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(twoDigits).join(':')}`;
}

/** With the offset from UTC: `2026-01-31 08:30:00 +01:00`. */
export function clockTime(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  const distance = Math.abs(minutes);
  const [hours, rest] = [Math.floor(distance / 60), distance % 60].map(twoDigits);
  return `${localTime(ms)} ${minutes < 0 ? '-' : '+'}${hours}:${rest}`;
}

function twoDigits(value: number): string {
  return `${value}`.padStart(2, '0');
}

function fieldPieces(fields: Readonly<Record<string, unknown>>): readonly Piece[] {
  const names = Object.keys(fields).toSorted((a, b) => rank(a) - rank(b));
  return names.flatMap((name, index): readonly Piece[] => {
    const isId = readLast.includes(name);
    const shown = `${name}=${isId ? shortId(value(fields[name])) : value(fields[name])}`;
    return [index === 0 ? '  ' : ' ', isId ? [shown, 'dim'] : shown];
  });
}

/** The random end of a UUIDv7 (RFC 9562), which tells it from others and finds it in the JSON lines. */
function shortId(id: string): string {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) ? id.slice(-8) : id;
}

/** A field in neither list keeps its position, between the two. */
function rank(name: string): number {
  if (readFirst.includes(name)) return readFirst.indexOf(name) - readFirst.length;
  return readLast.indexOf(name) + 1;
}

/** Without the padding of the last column. */
function trimmed(line: StyledLine): StyledLine {
  const last = line.at(-1);
  if (last === undefined || typeof last === 'string') return line;
  return [...line.slice(0, -1), [last[0].trimEnd(), last[1]]];
}

function objectOf(error: unknown): Readonly<Record<string, unknown>> {
  if (typeof error === 'object' && error !== null) return { ...error };
  return error === undefined ? {} : { message: error };
}

function text(one: unknown): string {
  return typeof one === 'string' ? one : (JSON.stringify(one) ?? '?');
}

/** Quoted when it could be read as more than one field. */
function value(one: unknown): string {
  if (typeof one === 'string') return /^[^\s"=]+$/.test(one) ? one : JSON.stringify(one);
  if (Array.isArray(one)) return one.map(value).join(',');
  return JSON.stringify(one) ?? '?';
}
