/**
 * Column values: times as `YYYY-MM-DD HH:MM:SS.mmm` (UTC) for milliseconds since 1970, and texts cut to a column.
 *
 * The text of a time is the DATETIME(3) of MySQL and sorts correctly as text in SQLite. Years outside 1000 to 9999 fit
 * neither: messages with such dates exist, so they become null or the nearest bound, never an error. A value of another
 * program may be no time at all (any text in SQLite, a day 0 in MySQL): NaN or null, never an error either.
 */

const earliestMs = Date.UTC(1000, 0, 1);
const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Text of a required time; outside the years 1000 to 9999 the nearest bound. */
export function toDatabaseTime(timeMs: number): string {
  const boundedMs = Math.min(Math.max(Number.isNaN(timeMs) ? 0 : Math.trunc(timeMs), earliestMs), latestMs);
  const iso = new Date(boundedMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}`;
}

/** Text of a time that a message claims; null when it claims none, or one outside the years 1000 to 9999. */
export function toClaimedTime(timeMs: number | null): string | null {
  if (timeMs === null || !(timeMs >= earliestMs && timeMs <= latestMs)) return null;
  return toDatabaseTime(timeMs);
}

/** Milliseconds since 1970 of a time of the database; NaN of an invalid one. */
export function fromDatabaseTime(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** null for NULL and for an invalid time. */
export function fromOptionalTime(text: string | null): number | null {
  const timeMs = text === null ? Number.NaN : fromDatabaseTime(text);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** A time that another program may have written; null when it is invalid. A date alone is its first moment. */
export function fromForeignTime(text: string | null): number | null {
  const [, day, time = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)Z?)?$/.exec(text ?? '') ?? [];
  const timeMs = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** The first `charactersMax` code points of `text`, well formed: half a surrogate pair becomes U+FFFD. */
export function truncate(text: string, charactersMax: number): string {
  const whole = text.toWellFormed();
  if (whole.length <= charactersMax) return whole;
  // A code point takes two UTF-16 units at most.
  return [...whole.slice(0, charactersMax * 2)].slice(0, charactersMax).join('').toWellFormed();
}
