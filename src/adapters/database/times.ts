/**
 * Times at the edge of the database: milliseconds since 1970 inside, `YYYY-MM-DD HH:MM:SS.mmm` (UTC) in the tables.
 *
 * The text is what DATETIME(3) of MySQL takes and gives back, and what sorts rightly as text in SQLite. Years outside
 * 1000 to 9999 fit neither: mails with such dates exist, so they become null or the nearest bound, never an error. What
 * somebody else wrote may be no time at all (any text in SQLite, a day 0 in MySQL): NaN or null, never an error either.
 */

const earliestMs = Date.UTC(1000, 0, 1);
const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Text of a time that must be there; outside the years 1000 to 9999 the nearest bound. */
export function toDatabaseTime(timeMs: number): string {
  const boundedMs = Math.min(Math.max(Number.isNaN(timeMs) ? 0 : Math.trunc(timeMs), earliestMs), latestMs);
  const iso = new Date(boundedMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}`;
}

/** Text of a time that a mail claims; null when it claims none, or one outside the years 1000 to 9999. */
export function toClaimedTime(timeMs: number | null): string | null {
  if (timeMs === null || !(timeMs >= earliestMs && timeMs <= latestMs)) return null;
  return toDatabaseTime(timeMs);
}

/** Milliseconds since 1970 of a time as the database gives it; NaN of what is none, which makes no valid `Date`. */
export function fromDatabaseTime(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** null of what is none, too. */
export function fromOptionalTime(text: string | null): number | null {
  const timeMs = text === null ? Number.NaN : fromDatabaseTime(text);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** A time that somebody else may have written; null when it is none. A date alone is its first moment. */
export function fromForeignTime(text: string | null): number | null {
  const [, day, time = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)Z?)?$/.exec(text ?? '') ?? [];
  const timeMs = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(timeMs) ? null : timeMs;
}
