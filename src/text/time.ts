/** A time for people and machines: ISO 8601 in UTC. What is no time (a row that somebody else wrote) is null, never an error. */

export function isoTime(atMs: number | null): string | null {
  const date = new Date(atMs ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/**
 * Times as they are printed: ISO 8601 in UTC for scripts, the same without seconds' fractions for people.
 *
 * Others write to the database too: what is no time there arrives as NaN, and is shown as unknown. Nothing is thrown.
 */

/** `2026-01-31 08:30:00`, UTC; `never` for null, `unknown` for what is no time. */
export function shortTime(ms: number | null): string {
  if (ms === null) return 'never';
  return isoTime(ms)?.slice(0, 19).replace('T', ' ') ?? 'unknown';
}

/** `0.3 s`, `12 s`, `5 min`. */
export function durationText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 180_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
