/**
 * Times as they are printed: ISO 8601 in UTC for scripts, the same without seconds' fractions for people.
 */

/** `2026-01-31T08:30:00.000Z`, or null. */
export function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** `2026-01-31 08:30:00`, UTC; `never` for null. */
export function shortTime(ms: number | null): string {
  return ms === null ? 'never' : new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
}

/** `0.3 s`, `12 s`, `5 min`. */
export function durationText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 180_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
