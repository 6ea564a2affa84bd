/** A time for people and machines: ISO 8601 in UTC. What is no time (a row that somebody else wrote) is null, never an error. */
export function isoTime(atMs: number | null): string | null {
  const date = new Date(atMs ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
