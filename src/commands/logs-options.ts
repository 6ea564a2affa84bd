/**
 * The options of `logs`, read and checked. What is wrong is `usage`.
 */
import { type LevelName, levelNames } from '../adapters/terminal/log-lines.ts';
import { Failure } from '../errors.ts';

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
