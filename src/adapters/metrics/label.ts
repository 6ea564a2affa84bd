/** How names, reasons, durations and times become label values and numbers in base units. */

const charactersMax = 255;

/**
 * At most 255 characters, no half of a surrogate pair, and U+FFFD for control characters, at which readers of the format
 * differ; a line feed stays, the format has an escape for it.
 */
export function label(name: string): string {
  const short = name.length > charactersMax ? name.slice(0, charactersMax).replace(/[\uD800-\uDBFF]$/, '') : name;
  return short.toWellFormed().replace(/[\0-\x09\x0B-\x1F\x7F]/g, '\uFFFD');
}

/** Never negative, and 0 for what is no number: a count must not end the visit that it counts. */
export function seconds(ms: number): number {
  return Number.isFinite(ms) ? Math.max(0, ms) / 1000 : 0;
}

/** Seconds since 1970 of an ISO 8601 time; null for none. */
export function timestamp(iso: string | null): number | null {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** The word before the colon of `code: sentence`; null where there is none. */
export function reasonCode(reason: string | null): string | null {
  return /^([a-z][a-z_]{0,39}): /.exec(reason ?? '')?.[1] ?? null;
}
