/** Times as text in UTC: ISO 8601 for scripts, without fractions for people. An invalid time (NaN) is no error. */

/** ISO 8601 with milliseconds; null for null and for an invalid time, as another writer may have stored. */
export function isoTime(atMs: number | null): string | null {
  const date = new Date(atMs ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** `2026-01-31 08:30:00`; `never` for null, `unknown` for an invalid time. */
export function shortTime(atMs: number | null): string {
  if (atMs === null) return 'never';
  return isoTime(atMs)?.slice(0, 19).replace('T', ' ') ?? 'unknown';
}
