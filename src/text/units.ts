/** Numbers with units as text for people: durations, byte counts, plurals. NaN, a number that is unknown, is `?`. */

/** `40 s`, `12 min`, `3 h 5 min`, `4 d 3 h`; 0 for a negative duration, as between two clocks. */
export function spanText(ms: number): string {
  if (Number.isNaN(ms)) return '?';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return withRemainder(`${hours} h`, minutes % 60, 'min');
  return withRemainder(`${Math.floor(hours / 24)} d`, hours % 24, 'h');
}

function withRemainder(text: string, remainder: number, unit: string): string {
  return remainder === 0 ? text : `${text} ${remainder} ${unit}`;
}

/** Rounded to one unit: `0.3 s`, `12 s`, `5 min`. */
export function durationText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 180_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** Age of an ISO 8601 time: `12 min`; `-` where there is none. */
export function ageText(time: string | null, nowMs: number): string {
  const ms = time === null ? Number.NaN : Date.parse(time);
  return Number.isNaN(ms) ? '-' : spanText(nowMs - ms);
}

/** `12 min ago`; `never` for null. */
export function agoText(time: string | null, nowMs: number): string {
  return time === null ? 'never' : `${ageText(time, nowMs)} ago`;
}

/** `in 40 s`, `now`; `-` for null. */
export function inText(time: string | null, nowMs: number): string {
  const ms = time === null ? Number.NaN : Date.parse(time) - nowMs;
  if (Number.isNaN(ms)) return '-';
  return ms < 1000 ? 'now' : `in ${spanText(ms)}`;
}

export function numberText(number: number): string {
  return Number.isNaN(number) ? '?' : `${number}`;
}

/** `41.2 GB`: powers of 1000, as `df -H` shows them. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** `1 mailbox`, `2 mailboxes`. */
export function countText(count: number, singular: string, plural = `${singular}s`): string {
  return `${numberText(count)} ${count === 1 ? singular : plural}`;
}

/** `expires in 3 days`, `expired 40 days ago`, of whole days left, rounded down. */
export function expiryText(daysLeft: number): string {
  if (daysLeft === 0) return 'expires in less than a day';
  if (daysLeft === -1) return 'expired less than a day ago';
  return daysLeft > 0 ? `expires in ${countText(daysLeft, 'day')}` : `expired ${countText(-daysLeft - 1, 'day')} ago`;
}
